#!/usr/bin/env bash
# Writes the Python modules of proto/ that msa_client imports into a folder; put that folder on PYTHONPATH.
#
#   client/python/generate_stubs.sh FOLDER
#
# Needs protoc and grpc_python_plugin (Debian: protobuf-compiler, protobuf-compiler-grpc).
set -euo pipefail

folder=${1:?usage: generate_stubs.sh FOLDER}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/../../proto"
plugin=$(command -v grpc_python_plugin) || { echo "grpc_python_plugin is not installed" >&2; exit 1; }
find . -name '*.proto' -printf '%P\n' | sort |
  xargs protoc -I . --python_out="$folder" --grpc_out="$folder" --plugin="protoc-gen-grpc=$plugin"
