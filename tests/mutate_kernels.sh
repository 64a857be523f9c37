#!/usr/bin/env bash
# Would the tests notice? Breaks the kernels in one place at a time and runs their tests under the tracer: first every
# barrier is deleted in turn, then each line of mutations.txt is done, at least one wrong index, one missing bounds
# check and one swapped dimension for each kernel. Takes about half an hour, so test.sh leaves it out.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  cat <<'END'
tests/mutate_kernels.sh [BUILD] [REGEX]
tests/mutate_kernels.sh --check [REGEX]

  BUILD   a Release build, up to date, with the program headshare_traced_tests; default build/release
  REGEX   only the changes in files of kernels/ whose names match, such as 'softmax|rows'
  --check only whether each line of mutations.txt still changes something: kernels go on, and leave lines behind

Says for each change which test caught it, and how. Ends with 1 when one was not noticed that is not argued here.
END
}

# Barriers that may go without a change of meaning, three words each: the file, what stands there (the line and its
# neighbours), and the argument. There are none: each barrier is needed, and its absence is noticed.
argued=(
)
argument() {  # file, text around the barrier
  local i
  for ((i = 0; i < ${#argued[@]}; i += 3)); do
    if [ "$1" = "${argued[i]}" ] && [[ $2 == *"${argued[i + 1]}"* ]]; then echo "${argued[i + 2]}"; return; fi
  done
}

# The lightest tests that know a kernel: files, then which of their cases.
tests_of() {
  cases='*'
  case $1 in
    matmul_hopper.cu) tests=(test_matmul_hopper_ladder) ;;
    matmul*) tests=(test_matmul_ladder test_matmul_bf16_ladder) ;;
    softmax.cu) tests=(test_softmax_ladder test_softmax_kernel) ;;
    layer_norm.cu) tests=(test_layer_norm_kernel test_bf16_row_kernels) ;;
    cross_entropy.cu) tests=(test_cross_entropy_kernel test_bf16_row_kernels) ;;
    reduce.cu) tests=(test_reduce_kernels test_bf16_kernels) ;;
    embedding.cu | dropout.cu | adam.cu | indices.cu) tests=(test_embedding_dropout_adam_kernels test_bf16_kernels) ;;
    copy.cu | elementwise.cu) tests=(test_elementwise_kernels test_bf16_kernels) ;;
    attention.cu) tests=(test_attention_ladder) ;;
    attention_composed.cu) tests=(test_attention_ladder) ;;
    attention_backward.cu)
      tests=(test_attention_kernel)
      cases='heads are*,sources longer*,a query that sees*,nothing is read*,elements between*,a window hides*'
      ;;
    attention_tensor_core.cu) tests=(test_attention_bf16_ladder) ;;
    attention_backward_keys.cu | attention_backward_tensor_core.cu) tests=(test_attention_backward_bf16_ladder) ;;
    decode_attention.cu | decode_tensor_core.cu) tests=(test_decode_attention) ;;
    cache.cu) tests=(test_cache_kernels) ;;
    top_k.cu) tests=(test_top_k_kernel) ;;
    *) echo "mutate_kernels.sh: no tests are known for kernels/$1" >&2; exit 2 ;;
  esac
}

