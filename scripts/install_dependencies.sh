#!/usr/bin/env bash
# Makes sure that this machine can build Headshare, and installs what is missing on Debian and Ubuntu; when nothing is,
# apt-get is not called. Ends with 1, and says what to do, where the build could not work.
set -euo pipefail

say() { printf '== %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# The compiler that CMake will take, or nothing.
compiler() {
  local candidate
  for candidate in ${CXX:+"$CXX"} c++ g++ clang++; do
    if have "$candidate"; then echo "$candidate"; return; fi
  done
}

# A compiler alone is not enough: clang comes without OpenMP and can lack a standard library.
compiler_works() {
  local program
  [ -n "$(compiler)" ] || return 1
  program=$(mktemp)
  printf '#include <numbers>\n#include <omp.h>\nint main() { return omp_get_max_threads() < std::numbers::pi - 3; }\n' |
    "$(compiler)" -std=c++20 -fopenmp -x c++ - -o "$program" >/dev/null 2>&1
  local result=$?
  rm -f "$program"
  return $result
}

tools=()    # the build cannot do without
compiler_works || tools+=(g++)
have make || have ninja || tools+=(make)
have cmake || tools+=(cmake)

if ! have apt-get; then
  [ ${#tools[@]} -eq 0 ] && exit 0
  say "Missing here: ${tools[*]}. This script installs packages on Debian and Ubuntu only. Please install"
  say "a C++20 compiler with OpenMP (g++ 11 or clang 14, or newer), make and CMake 3.22 or newer, then try again."
  say "If you can, also doctest, cxxopts, stb and nlohmann-json; CMake downloads those that are not there."
  exit 1
fi

headers=()  # CMake downloads those that it does not find
for package in doctest-dev libcxxopts-dev libstb-dev nlohmann-json3-dev; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || headers+=("$package")
done

missing=("${tools[@]}" "${headers[@]}")
[ ${#missing[@]} -eq 0 ] && exit 0

become_root=()
if [ "$(id -u)" -ne 0 ]; then
  # A password can be asked for only where somebody can type it.
  if have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    become_root=(sudo)
  else
    say "Missing here: ${missing[*]}. Installing them needs root. Please run, or ask somebody to run:"
    say "  sudo apt-get update && sudo apt-get install -y ${missing[*]}"
    [ ${#tools[@]} -eq 0 ] || exit 1
    say "Going on without: CMake will try to download these headers."
    exit 0
  fi
fi

say "Installing ${missing[*]} (a minute or two)"
apt=("${become_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq)
# One broken package source must not stop the others: whether the packages are there, the installation will tell.
"${apt[@]}" update || say "apt-get update reported a problem; trying to install all the same"
if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null; then
  say "Could not install ${missing[*]}: see apt-get's message above."
  exit 1
fi
