#!/usr/bin/env bash
# Does run.sh do its parts in order, in several calls, and keep what each found? With stand-ins for the GPU's tools:
# needs python3 and no GPU.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
results=$folder/repository/build/gpu/results
failed=0

mkdir -p "$folder/bin" "$folder/repository/tests/gpu"
cp "$here"/*.py "$here/run.sh" "$folder/repository/tests/gpu"
touch "$folder/repository/tests/test_matmul_ladder.cpp" "$folder/repository/tests/test_softmax_kernel.cpp"

stand_in() { { echo '#!/usr/bin/env bash'; cat; } >"$folder/bin/$1"; chmod +x "$folder/bin/$1"; }
stand_in nvcc <<<'echo "Cuda compilation tools, release 13.0, V13.0.88"'
stand_in nvidia-smi <<'END'
case $* in *driver*) echo 580.1 ;; *) echo "NVIDIA GPU, 1 MiB" ;; esac
END
stand_in ctest <<'END'
exit ${TESTS:-0}
END
stand_in compute-sanitizer <<'END'
case $* in
  *"--tool racecheck"*softmax*) echo "========= Error: Race reported"; exit 9 ;;
  *"--tool synccheck"*matmul*) sleep 60 ;;
esac
END
stand_in cmake <<'END'
echo "cmake $*"
[ "$1" = --build ] || exit 0
mkdir -p "$2/tests"
for program in headshare tests/headshare_tests tests/headshare_gpu_benchmarks; do
  cp "$(dirname "$0")/program" "$2/$program"
done
END
stand_in program <<'END'
group=
while [ $# -gt 0 ]; do
  case $1 in --only) group=$2 ;; --json) file=$2 ;; esac
  shift
done
[ -n "$group" ] || exit 0
[ "$group" != "${BREAKS:-}" ] || exit 1
case $group in
  ceilings) rows='"kernel": "copy", "size": "2048 MiB", "ms": 1, "GB/s": 4000, "TFLOP/s": 0' ;;
  matmul) rows='"kernel": "matmul_hopper bf16", "size": "4096 x 4096 x 4096 NN", "ms": 1, "GB/s": 1, "TFLOP/s": 700' ;;
  decode_attention) rows='"kernel": "decode_attention", "size": "G 1", "ms": 1, "GB/s": 3000, "TFLOP/s": 1' ;;
  shazeer) rows='"kernel": "greedy", "size": "G 1", "ms": 1, "GB/s": 1, "TFLOP/s": 1' ;;
  *) echo '[]' >"$file"; exit 0 ;;
esac
cat >"$file" <<ROWS
[{"group": "$group", $rows, "us a token": 2, "predicted ms": 0.9, "reference": "cuBLAS", "reference ms": 0.79,
  "of reference": 0.79, "note": ""}]
ROWS
END

run() {  # run CODE OPTION...: what run.sh prints goes to the file printed
  local wanted=$1 code=0
  shift
  PATH=$folder/bin:$PATH COMMIT=1234 "$folder/repository/tests/gpu/run.sh" "$@" >"$folder/printed" 2>&1 || code=$?
  [ $code -eq "$wanted" ] || complain "run.sh $*: exit status $code, wanted $wanted"
}
complain() {
  echo "test_run.sh: $*"
  cat "$folder/printed"
  failed=1
}
prints() { grep -qE -- "$1" "$folder/printed" || complain "nothing printed like: $1"; }
prints_not() { ! grep -qE -- "$1" "$folder/printed" || complain "printed: $1"; }
reports() { grep -qE -- "$1" "$results/results-gpu.md" || complain "nothing reported like: $1"; }

# ---- Wrong calls: one line, exit status 2 ----------------------------------------------------------------------------
for words in --foo --only "--only bild" "--only benchmarks:x" "--only tests:x" -D word; do
  # shellcheck disable=SC2086  # words are words
  run 2 $words
  [ "$(wc -l <"$folder/printed")" -eq 1 ] || complain "run.sh $words: more than one line"
done
MINUTES=x run 2
[ ! -e "$folder/repository/build" ] || complain "a wrong call made a folder"

# ---- Parts, in order, and in several calls ---------------------------------------------------------------------------
run 0 --only build -DX=1
prints 'configure: passed'
grep -q -- '-DHEADSHARE_DEVICE=cuda -DX=1' "$results/log.txt" || complain "CMake did not get the option"
TESTS=8 run 1 --only build,tests
prints 'tests: failed: exit status 8'
run 0 --only tests --resume  # it had failed
prints 'tests: passed \('
run 0 --only tests --resume
prints 'tests: passed in an earlier call'
prints 'build tests: passed \('  # the folder may be gone: building is never skipped

MINUTES=0.4 run 1 --only sanitizer
prints 'sanitizer memcheck: passed'
prints 'sanitizer racecheck: failed'
prints 'FAILED  racecheck test_softmax_kernel'
prints 'stopped synccheck test_matmul_ladder: nothing found until then'

BREAKS=attention run 1 --only benchmarks
prints 'benchmarks attention: failed'
prints 'benchmarks ainslie: passed'
reports 'matmul_hopper bf16 4096 x 4096 x 4096 NN, of cuBLAS [|] 0.79 [|] 0.80 or more [|] NOT MET'
reports 'decode attention.*[|] 0.75 [|] 0.85 or more [|] NOT MET'
reports 'Shazeer.*[|] 1.11 [|] 1.30 or less [|] met'
reports 'fused attention forward, D 64,.*not measured'
reports 'At most: copy 4,000 GB/s'
reports '[|] tests [|] passed'  # of an earlier call
run 0 --only benchmarks:attention
prints_not 'benchmarks matmul'
reports 'benchmarks attention [|] passed'
reports 'matmul_hopper bf16 4096 x 4096 x 4096 NN, of cuBLAS [|] 0.79'

MINUTES=0.05 OUT=$folder/out run 1 --only benchmarks:ceilings
prints 'left out: no time was left'
for file in results-gpu.json results-gpu.md log.txt; do
  [ -s "$folder/out/$file" ] || complain "OUT has no $file"
done
exit $failed