# The sources that are compiled to see what a change in a header does.
users_of() {
  case $1 in
    *.cu) echo "$1" ;;
    warp.cuh) echo softmax.cu layer_norm.cu cross_entropy.cu reduce.cu ;;
    rows.cuh) echo softmax.cu ;;
    attention_tile.cuh) echo attention.cu attention_backward.cu ;;
    attention_mask.cuh) echo attention.cu ;;
    attention_mma.cuh) echo attention_tensor_core.cu ;;
    cuda_hopper.cuh) echo matmul_hopper.cu ;;
    attention_backward_mma.cuh) echo attention_backward_keys.cu attention_backward_tensor_core.cu ;;
    decode_split.cuh | decode_tile.cuh) echo decode_attention.cu ;;
    decode_ring.cuh) echo decode_tensor_core.cu ;;
    matmul_tile.cuh) echo matmul.cu matmul_tensor_core.cu ;;
    *) echo "mutate_kernels.sh: nobody is known to include kernels/$1" >&2; exit 2 ;;
  esac
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
if [ $# -gt 2 ]; then usage >&2; exit 2; fi
regex=${2:-.}
only_check=no build=$root
if [ "${1:-}" = --check ]; then only_check=yes; else build=$(cd "${1:-$root/build/release}" && pwd) || exit 2; fi
if [ $only_check = no ] && [ ! -e "$build/headshare_traced_tests" ]; then
  echo "mutate_kernels.sh: no headshare_traced_tests in $build; first: cmake --build $build" >&2
  exit 2
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$build"  # the compile commands' paths start here
export HEADSHARE_TEST_DEVICE=cuda OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

# The command that compiles an object whose path ends like this, without its source and output.
command_of() { sed -n "s|^ *\"command\": \"\(.*\) -o [^ ]*$1 -c .*|\1|p" compile_commands.json | head -n 1; }
objects_of() { sed -n "s|^ *\"command\": .* -o \([^ ]*$1/[^ ]*\) -c .*|\1|p" compile_commands.json; }

# A source as it is compiled here: instances for double and for narrow keys and values take as long as those for float,
# and break in the same way. Calls of those go to the object that is not changed.
without_twins() {
  awk '/^template [a-z]/ { statement = ""; inside = 1 }
       !inside { print }
       inside { statement = statement $0 "\n" }
       inside && /;$/ { inside = 0
                        twin = statement ~ /double/ && statement !~ /float/ ||
                               statement ~ /<const BFloat16>/ && statement !~ /tensor_core/
                        if (!twin) printf "%s", statement }' "$1"
}

# Links a test program whose kernels of $1 come from $scratch/kernels, where a changed source or header lies. What the
# changed object has comes first; the linker takes the rest from the objects that the build made.
build_tests() {
  local user=$1 name test_objects=()
  tests_of "$user"
  [ -e "$scratch/kernels/$user" ] || without_twins "$root/kernels/$user" >"$scratch/kernels/$user"
  for name in main "${tests[@]}"; do
    test_objects+=("$(objects_of headshare_traced_tests.dir/tests | grep "/$name\.cpp")")
  done
  # shellcheck disable=SC2046,SC2086
  $(command_of "headshare_traced.dir/kernels/$user.o" | sed "s|-I|-I$scratch -I|") -w -o "$scratch/changed.o" \
    -c "$scratch/kernels/$user" &&
    c++ -fopenmp -o "$scratch/tests" "${test_objects[@]}" $(objects_of headshare_tracer.dir) "$scratch/changed.o" \
      $(objects_of headshare_traced.dir) libheadshare_kernels.a libheadshare_core.a -Wl,-z,muldefs
}

run_tests() {  # seconds, order of threads
  # A shell of its own, which says "Segmentation fault" into the output.
  (timeout "$1" env HEADSHARE_THREAD_ORDER="$2" "$scratch/tests" --test-case="$cases" --abort-after=1 --no-colors=true
    exit $?) >"$scratch/output" 2>&1
}

# What the tests need without any change, and whether they pass then.
declare -A usual_seconds=()
check_unchanged() {
  local user=$1 start
  [ -z "${usual_seconds[$user]:-}" ] || return 0
  rm -rf "$scratch/kernels" && mkdir "$scratch/kernels"
  build_tests "$user" || exit 2
  start=$SECONDS
  if ! run_tests 600 forward; then
    cat "$scratch/output"
    echo "mutate_kernels.sh: kernels/$user fails unchanged" >&2
    exit 2
  fi
  usual_seconds[$user]=$((SECONDS - start))
}

# How the tests noticed, from what they printed.
reason() {  # exit status
  local kind test
  kind=$(grep -oE 'missing barrier|race:|out of bounds|uninitialised|misaligned|host memory' "$scratch/output" |
    head -n 1)
  kind=${kind%:}
  [ "$1" -ne 124 ] || kind=${kind:-no end}
  test=$(sed -n '/^TEST CASE:/{s/^TEST CASE: *//p;q}' "$scratch/output")
  echo "${kind:-wrong result}: ${test:-exit status $1}"
}

# The changed file lies in $scratch/kernels: is it noticed?
caught=0 argued_count=0 checked=0 survivors=()
judge() {  # label, source to compile, text around the change
  local label=$1 user=$2 order status why
  build_tests "$user" || { echo "mutate_kernels.sh: $label does not compile" >&2; exit 2; }
  for order in forward reverse shuffled; do
    status=0
    run_tests $((30 + 10 * usual_seconds[$user])) "$order" || status=$?
    if [ "$status" -ne 0 ]; then
      echo "caught    $label [$(reason "$status")]"
      caught=$((caught + 1))
      return
    fi
  done
  why=$(argument "${label%%:*}" "$3")
  if [ -n "$why" ]; then
    echo "argued    $label: $why"
    argued_count=$((argued_count + 1))
  else
    echo "SURVIVED  $label"
    survivors+=("$label")
  fi
}

# Changes one file with sed, and judges it in each source that uses it.
change() {  # file, users, sed expression, what it is
  local file=$1 user users=$2 line around
  sed -E "$3" "$root/kernels/$file" >"$scratch/after"
  line=$({ cmp "$root/kernels/$file" "$scratch/after" || true; } | sed "s/.* line //")
  if [ -z "$line" ]; then echo "mutate_kernels.sh: kernels/$file: $4: '$3' changes nothing" >&2; exit 2; fi
  checked=$((checked + 1))
  [ $only_check = no ] || return 0
  around=$(sed -n "$((line > 1 ? line - 1 : 1)),$((line + 1))p" "$root/kernels/$file" | tr -s ' \n' ' ')
  for user in $users; do
    check_unchanged "$user"
    rm -rf "$scratch/kernels" && mkdir "$scratch/kernels"
    case $file in
      *.cu) without_twins "$scratch/after" >"$scratch/kernels/$file" ;;
      *) cp "$scratch/after" "$scratch/kernels/$file" ;;
    esac
    judge "$file:$line $4$([ "$user" = "$file" ] || echo " (in $user)")" "$user" "$around"
  done
}

