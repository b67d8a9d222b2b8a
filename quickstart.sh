#!/usr/bin/env bash
# From a clean clone to an answered question: installs what is missing, builds the server, starts it with two shards on the
# bundled model, adds 2,000 sample documents, asks a single-hop and a two-hop question, and stops the server again.
#
#   ./quickstart.sh
#
# Debian 12, as root or with sudo. What it writes: build/release, and data/quickstart* with the bank. It can be run again.
set -euo pipefail
if [ $# -gt 0 ]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
  [ "$1" = --help ] || [ "$1" = -h ] || { printf 'quickstart: takes no arguments, not "%s"\n' "$1" >&2; exit 2; }
  exit 0
fi
cd "$(dirname "$0")"

readonly model=models/needle/checkpoint
readonly samples=models/needle/samples
readonly bank=samples
readonly server=build/release/bin/msa-server
readonly msactl=build/release/bin/msactl
readonly start_seconds=60   # patience with a server that starts

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' plain=$'\e[0m'
else
  bold='' plain=''
fi
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

server_pid=
stop_server() {
  if [ -n "$server_pid" ]; then
    kill "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=
  fi
}
long_pid=
clean_up() {
  if [ -n "$long_pid" ]; then
    kill -- "-$long_pid" 2>/dev/null || true
    wait "$long_pid" 2>/dev/null || true
  fi
  stop_server
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# ---- packages and build

# Runs a long command: shows its output on a terminal; else its last line now and then, and all of it if it fails.
run_long() {
  local log=$1
  shift
  if [ -t 1 ]; then
    "$@"
    return
  fi
  set -m   # a process group of its own, which clean_up ends as a whole: compilers, too
  "$@" >"$log" 2>&1 </dev/null &
  long_pid=$!
  set +m
  local seconds=0
  while kill -0 "$long_pid" 2>/dev/null; do
    sleep 1
    seconds=$((seconds + 1))
    if [ $((seconds % 30)) -eq 0 ]; then
      printf '  %3d s  %s\n' "$seconds" "$(tail -n 1 "$log" | cut -c 1-100)"
    fi
  done
  local status=0
  wait "$long_pid" || status=$?
  long_pid=
  [ "$status" -eq 0 ] || { tail -n 40 "$log" >&2; fail "failed: $*"; }
}

step '1/5  Packages'
scripts/install_packages.sh

jobs=$(scripts/build_jobs.sh)
step "2/5  Build, $jobs at a time"
build_start=$SECONDS
mkdir -p build
# A build folder with tests stays one: only a new one leaves them out.
tests_off=()
[ -e build/release/CMakeCache.txt ] || tests_off=(-DMSA_BUILD_TESTS=OFF)
run_long build/quickstart-configure.log cmake --preset release "${tests_off[@]}"
run_long build/quickstart-build.log cmake --build --preset release --target msa-server msactl --parallel "$jobs"
echo "Built $server and $msactl in $((SECONDS - build_start)) s."

# ---- server

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() {
  local port
  for port in $(seq "$1" $(($1 + 50))); do
    if port_is_free "$port"; then
      echo "$port"
      return
    fi
  done
  fail "no free port from $1 to $(($1 + 50))"
}

# Starts the server on a data directory. Returns 1 when it does not start; its one-line error is in the log then.
start_server() {
  local data=$1 ports=$1.ports log=$1.log
  rm -f "$ports"
  "$server" --model "$model" --data-dir "$data" --shards 2 --port "$port" --metrics-port "$metrics_port" \
    --port-file "$ports" >"$log" 2>&1 </dev/null &
  server_pid=$!
  local tries=0
  until [ -e "$ports" ]; do
    if ! kill -0 "$server_pid" 2>/dev/null || [ "$tries" -ge $((start_seconds * 20)) ]; then
      stop_server
      return 1
    fi
    sleep 0.05
    tries=$((tries + 1))
  done
  if ! "$msactl" --server "127.0.0.1:$port" --quiet server health --wait "$start_seconds" >/dev/null; then
    stop_server
    return 1
  fi
}

# Whether the bank is missing or usable: one of another model is kept by the server but refused.
bank_is_usable() {
  local error
  error=$("$msactl" bank get "$bank" 2>&1 >/dev/null) && return 0
  [[ $error == *NOT_FOUND* ]]
}

step '3/5  Server'
after_build=$SECONDS
port=$(free_port 7411)
metrics_port=$(free_port 9464)
export MSA_SERVER=127.0.0.1:$port
mkdir -p data
data=
for suffix in '' -2 -3 -4 -5 -6 -7 -8 -9; do
  candidate=data/quickstart$suffix
  if start_server "$candidate"; then
    if bank_is_usable; then
      data=$candidate
      break
    fi
    echo "$candidate holds a bank of another model; leaving it alone."
    stop_server
  else
    echo "Not in $candidate: $(tail -n 1 "$candidate.log")"
  fi
done
[ -n "$data" ] || fail "the server did not start in any of data/quickstart to data/quickstart-9"
"$msactl" server info
echo "Listening on $MSA_SERVER, metrics on http://127.0.0.1:$metrics_port/metrics, data in $data, log in $data.log."

# ---- documents and questions

step '4/5  2,000 documents into a memory bank, over gRPC'
if ! "$msactl" bank get "$bank" >/dev/null 2>&1; then
  "$msactl" bank create "$bank" 2>&1
fi
"$msactl" ingest --bank "$bank" --mode upsert "$samples/documents.jsonl" 2>&1
"$msactl" bank stats "$bank"

# The first sample question with this many hops: a field of its line.
sample() {
  sed -n "/\"hops\": $1,/{s/.*\"$2\": \"\([^\"]*\)\".*/\1/p;q}" "$samples/questions.jsonl"
}

step '5/5  Two questions'
status=0
for hops in 1 2; do
  question=$(sample "$hops" question)
  expected=$(sample "$hops" answer)
  printf '\n%s%s%s\n' "$bold" "$question" "$plain"
  printed=$(mktemp)
  "$msactl" ask --bank "$bank" --explain --explain-limit 4 "$question" 2>&1 | tee "$printed"
  if grep -qxF "Answer: $expected" "$printed"; then
    echo "That is what the documents say."
  else
    echo "But the documents say: $expected"
    status=1
  fi
  echo "In the documents:"
  sed -n 's/^  \[[0-9]*\] \(.*\), cited in round .*/\1/p' "$printed" | while read -r id; do
    sed -n "s/^{\"id\": \"$id\", \"text\": \"\(.*\)\"}$/  $id: \1/p" "$samples/documents.jsonl"
  done
  rm -f "$printed"
done

stop_server
step "Done, $((SECONDS - after_build)) s after the build. The server is stopped; the bank is in $data."
ports=''
[ "$port" = 7411 ] || ports=" --port $port"
[ "$metrics_port" = 9464 ] || ports="$ports --metrics-port $metrics_port"
to=''
[ "$port" = 7411 ] || to=" --server 127.0.0.1:$port"
cat <<TEXT
Start it again:
  $server --model $model --data-dir $data --shards 2$ports
and ask, from another terminal ($samples/questions.jsonl has more questions):
  $msactl ask$to --bank $bank "$(sample 2 question)"
TEXT
[ "$status" -eq 0 ] || fail 'an answer was not what the documents say'
