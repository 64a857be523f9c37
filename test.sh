#!/usr/bin/env bash
# Runs every test twice: as released, and again under the address and undefined-behaviour sanitizers. CUDA kernels run
# on a GPU where there is one, else on the simulated device, also with every memory access watched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'END'
./test.sh [release|asan] [-R REGEX]

  release, asan   only this one of the two builds
  -R REGEX        only the test files whose names match, such as -R 'softmax|attention'

Where changes are checked (CI=true) a warning is an error; HEADSHARE_WERROR=ON or OFF chooses otherwise.
END
}

say() { printf '== %s\n' "$*"; }

presets=()
selection=()
while [ $# -gt 0 ]; do
  case $1 in
    release | asan) presets+=("$1") ;;
    -R)
      if [ $# -lt 2 ]; then echo "test.sh: -R needs a regular expression" >&2; exit 2; fi
      selection=(-R "$2")
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "test.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
[ ${#presets[@]} -gt 0 ] || presets=(release asan)

say "Checking what the build needs"
scripts/install_dependencies.sh

# Some tests read data that is too large for this repository.
export HEADSHARE_SHARED=${HEADSHARE_SHARED:-$PWD/../shared}
[ -d "$HEADSHARE_SHARED" ] || say "No folder $HEADSHARE_SHARED: tests that need its data skip it and say so"

jobs=$(getconf _NPROCESSORS_ONLN)
mkdir -p build
for preset in "${presets[@]}"; do
  options=()
  targets=(headshare_tests)
  # Benchmarks are compiled, so that they stay in step, and run by hand.
  [ "$preset" = release ] && targets+=(headshare_benchmarks headshare_course headshare_course_support)
  [ "$preset" = release ] && options=(-DHEADSHARE_WERROR="${HEADSHARE_WERROR:-${CI:+ON}}")
  say "Compiling build/$preset with $jobs jobs"
  cmake --preset "$preset" "${options[@]}" >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
  # Not every machine has these: kernels under the tracer need the simulated device and GCC; nvcc, only to see that it
  # accepts every kernel, is part of the CUDA Toolkit.
  available=$(cmake --build --preset "$preset" --target help)
  for target in headshare_traced_tests headshare_nvcc_check; do
    if [ "$preset" != release ]; then continue; fi
    if grep -qw "$target" <<<"$available"; then targets+=("$target"); else say "Skipped: no $target in this build"; fi
  done
  cmake --build --preset "$preset" --target "${targets[@]}" --parallel "$jobs"
  say "Testing build/$preset"
  ctest --preset "$preset" --parallel "$jobs" "${selection[@]}"
done
