#!/usr/bin/env bash
# Prints how many compilers to run at a time: one per core, as long as each has 1.5 GiB of free memory.
set -euo pipefail
cores=$(nproc)
free_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
by_memory=$((free_kib / 1572864))
jobs=$((cores < by_memory ? cores : by_memory))
echo $((jobs > 0 ? jobs : 1))
