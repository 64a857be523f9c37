#!/usr/bin/env bash
# Everything that needs a real GPU: builds for it, runs all tests on it, looks for bad memory accesses and races, and
# measures every kernel beside what it should reach. In one call or in several.
set -uo pipefail

usage() {
  cat <<'END'
tests/gpu/run.sh [--only PART,...] [--resume] [-DNAME=VALUE...]

Needs an NVIDIA GPU, its driver, the CUDA Toolkit and python3; compute-sanitizer and PyTorch are used where they are
installed. The parts, in this order; each builds what it needs:

  build       everything, and says what the GPU is
  tests       the whole test suite on Device::cuda
  sanitizer   the tests of the kernels under compute-sanitizer: memcheck, racecheck, synccheck, initcheck
  benchmarks  every rung beside cuBLAS and a copy; attention, training and decoding. benchmarks:matmul: one group of
              ceilings, matmul, attention, decode_attention, training, shazeer, ainslie
  pytorch     attention and training in turns with PyTorch's. pytorch:attention: one group of attention, training,
              matmul, decode, compile

  --only      these parts alone
  --resume    not those that have passed in an earlier call, with the same commit on the same GPU
  -DNAME=...  for CMake's first call

From the environment:

  MINUTES   how long this call may take; no limit unless set. What is then left is stopped or left out, and another
            call with --resume does it: where a GPU is lent ten minutes at a time, MINUTES=9
  OUT       a folder that also gets the results
  COMMIT    what is measured, where this is no checkout of git

The results of all calls are together in build/gpu/results: results-gpu.json, and results-gpu.md with the verdicts
first. Keep build/gpu between calls; of a machine that does not, results-gpu.json is enough.
Without a network CMake cannot download the headers that it needs: leave them beside, as in
  mkdir -p build/headers/include && cp -r /usr/include/{doctest,cxxopts.hpp,nlohmann,stb} build/headers/include

Exit status: 0 when all parts have passed, whatever the verdicts on speed; 1 when not; 2 for a wrong call.
END
}

say() { printf '== %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
wrong() { echo "tests/gpu/run.sh: $*; --help shows all" >&2; exit 2; }
failure() { echo "tests/gpu/run.sh: $*" >&2; exit 1; }

# ---- What to do ------------------------------------------------------------------------------------------------------
all_parts=(build tests sanitizer benchmarks pytorch)
benchmark_groups=(ceilings matmul attention decode_attention training shazeer ainslie)
pytorch_groups=(attention training matmul decode compile)
is_in() {  # is_in WORD LIST...
  local word=$1 other
  shift
  for other in "$@"; do [ "$word" != "$other" ] || return 0; done
  return 1
}

parts=() resume=no options=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --only)
      [ -n "${2:-}" ] || wrong "--only wants parts, such as build,tests"
      IFS=, read -ra parts <<<"$2"
      shift
      ;;
    --resume) resume=yes ;;
    -D?*) options+=("$1") ;;
    *) wrong "unknown option $1" ;;
  esac
  shift
done
[ ${#parts[@]} -gt 0 ] || parts=("${all_parts[@]}")
for part in "${parts[@]}"; do
  is_in "${part%%:*}" "${all_parts[@]}" || wrong "there is no part $part; choose from ${all_parts[*]}"
  case $part in
    benchmarks:*) is_in "${part#*:}" "${benchmark_groups[@]}" || wrong "benchmarks has no group ${part#*:}" ;;
    pytorch:*) is_in "${part#*:}" "${pytorch_groups[@]}" || wrong "pytorch has no group ${part#*:}" ;;
    *:*) wrong "${part%%:*} has no groups" ;;
  esac
done
[[ ${MINUTES:-1} =~ ^[0-9]+([.][0-9]+)?$ ]] || wrong "MINUTES=$MINUTES is no number"
budget=$(awk "BEGIN { print int(60 * ${MINUTES:-100000}) }")
wants() {  # wants PART: all of it, or a group
  local part
  for part in "${parts[@]}"; do [ "${part%%:*}" != "$1" ] || return 0; done
  return 1
}
wants_group() {  # wants_group PART GROUP
  is_in "$1" "${parts[@]}" || is_in "$1:$2" "${parts[@]}"
}

# ---- What must be there ----------------------------------------------------------------------------------------------
# Neither tool is always in PATH: the toolkit lies in a folder of its own, and so does the driver in containers.
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin:/usr/local/nvidia/bin
for tool in nvcc nvidia-smi cmake python3; do
  have "$tool" && continue
  case $tool in
    nvcc) need="the CUDA Toolkit's compiler; install the toolkit, or set CUDA_HOME to its folder" ;;
    nvidia-smi) need="the NVIDIA driver's tool; this machine seems to have no NVIDIA GPU" ;;
    cmake) need="CMake 3.22 or newer" ;;
    python3) need="Python 3.9 or newer, which keeps the results" ;;
  esac
  failure "$tool is missing: $need"
