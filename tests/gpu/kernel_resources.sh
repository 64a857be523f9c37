#!/usr/bin/env bash
# What every kernel takes of a GPU, from the compiler's report: no GPU is needed.
set -euo pipefail

usage() {
  cat <<'USAGE'
tests/gpu/kernel_resources.sh [OPTION...] REPORT...

Prints for every kernel its registers, the bytes of a thread that live in memory because they do not fit into registers
(spilled) or are indexed at run time (stack: both), its shared memory, and its occupancy: how many of the warps that a
multiprocessor can hold it can have there at once, and what stands in the way of more.
A REPORT is what nvcc -Xptxas -v printed, or a folder of such files, *.o.txt, as headshare_nvcc_check leaves them:

  cmake --build --preset release --target headshare_nvcc_check
  tests/gpu/kernel_resources.sh --hot --target 90 build/release/nvcc

  --target N       only for this compute capability: 75, 90, 100
  --hot            only the kernels where training and decoding spend their time
  --markdown       a table for Markdown
  --check          no table; fails when a hot kernel has spills or a stack, when a multiprocessor has no room for one
                   of its blocks, or when the list names a hot kernel that is not there
  --launches FILE  the list of kernels with their blocks' threads, dynamic shared memory and whether they are hot;
                   kernel_launches.txt beside this script unless given

Exit status: 0, or 1 when --check fails, 2 for a wrong call or file, 77 when --check finds no reports at all.
USAGE
}

wrong() { echo "kernel_resources.sh: $*" >&2; exit 2; }

target= only_hot=0 style=plain launches=$(dirname "${BASH_SOURCE[0]}")/kernel_launches.txt
paths=()
while [ $# -gt 0 ]; do
  case $1 in
    --target | --launches) [ $# -ge 2 ] || wrong "$1 needs a value" ;;&
    --target) target=${2#sm_}; shift ;;
    --launches) launches=$2; shift ;;
    --hot) only_hot=1 ;;
    --markdown) style=markdown ;;
    --check) style=check ;;
    -h | --help) usage; exit 0 ;;
    -*) wrong "unknown option $1; --help shows all" ;;
    *) paths+=("$1") ;;
  esac
  shift
