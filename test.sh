#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests. The last line is "N passed, N failed"; the exit status is 0 only if
# none failed.
#
#   ./test.sh [--preset release|debug|asan|tsan] [CTEST ARGUMENTS...]
#
# asan: address and undefined behaviour sanitizers. tsan: thread sanitizer, the core without gRPC.
set -euo pipefail
cd "$(dirname "$0")"

preset=release
if [ "${1:-}" = --preset ]; then
  preset=${2:?usage: ./test.sh [--preset release|debug|asan|tsan] [CTEST ARGUMENTS...]}
  shift 2
fi
case "$preset" in
  release|debug|asan|tsan) ;;
  *) echo "test.sh: preset $preset; allowed: release, debug, asan, tsan" >&2; exit 2 ;;
esac

scripts/install_packages.sh --tests
cmake --preset "$preset" -DMSA_BUILD_TESTS=ON
cmake --build --preset "$preset" --parallel "$(scripts/build_jobs.sh)"

log=build/$preset/test.log
status=0
ctest --preset "$preset" --parallel 2 --no-tests=error "$@" </dev/null 2>&1 | tee "$log" || status=$?

# "98% tests passed, 3 tests failed out of 150"
summary=$(grep -E '^[0-9]+% tests passed' "$log" || true)
total=$(sed -nE 's/.* out of ([0-9]+)$/\1/p' <<<"$summary")
failed=$(sed -nE 's/.* ([0-9]+) tests? failed out of .*/\1/p' <<<"$summary")
if [ -z "$total" ] || [ -z "$failed" ]; then
  echo "0 passed, 1 failed (ctest gave no summary)"
  exit 1
fi
echo "$((total - failed)) passed, $failed failed"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