done
query() { nvidia-smi --query-gpu="$1" --format=csv,noheader 2>&1; }
gpu=$(query name,memory.total) || failure "nvidia-smi finds no GPU that works: $gpu"
gpu=${gpu%%$'\n'*}  # the first one: the one that is used

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
build=$root/build/gpu
results=$build/results
mkdir -p "$results" && touch "$results/log.txt" || exit 1
export CUDACXX=${CUDACXX:-$(command -v nvcc)}
export PYTHONDONTWRITEBYTECODE=1
have make || export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}
compiler=$("$CUDACXX" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
machine="driver $(query driver_version | head -n 1), nvcc $compiler"
commit=${COMMIT:-$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)}
jobs=$(getconf _NPROCESSORS_ONLN)
scratch=$(mktemp -d)
say "$gpu, $machine, commit $commit"

python() { python3 "$root/tests/gpu/$1" "${@:2}"; }
passed=()  # in earlier calls
if [ $resume = yes ]; then
  mapfile -t passed < <(python report.py passed "$results/results-gpu.json" --gpu "$gpu" --commit "$commit")
fi

# ---- Parts -----------------------------------------------------------------------------------------------------------
failed=0
output=  # the file with what the last part printed

finish() {  # finish NAME STATE SECONDS [OPTIONS OF report.py note]
  case $2 in passed* | skipped*) ;; *) failed=1 ;; esac
  say "$1: $2 ($3 s)"
  python report.py note "$results/results-gpu.json" --gpu "$gpu" --commit "$commit" --machine "$machine" \
    --part "$1" --state "$2" --seconds "$3" "${@:4}" || failed=1
  hand_out
}
# Also when the call is killed before it ends.
hand_out() {
  if [ -n "${OUT:-}" ]; then mkdir -p "$OUT" && cp "$results"/results-gpu.* "$results/log.txt" "$OUT"; fi
}

# part NAME SECONDS [--keep OPTION FILE]... COMMAND...: runs the command, within what is left of all time, and notes how
# it ended and what it measured. False when it failed.
part() {
  local name=$1 limit=$2 left=$((budget - SECONDS)) begin=$SECONDS code=0 state=passed stopped keep=()
  shift 2
  while [ "$1" = --keep ]; do
    keep+=("$2" "$3")
    shift 3
  done
  if is_in "$name" "${passed[@]}" && [[ ! $name =~ ^(configure|build|device) ]]; then
    say "$name: passed in an earlier call"
    output=/dev/null
    return 0
  fi
  output=$scratch/output
  : >"$output"
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    finish "$name" "left out: no time was left" 0
    return 1
  fi
  say "$name, at most $limit s"
  DEADLINE=$(($(date +%s) + limit)) timeout --kill-after=10 "$limit" "$@" >"$output" 2>&1 || code=$?
  { printf '\n======== %s: %s\n' "$name" "$*"; cat "$output"; } >>"$results/log.txt"
  case $code in
    0)
      stopped=$(grep -c '^stopped ' "$output")
      [ "$stopped" -eq 0 ] || state="passed as far as it got: $stopped files were stopped"
      ! grep -q '^stopped .* not begun$' "$output" || state="unfinished: there was no time for some files"
      ;;
    124 | 137) state="failed: stopped after $limit s" ;;
    *) state="failed: exit status $code" ;;
  esac
  [ $code -eq 0 ] || tail -n 30 "$output"
  finish "$name" "$state" $((SECONDS - begin)) --excerpt "$output" "${keep[@]}"
  return $code
}

# Results are written however this ends.
at_the_end() {
  local code=$?
  rm -rf "$scratch"
  [ -e "$results/results-gpu.json" ] || exit "$code"
  python report.py write "$results/results-gpu.json" "$results/results-gpu.md" || code=1
  hand_out
  say "Results: $results/results-gpu.md"
  exit "$code"
}
trap at_the_end EXIT
trap 'exit 1' INT TERM

# configure and compile are no parts of their own: every part begins with them, and mostly they have nothing to do.
configured=no
configure() {
  [ $configured = no ] || return 0
  local headers=$root/build/headers
  if [ -d "$headers/include" ]; then
    options+=(-DFETCHCONTENT_SOURCE_DIR_HEADSHARE_DOCTEST="$headers/include"
      -DFETCHCONTENT_SOURCE_DIR_HEADSHARE_CXXOPTS="$headers"
      -DFETCHCONTENT_SOURCE_DIR_HEADSHARE_NLOHMANN_JSON="$headers"
      -DFETCHCONTENT_SOURCE_DIR_HEADSHARE_STB="$headers/include/stb")
  fi
  part "configure" 90 cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DHEADSHARE_DEVICE=cuda "${options[@]}" &&
    configured=yes
}
compile() { configure && part "$1" "$2" cmake --build "$build" --parallel "$jobs" --target "${@:3}"; }