done
[ ${#paths[@]} -gt 0 ] || wrong "which reports? Name files, or a folder such as build/release/nvcc; --help shows more"
[[ $target =~ ^([0-9]+a?)?$ ]] || wrong "--target wants a compute capability such as 90, not '$target'"
[ -r "$launches" ] || wrong "cannot read $launches"

reports=()
for path in "${paths[@]}"; do
  if [ -d "$path" ]; then
    found=("$path"/*.o.txt)
    [ -e "${found[0]}" ] && reports+=("${found[@]}")
  elif [ -r "$path" ]; then
    reports+=("$path")
  elif [ $style != check ]; then
    wrong "cannot read $path"
  fi
done
if [ ${#reports[@]} -eq 0 ]; then
  [ $style = check ] || wrong "no reports (*.o.txt) in ${paths[*]}; the target headshare_nvcc_check makes them"
  echo "Skipped: no reports of the compiler in ${paths[*]}: no nvcc is installed, or headshare_nvcc_check was not built"
  exit 77
fi

# Names as the compiler decorated them become readable; without their arguments.
if command -v c++filt >/dev/null; then
  demangle() { c++filt -p; }
elif command -v cu++filt >/dev/null; then
  demangle() { cu++filt -p; }
else
  wrong "c++filt is missing; it comes with every compiler (package binutils)"
fi

# ---- The reports: one line for each kernel and target ---------------------------------------------------------------
# name, capability, registers, stack frame, spilled bytes, static shared memory, file. In a report:
#   ptxas info    : Compiling entry function 'NAME' for 'sm_90'
#       0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads        and again for each function that it calls
#   ptxas info    : Used 50 registers, used 1 barriers, 64 bytes smem, 392 bytes cmem[0]
read_reports() {
  awk '
    function stop(text) { printf "kernel_resources.sh: %s\n", text > "/dev/stderr"; failed = 1; exit 2 }
    function finish() {
      if (kernel != "" && registers == "") stop(file ": the report ends in the middle of " kernel)
      if (kernel != "") print kernel, capability, registers, stack, spills, shared, source
      kernel = ""
    }
    # The number before "bytes WHAT", or before "WHAT".
    function number(what,    i, text) {
      for (i = 1; i <= split($0, text, ","); ++i)
        if (index(text[i], what)) { match(text[i], /[0-9]+/); return substr(text[i], RSTART, RLENGTH) + 0 }
      return 0
    }
    function close_file() {
      if (file == "") return
      finish()
      if (!is_report) stop(file " is no report of the compiler; nvcc -Xptxas -v prints one")
    }
    BEGIN { OFS = "\t" }
    FILENAME != file {
      close_file()
      file = source = FILENAME
      is_report = 0
      sub(/.*\//, "", source); sub(/[.]o[.]txt$/, "", source); sub(/^kernels_/, "", source)
    }
    /^ptxas info/ { is_report = 1 }
    /Compiling entry function/ {
      finish()
      split($0, quoted, "\047")
      kernel = quoted[2]; capability = quoted[4]; sub(/^sm_/, "", capability)
      registers = ""; stack = spills = shared = 0
    }
    kernel != "" && /bytes stack frame/ {
      stack += number("bytes stack frame")
      spills += number("bytes spill stores") + number("bytes spill loads")
    }
    kernel != "" && /: Used [0-9]+ registers/ { registers = number("registers"); shared = number("bytes smem") }
    END { if (!failed) close_file() }
  ' "$@"
}

# ---- The table ------------------------------------------------------------------------------------------------------
# Occupancy as the CUDA occupancy calculator has it (cuda_occupancy.h of the toolkit; the limits: CUDA C++ Programming
# Guide, "Technical Specifications per Compute Capability"): registers are given to a warp 256 at a time, from one of
# four quarters of a multiprocessor; shared memory to a block 128 bytes at a time (256 before compute capability 8.0),
# with 1 KiB for the system (none before 8.0).
write_table() {
  awk -v only_hot="$only_hot" -v only_target="$target" -v style="$style" -v launches="$launches" '
    function stop(text) { printf "kernel_resources.sh: %s\n", text > "/dev/stderr"; failed = 1; exit 2 }
    function specify(capability, warps, blocks, kilobytes) {
      most_warps[capability] = warps; most_blocks[capability] = blocks; most_shared[capability] = kilobytes * 1024
    }
    function up(x, step) { return int((x + step - 1) / step) * step }
    # Blocks of a multiprocessor; sets limit, what allows no more.
    function resident(capability, threads, registers, shared,    old, warps, blocks, other) {
      old = capability < 80
      warps = int((threads + 31) / 32)
      blocks = most_blocks[capability]; limit = "blocks"
      other = int(most_warps[capability] / warps)
      if (other <= blocks) { blocks = other; limit = "warps" }
      other = int(int(65536 / 4 / up(registers * 32, 256)) * 4 / warps)
      if (other < blocks) { blocks = other; limit = "registers" }
      shared = up(shared + (old ? 0 : 1024), old ? 256 : 128)
      if (shared > 0 && int(most_shared[capability] / shared) < blocks) {
        blocks = int(most_shared[capability] / shared); limit = "shared memory"
      }
      return blocks
    }
    # "a::(anonymous namespace)::kernel<b::C>" becomes "kernel<C>".
    function short(name) {
      gsub(/[(]anonymous namespace[)]::/, "", name)
      gsub(/[A-Za-z_0-9]+::/, "", name)
      while (gsub(/> >/, ">>", name)) continue
      return name
    }
    function read_launches(    line, field, rest) {
      while ((getline line < launches) > 0) {
        ++number
        if (line ~ /^ *(#|$)/) continue
        if (split(line, field, " ") < 4 || field[1] !~ /^([0-9]+|[?])$/ || field[2] !~ /^([0-9]+(max)?|[?])$/ || field[3] !~ /^([0-9]+[+]?|-)$/)
          stop(launches ":" number ": want THREADS SHARED HOT KERNEL, such as 256 0 75+ adam_kernel<float>")
        rest = line
        for (i = 0; i < 3; ++i) sub(/^ *[^ ]+ +/, "", rest)
        ++rows; threads_of[rows] = field[1]; dynamic_of[rows] = field[2]; hot_on[rows] = field[3]
        pattern[rows] = rest
      }
    }
    function is_hot(row, capability) {
      return hot_on[row] != "-" && (capability == hot_on[row] + 0 || capability > hot_on[row] + 0 && hot_on[row] ~ /[+]/)
    }
    function row_of(name, file,    i) {
      for (i = 1; i <= rows; ++i)
        if (name ~ "^(" pattern[i] ")$" || (file ":" name) ~ "^(" pattern[i] ")$") return i
      return 0
    }
    BEGIN {
      FS = "\t"
      specify(75, 32, 16, 64); specify(80, 64, 32, 164); specify(86, 48, 16, 100); specify(89, 48, 24, 100)
      specify(90, 64, 32, 228); specify(100, 64, 32, 228); specify(120, 48, 24, 100)
      read_launches()
      columns = split("kernel,file,sm,registers,stack,spilled,shared,threads,blocks,occupancy,limit", title, ",")
      for (c = 1; c <= columns; ++c) cell[0, c] = title[c]
    }
    {
      capability = $2 + 0  # 90 of 90a
      if (only_target != "" && capability != only_target + 0) next
      name = short($1)
      row = row_of(name, $7)
      hot = row && is_hot(row, capability)
      if (hot) { ++hot_kernels; hot_found[row, capability] = 1 }
      targets[capability] = 1
      if (hot && $4 + $5 > 0)
        bad[++bads] = "sm_" $2 " " name " (" $7 ") keeps numbers in memory: " $5 " bytes of spills, a stack of " $4 \
                      ", " $3 " registers"
      if (only_hot && !hot) next
      threads = row ? threads_of[row] : "?"
      dynamic = row ? dynamic_of[row] : "?"
      blocks = occupancy = limit = "?"
      if (threads != "?" && dynamic != "?" && capability in most_warps) {
        blocks = resident(capability, threads, $3, $6 + dynamic)
        if (hot && blocks < 1)
          bad[++bads] = "sm_" $2 " " name " (" $7 ") does not fit: " limit ", of which it needs " \
                        (limit == "registers" ? $3 " for each of " threads " threads" : $6 + dynamic " bytes")
        occupancy = sprintf("%.0f %%", 100 * blocks * int((threads + 31) / 32) / most_warps[capability])
      }
      ++lines
      cell[lines, 1] = name; cell[lines, 2] = $7; cell[lines, 3] = $2; cell[lines, 4] = $3; cell[lines, 5] = $4
      cell[lines, 6] = $5; cell[lines, 7] = dynamic == "?" ? $6 "+?" : $6 + dynamic; cell[lines, 8] = threads
      cell[lines, 9] = blocks; cell[lines, 10] = occupancy; cell[lines, 11] = limit
    }
    function check(    i, target, names) {
      for (target in targets) {
        names = names " sm_" target
        for (i = 1; i <= rows; ++i)
          if (is_hot(i, target + 0) && !((i, target) in hot_found))
            bad[++bads] = "sm_" target " has no kernel " pattern[i] ", which " launches " has"
      }
      for (i = 1; i <= bads; ++i) print bad[i]
      if (bads) print bads (bads == 1 ? " problem" : " problems")
      else print hot_kernels + 0 " hot kernels, compiled for" names ": no spills"
      return bads > 0
    }
    END {
      if (failed) exit 2
      if (style == "check") exit check()
      if (lines == 0) stop("no such kernel in these reports")
      for (c = 1; c <= columns; ++c)
        for (i = 0; i <= lines; ++i) if (length(cell[i, c]) > width[c]) width[c] = length(cell[i, c])
      for (i = 0; i <= lines; ++i) {
        line = ""
        for (c = 1; c <= columns; ++c)
          line = line (style == "markdown" ? "| " cell[i, c] " " \
                       : sprintf("%" (c < 3 || c == columns ? "-" : "") width[c] "s  ", cell[i, c]))
        sub(/ +$/, "", line)
        print line (style == "markdown" ? " |" : "")
        if (i == 0 && style == "markdown") {
          for (c = 1; c <= columns; ++c) printf "|---"
          print "|"
        }
      }
    }
  '
}

lines=$(read_reports "${reports[@]}") || exit
demangle <<<"$lines" | sort -t $'\t' -k7,7 -k1,1 -k2,2n | write_table
