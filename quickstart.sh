#!/usr/bin/env bash
# From a bare Debian or Ubuntu machine to a trained and converted translation model, in a few minutes. Arguments are
# handed to `headshare demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '== %s\n' "$*"; }

say "1/3 Checking what the build needs"
scripts/install_dependencies.sh

jobs=$(getconf _NPROCESSORS_ONLN)
say "2/3 Compiling build/release/headshare with $jobs jobs"
mkdir -p build
cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
cmake --build --preset release --target headshare --parallel "$jobs"

say "3/3 build/release/headshare demo --out runs/quickstart $*"
exec build/release/headshare demo --out runs/quickstart "$@"