# ---- Is it right? ----------------------------------------------------------------------------------------------------
if wants build; then
  compile "build" 450 headshare headshare_tests headshare_benchmarks headshare_gpu_benchmarks &&
    part "device" 60 "$build/headshare" devices && cat "$output"
fi

if wants tests && compile "build tests" 400 headshare headshare_tests; then
  # Where the build registers each test for both devices, those of the GPU are enough here.
  selection=()
  ctest --test-dir "$build" -N -L '^cuda$' | grep -q 'Total Tests: 0' || selection=(-L '^cuda$')
  part "tests" 300 env HEADSHARE_TEST_DEVICE=cuda \
    ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$((jobs < 8 ? jobs : 8))" \
    "${selection[@]}" && tail -n 3 "$output"
fi

# The sanitizers make everything many times slower. What a file's tests had done until they were stopped counts.
sanitize() {  # sanitize TOOL NAME SECONDS
  local tool=$1 name=$2 code=0 printed=$scratch/$1-$2 left=$((DEADLINE - $(date +%s) - 12))
  local findings='^=========[ ]+(Invalid|Misaligned|Program hit|Uninit|Barrier error|(Error|Warning): (Race|Potential))'
  if [ "$left" -lt 5 ]; then
    echo "stopped $tool $name: not begun"
    return 0
  fi
  # Tests that ask for more memory than there is make CUDA report errors that are none.
  HEADSHARE_TEST_DEVICE=cuda timeout --kill-after=5 $((left < $3 ? left : $3)) \
    compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 --print-limit 20 \
    "$build/tests/headshare_tests" --source-file="*/$name.cpp" >"$printed" 2>&1 || code=$?
  case $code in
    0) echo "clean   $tool $name" ;;
    124 | 137)
      if ! grep -Eq "$findings" "$printed"; then
        echo "stopped $tool $name: nothing found until then"
        return 0
      fi
      ;;&
    *)
      echo "FAILED  $tool $name: exit status $code"
      head -n 60 "$printed"
      return 1
      ;;
  esac
}
export -f sanitize
export scratch build

if wants sanitizer; then
  if ! have compute-sanitizer; then
    finish "sanitizer" "skipped: compute-sanitizer is not installed" 0
  elif compile "build tests" 400 headshare headshare_tests; then
    files=()
    for file in tests/test_*ladder*.cpp tests/test_decode_attention.cpp tests/test_*kernel*.cpp; do
      file=${file##*/}
      is_in "${file%.cpp}" "${files[@]}" || files+=("${file%.cpp}")
    done
    printf '%s\n' "${files[@]}" >"$scratch/files"
    # In two waves at most, so that no file waits for all the others.
    at_once=$(((${#files[@]} + 1) / 2))
    at_once=$((at_once < jobs ? at_once : jobs))
    for tool in memcheck:130 racecheck:130 synccheck:60 initcheck:60; do
      limit=${tool#*:} tool=${tool%:*}
      part "sanitizer $tool" "$limit" xargs -a "$scratch/files" -P "$at_once" -I NAME \
        bash -c 'sanitize "$@"' sanitize "$tool" NAME "$((limit / 2))" && cat "$output"
    done
  fi
fi

# ---- Is it fast? -----------------------------------------------------------------------------------------------------
# A process for each group: after a kernel that hangs or reaches too far, the next begins with a device that works.
if wants benchmarks && compile "build benchmarks" 300 headshare_gpu_benchmarks; then
  for group in ceilings:40 matmul:120 attention:120 decode_attention:60 training:90 shazeer:150 ainslie:90; do
    limit=${group#*:} group=${group%:*}
    wants_group benchmarks "$group" || continue
    rm -f "$scratch/rows.json"
    part "benchmarks $group" "$limit" --keep --rows "$scratch/rows.json" \
      "$build/tests/headshare_gpu_benchmarks" --only "$group" --json "$scratch/rows.json" --seconds "$((limit - 25))" &&
      tail -n 3 "$output"
  done
fi

if wants pytorch; then
  if ! python3 -c 'import torch' 2>/dev/null; then
    finish "pytorch" "skipped: python3 has no module torch" 0
  elif compile "build benchmarks" 300 headshare_gpu_benchmarks; then
    groups=
    for group in "${pytorch_groups[@]}"; do
      wants_group pytorch "$group" && groups=$groups,$group
    done
    limit=$((budget - SECONDS < 480 ? budget - SECONDS : 480))
    part "pytorch" "$limit" --keep --against "$scratch/against.json" \
      env PYTHONUNBUFFERED=1 python3 tests/gpu/against_pytorch.py --headshare "$build/tests/headshare_gpu_benchmarks" \
      --only "${groups#,}" --json "$scratch/against.json" --seconds "$((limit - 40))" && tail -n 3 "$output"
  fi
fi
exit $failed
