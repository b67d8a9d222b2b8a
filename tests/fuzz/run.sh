#!/usr/bin/env bash
# Builds the fuzz targets with clang++ and runs each a number of times. Exit status: 0 only if nothing was found.
#
#   tests/fuzz/run.sh [RUNS] [TARGET...]     # 1000000 runs of every target
#
# Starts from tests/fuzz/corpus/TARGET. What is new goes to build/fuzz/corpus/TARGET, logs and inputs that fail to
# build/fuzz/findings. To keep the little of it that reaches something new:
#   build/fuzz/bin/msa_fuzz_TARGET -set_cover_merge=1 -use_counters=0 tests/fuzz/corpus/TARGET build/fuzz/corpus/TARGET
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${1:-1000000}
case "$runs" in
  ''|*[!0-9]*) echo "run.sh: RUNS is $runs; allowed: a number" >&2; exit 2 ;;
esac
shift || true
targets=("$@")
[ $# -gt 0 ] || targets=(segment filter import_line manifest log)

# Longer inputs are slower and reach nothing new.
declare -A most_bytes=([segment]=2048 [filter]=512 [import_line]=512 [manifest]=1024 [log]=4096)
for target in "${targets[@]}"; do
  [ -n "${most_bytes[$target]:-}" ] || { echo "run.sh: target $target; allowed: ${!most_bytes[*]}" >&2; exit 2; }
done

cmake --preset fuzz
cmake --build --preset fuzz --parallel "$(scripts/build_jobs.sh)"

findings=build/fuzz/findings
mkdir -p "$findings"
status=0
for target in "${targets[@]}"; do
  corpus=build/fuzz/corpus/$target
  mkdir -p "$corpus"
  options=(-runs="$runs" -max_len="${most_bytes[$target]}" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1
    -artifact_prefix="$findings/$target-")
  [ ! -e "tests/fuzz/$target.dict" ] || options+=(-dict="tests/fuzz/$target.dict")
  log=$findings/$target.log
  "build/fuzz/bin/msa_fuzz_$target" "${options[@]}" "$corpus" "tests/fuzz/corpus/$target" >"$log" 2>&1 || status=1
  echo "$target: $(grep -E '^#[0-9]+\s+DONE' "$log" || tail -n 1 "$log")"
  grep -E '^(Done [0-9]+ runs|SUMMARY:|==[0-9]+==)' "$log" || true
done
exit "$status"
