#!/usr/bin/env bash
# Everything that needs a real GPU, in one call: builds for it, runs all tests on it, looks for bad memory accesses and
# races, and measures the kernels beside PyTorch's.
set -uo pipefail

usage() {
  cat <<'END'
tests/gpu/run.sh [CMAKE OPTION...]

Needs an NVIDIA GPU, its driver and the CUDA Toolkit. compute-sanitizer and PyTorch are used where they are installed.
The options go to CMake's first call. From the environment:

  OUT       where results-gpu.json, results-gpu.md and log.txt go; build/gpu/results unless set
  MINUTES   how long all of it may take; 8 unless set. What is then left is stopped or skipped, and has failed
END
}

say() { printf '== %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

case ${1:-} in
  -h | --help) usage; exit 0 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
results=${OUT:-$root/build/gpu/results}

# ---- What must be there ----------------------------------------------------------------------------------------------
# Neither tool is always in PATH: the toolkit lies in a folder of its own, and so does the driver in containers.
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin:/usr/local/nvidia/bin
for tool in nvcc nvidia-smi cmake; do
  have "$tool" && continue
  case $tool in
    nvcc) need="the CUDA Toolkit's compiler; install the toolkit, or set CUDA_HOME to its folder" ;;
    nvidia-smi) need="the NVIDIA driver's tool; this machine seems to have no NVIDIA GPU" ;;
    cmake) need="CMake 3.22 or newer" ;;
  esac
  echo "tests/gpu/run.sh: $tool is missing: $need" >&2
  exit 1
done
if ! gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1); then
  echo "tests/gpu/run.sh: nvidia-smi finds no GPU that works: $gpu" >&2
  exit 1
fi
IFS=, read -r gpu_name gpu_driver gpu_memory < <(sed -n '1s/, */,/gp' <<<"$gpu")  # the first one: the one that is used

mkdir -p "$results" && results=$(cd "$results" && pwd) && cd "$root" || exit 1
export CUDACXX=${CUDACXX:-$(command -v nvcc)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# ---- Parts -----------------------------------------------------------------------------------------------------------
budget=$((60 * ${MINUTES:-8}))
jobs=$(getconf _NPROCESSORS_ONLN)
names=() states=() durations=()  # of the parts so far
failed=0
output=  # the file with what the last part printed

finish() {  # finish NAME STATE SECONDS
  names+=("$1") states+=("$2") durations+=("$3")
  case $2 in failed*) failed=1 ;; esac
  say "$1: $2 ($3 s)"
}

# part NAME SECONDS COMMAND...: runs the command, within what is left of all time, and notes how it ended. False when it
# failed.
part() {
  local name=$1 limit=$2 left=$((budget - SECONDS)) begin=$SECONDS code=0 state=passed
  shift 2
  output=$scratch/output-${#names[@]}
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    finish "$name" "failed: no time was left for it" 0
    return 1
  fi
  say "$name, at most $limit s"
  timeout --kill-after=10 "$limit" "$@" >"$output" 2>&1 || code=$?
  { printf '\n======== %s: %s\n' "$name" "$*"; cat "$output"; } >>"$results/log.txt"
  case $code in
    0) ;;
    # The sanitizers make everything many times slower; what they had seen until then counts.
    124 | 137)
      state="failed: stopped after $limit s"
      if [[ $name == *sanitizer* ]] && ! grep -Eq "$findings" "$output"; then
        state="passed so far: nothing found until it was stopped after $limit s"
        code=0
      fi
      ;;
    *) state="failed: exit status $code" ;;
  esac
  [ $code -eq 0 ] || tail -n 40 "$output"
  finish "$name" "$state" $((SECONDS - begin))
  return $code
}
skip() { finish "$1" "skipped: $2" 0; }

findings='^=========[ ]+(Invalid|Misaligned|Program hit|Uninitialized|Barrier error|(Error|Warning): (Race|Potential))'
kernel_tests='--source-file=*kernel*,*ladder*'

