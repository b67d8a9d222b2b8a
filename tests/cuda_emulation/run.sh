#!/usr/bin/env bash
# Builds the kernels with CUDA emulated on the CPU (build/cuda-emulated) and runs the tests of their CUDA path.
set -euo pipefail
cd "$(dirname "$0")/../.."
cmake --preset cuda-emulated
cmake --build --preset cuda-emulated --parallel "$(scripts/build_jobs.sh)" --target msa_kernels_core_test msa_kernels_ops_test
build/cuda-emulated/bin/msa_kernels_core_test --gtest_filter='Device*:Stream*' --gtest_brief=1
build/cuda-emulated/bin/msa_kernels_ops_test --gtest_filter='EveryDevice/*/cuda:*Cuda*' --gtest_brief=1
