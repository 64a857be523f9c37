#!/usr/bin/env bash
# lab_quick.sh HEADSHARE: every lab in its --quick form, then the report of them all, as a user would try them first. The
# tests of each lab are in test_lab_*.cpp; here they run one after the other, each on what the one before left.
set -euo pipefail
headshare=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

check_file() { [ -s "$1" ] || { echo "lab_quick: $1 is missing or empty" >&2; exit 1; }; }

labs=(uptrain shazeer decode attention)
for lab in "${labs[@]}"; do
  echo "== lab $lab --quick"
  "$headshare" lab "$lab" --quick --out "$lab" --json "$lab.json"
  for file in "$lab/lab.json" "$lab/results.md" "$lab.json"; do check_file "$file"; done
done
echo "== lab report"
"$headshare" lab report "${labs[@]}" --out report.html
check_file report.html
grep -q '</html>' report.html
