#!/usr/bin/env bash
# Does kernel_resources.sh notice what it is there for? On reports that were made up; needs neither nvcc nor a GPU.
set -euo pipefail
script=$(dirname "${BASH_SOURCE[0]}")/kernel_resources.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

# kernel NAME CAPABILITY REGISTERS SPILLED SHARED: a piece of a report. The name is as a compiler decorates it.
kernel() {
  printf 'ptxas info    : Compiling entry function '\''%s'\'' for '\''sm_%s'\''\n' "$1" "$2"
  printf 'ptxas info    : Function properties for %s\n' "$1"
  printf '    %d bytes stack frame, %d bytes spill stores, 0 bytes spill loads\n' "${6:-0}" "$4"
  printf 'ptxas info    : Used %d registers, used 1 barriers, %d bytes smem, 392 bytes cmem[0]\n' "$3" "$5"
}
hot=_ZN9headshare7kernels12_GLOBAL__N_110hot_kernelIfEEvPT_   # headshare::kernels::(anonymous)::hot_kernel<float>
there=_Z10only_thereIiEvPT_
slow=_ZN9headshare7kernels12_GLOBAL__N_110hot_kernelIdEEvPT_  # ... <double>

cat >"$folder/launches" <<'LIST'
# a comment
256 1024 75+  hot_kernel<float>
256 0    90   only_there<int>
64  0    -    kernels_y.cu:hot_kernel<double>
128 0    -    y.cu:hot_kernel<double>
256 ?    -    hot_kernel<.*>
LIST
for name in good spilling stack slow empty gone same_name large; do mkdir "$folder/$name"; done
both() { for capability in 75 90a; do kernel "$1" $capability "${@:2}"; done; }
{ both $hot 64 0 512; kernel $there 90a 32 0 0; kernel $there 75 255 8 8; } >"$folder/good/kernels_x.cu.o.txt"
echo 'ptxas info    : 0 bytes gmem' >"$folder/good/kernels_none.cu.o.txt"
{ kernel $hot 75 64 0 0; kernel $hot 90 255 8 0; kernel $there 90 32 0 0; } >"$folder/spilling/kernels_x.cu.o.txt"
{ both $hot 64 0 0 16; both $there 32 0 0; } >"$folder/stack/kernels_x.cu.o.txt"
{ both $hot 64 0 0; both $there 32 0 0; both $slow 255 96 0; } >"$folder/slow/kernels_x.cu.o.txt"
{ both $hot 64 0 65536; both $there 32 0 0; } >"$folder/large/kernels_x.cu.o.txt"  # too large for a 7.5 alone
both $slow 64 0 0 >"$folder/gone/kernels_x.cu.o.txt"
kernel $slow 90 64 0 0 >"$folder/same_name/kernels_y.cu.o.txt"
echo 'a letter' >"$folder/letter.txt"
kernel $hot 90 64 0 0 | head -n 3 >"$folder/torn.txt"
echo '256 many 75+ x' >"$folder/bad_launches"

# expect STATUS TEXT ARGUMENTS...: how the script must end, and what a line that it prints must match.
expect() {
  local status=0 output
  output=$("$script" --launches "$folder/launches" "${@:3}" 2>&1) || status=$?
  if [ $status -ne "$1" ] || ! grep -Eq -- "$2" <<<"$output"; then
    failed=1
    printf 'FAILED: %s\n  status %d, wanted %d and a line with: %s\n%s\n' "${*:3}" $status "$1" "$2" "$output"
  fi
  if [ "$1" = 2 ] && [ "$(wc -l <<<"$output")" -ne 1 ]; then  # refusals are one line
    failed=1
    printf 'FAILED: not one line:\n%s\n' "$output"
  fi
}

# The table. 64 registers are 2048 of a warp: 8 warps in each quarter, 32 in all, which fills a 7.5 and half of a 9.0.
expect 0 '^hot_kernel<float> +x.cu +75 +64 +0 +0 +1536 +256 +4 +100 % +warps$' "$folder/good"
expect 0 '^hot_kernel<float> +x.cu +90a +64 +0 +0 +1536 +256 +4 +50 % +registers$' "$folder/good"
expect 0 '^\| hot_kernel<float> \| x.cu \| 90a \| 64 \| 0 \| 0 \| 1536 \| 256 \| 4 \| 50 % \| registers \|$' \
  --markdown --target 90 "$folder/good/kernels_x.cu.o.txt"
expect 0 '^hot_kernel<double> +x.cu +75 +255 +0 +96 +0[+][?] +256 +[?] +[?] +[?]$' "$folder/slow"
expect 0 '^hot_kernel<double> +y.cu +90 +64 +0 +0 +0 +128 +8 +50 % +registers$' "$folder/same_name"
expect 0 '90a.*50 %' --target sm_90a --hot "$folder/slow"
expect 2 'no such kernel' --hot "$folder/gone"
expect 2 'no such kernel' --target 100 "$folder/good"

# The check.
expect 0 '^3 hot kernels, compiled for( sm_75| sm_90){2}: no spills$' --check "$folder/good"
expect 0 'no spills' --check "$folder/slow"  # double is not hot
expect 1 '^sm_90 hot_kernel<float> .x.cu. keeps numbers in memory: 8 bytes of spills' --check "$folder/spilling"
expect 1 'a stack of 16' --check "$folder/stack"
expect 1 '^sm_75 hot_kernel<float> .x.cu. does not fit: shared memory, of which it needs 66560 bytes' \
  --check "$folder/large"
expect 1 '^1 problem$' --check "$folder/large"
expect 1 '^sm_90 has no kernel hot_kernel<float>' --check "$folder/gone"
expect 1 "^sm_90 has no kernel only_there<int>" --check "$folder/gone"
expect 77 '^Skipped: no reports' --check "$folder/empty"
expect 77 '^Skipped: no reports' --check "$folder/nowhere"

# Wrong calls and files.
expect 0 '^tests/gpu/kernel_resources.sh' --help
expect 2 'which reports' --hot
expect 2 'unknown option --cold' --cold "$folder/good"
expect 2 '--target needs a value' "$folder/good" --target
expect 2 "compute capability such as 90, not 'hopper'" --target hopper "$folder/good"
expect 2 'cannot read .*nowhere' "$folder/nowhere"
expect 2 'no reports' "$folder/empty"
expect 2 'letter.txt is no report of the compiler' "$folder/letter.txt"
expect 2 'torn.txt: the report ends in the middle of' "$folder/torn.txt"
expect 2 'cannot read .*no_launches' --launches "$folder/no_launches" "$folder/good"
expect 2 'bad_launches:1: want THREADS' --launches "$folder/bad_launches" "$folder/good"
exit $failed