for path in "$root"/kernels/*.cu "$root"/kernels/*.cuh; do
  file=${path##*/}
  [[ $file =~ $regex ]] || continue
  for line in $(awk '{ sub("//.*", "") } /__sync(threads|warp)\(/ { print NR }' "$path"); do
    users=$(users_of "$file")
    barrier=$(sed -n "${line}s/.*\(__sync[a-z]*\).*/\1/p" "$path")
    change "$file" "$users" "${line}s/__sync(threads|warp)\([^)]*\)/(void)0/" "without $barrier"
  done
done

# Each line: file, or header and source | what | sed -E
while read -r entry; do
  [[ -n $entry && $entry != '#'* ]] || continue
  files=${entry%% | *} rest=${entry#* | }
  file=${files%% *} user=${files##* }
  [[ $file =~ $regex ]] || continue
  change "$file" "$user" "${rest#* | }" "${rest%% | *}"
done <"$root/tests/mutations.txt"

if [ $only_check = yes ]; then echo "$checked changes, each of which changes something"; exit 0; fi
count=$((caught + argued_count + ${#survivors[@]}))
echo "$count changes: $caught caught, $argued_count argued, ${#survivors[@]} not noticed"
[ ${#survivors[@]} -eq 0 ] || { printf '  %s\n' "${survivors[@]}"; exit 1; }