: >"$results/log.txt"
date=$(date -u +%Y-%m-%dT%H:%M:%SZ)
commit=$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
compiler=$("$CUDACXX" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
machine="$gpu_name, $gpu_memory, driver $gpu_driver, nvcc $compiler, $date, commit $commit"
say "$machine"

compile() { part "$1" "$2" cmake --build build/gpu --parallel "$jobs" --target "${@:3}"; }

if part "configure" 60 cmake -S . -B build/gpu -DCMAKE_BUILD_TYPE=Release -DHEADSHARE_DEVICE=cuda "$@" &&
  compile "compile" 300 headshare headshare_tests; then
  part "device" 30 build/gpu/headshare devices && cat "$output"

  # Where the build registers each test for both devices, those of the GPU are enough here.
  selection=()
  ctest --test-dir build/gpu -N -L '^cuda$' | grep -q 'Total Tests: 0' || selection=(-L '^cuda$')
  part "tests" 180 env HEADSHARE_TEST_DEVICE=cuda \
    ctest --test-dir build/gpu --output-on-failure --no-tests=error --parallel "$((jobs < 8 ? jobs : 8))" \
    "${selection[@]}" && tail -n 3 "$output"

  if compile "compile benchmarks" 120 headshare_benchmarks headshare_gpu_benchmarks; then
    part "benchmarks" 100 build/gpu/tests/headshare_gpu_benchmarks --json "$scratch/headshare.json" &&
      cp "$output" "$scratch/headshare.txt"
  fi
  if have python3 && python3 -c 'import torch' 2>/dev/null; then
    known=()
    [ -s "$scratch/headshare.json" ] && known=(--headshare "$scratch/headshare.json")
    part "PyTorch" 100 python3 tests/gpu/against_pytorch.py --json "$scratch/pytorch.json" "${known[@]}" &&
      cp "$output" "$scratch/pytorch.txt"
  else
    skip "PyTorch" "python3 has no module torch"
  fi

  for tool in memcheck racecheck; do
    if have compute-sanitizer; then
      # Tests that ask for more memory than there is make CUDA report errors that are none.
      part "sanitizer: $tool" 90 env HEADSHARE_TEST_DEVICE=cuda \
        compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 \
        build/gpu/tests/headshare_tests "$kernel_tests"
    else
      skip "sanitizer: $tool" "compute-sanitizer is not installed"
    fi
  done
fi

# ---- Results ---------------------------------------------------------------------------------------------------------
quoted() { local text=${1//\\/\\\\}; printf '"%s"' "${text//\"/\\\"}"; }
# A file of JSON, or null when the part that writes it did not get that far.
json_of() { if [ -s "$1" ]; then cat "$1"; else echo null; fi; }

{
  printf '{"gpu": %s, "memory": %s, ' "$(quoted "$gpu_name")" "$(quoted "$gpu_memory")"
  printf '"driver": %s, "nvcc": %s, ' "$(quoted "$gpu_driver")" "$(quoted "$compiler")"
  printf '"date": %s, "commit": %s,\n "parts": [' "$(quoted "$date")" "$(quoted "$commit")"
  for i in "${!names[@]}"; do
    [ "$i" -eq 0 ] || printf ','
    printf '\n  {"part": %s, "state": %s, ' "$(quoted "${names[i]}")" "$(quoted "${states[i]}")"
    printf '"seconds": %d}' "${durations[i]}"
  done
  printf '],\n "headshare": '
  json_of "$scratch/headshare.json"
  printf ',\n "pytorch": '
  json_of "$scratch/pytorch.json"
  printf '}\n'
} >"$results/results-gpu.json"

{
  printf '# On a real GPU\n\n'
  printf '%s\n\n' "$machine"
  printf '| part | state | seconds |\n|---|---|---|\n'
  for i in "${!names[@]}"; do printf '| %s | %s | %d |\n' "${names[i]}" "${states[i]}" "${durations[i]}"; done
  for title in headshare pytorch; do
    [ -s "$scratch/$title.txt" ] || continue
    printf '\n## %s\n\n```text\n' "${title^}"
    cat "$scratch/$title.txt"
    printf '```\n'
  done
} >"$results/results-gpu.md"

say "Results: $results/results-gpu.md"
exit $failed
