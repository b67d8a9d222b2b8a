#!/usr/bin/env bash
# Installs the Debian 12 packages that are missing, and says which.
#
#   scripts/install_packages.sh [--tests] [--list]
#
# --tests   also what the tests and benchmarks need
# --list    only prints the names of the packages that are missing
set -euo pipefail

packages=(
  cmake g++ ninja-build pkg-config
  libabsl-dev libcli11-dev libgrpc++-dev libhwy-dev libicu-dev libpcre2-dev libprotobuf-dev libspdlog-dev
  libsqlite3-dev libxxhash-dev libyaml-cpp-dev nlohmann-json3-dev prometheus-cpp-dev protobuf-compiler
  protobuf-compiler-grpc
)
test_packages=(libbenchmark-dev libgmock-dev libgtest-dev python3 python3-grpcio python3-protobuf python3-xxhash)

only_list=false
for argument in "$@"; do
  case "$argument" in
    --tests) packages+=("${test_packages[@]}") ;;
    --list) only_list=true ;;
    *) echo "usage: $0 [--tests] [--list]" >&2; exit 2 ;;
  esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "This is not a Debian system: please install what Debian 12 calls" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
if $only_list; then
  [ ${#missing[@]} -eq 0 ] || printf '%s\n' "${missing[@]}"
  exit 0
fi
if [ ${#missing[@]} -eq 0 ]; then
  echo "All ${#packages[@]} packages are here."
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Missing: ${missing[*]}" >&2
    echo "Neither root nor sudo: install them with 'apt-get install --no-install-recommends ${missing[*]}'." >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "Installing ${#missing[@]} of ${#packages[@]} packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run_quietly() {
  if ! "$@" >"$log" 2>&1 </dev/null; then
    echo "failed: $*" >&2
    tail -n 20 "$log" >&2
    exit 1
  fi
}
# `env` because sudo does not pass the environment on.
apt_get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y)
run_quietly "${apt_get[@]}" update
run_quietly "${apt_get[@]}" install --no-install-recommends "${missing[@]}"
echo "Installed."
