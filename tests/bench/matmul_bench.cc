// Lines of msa_kernel_bench: products with weights of 0.6b's shapes, beside oneDNN's where it was
// found when this was built.
#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "kernels/ops/matmul.h"
#include "tests/bench/kernel_bench.h"
#include "tests/bench/onednn_peer.h"

namespace msa::bench {
namespace {

using kernels::ComputeDType;
using kernels::DType;

void MatMulLine(int64_t m, int64_t n, int64_t k, ComputeDType compute, KernelBench* bench) {
  const bool bf16 = compute == ComputeDType::kBF16;
  const std::string name =
      absl::StrFormat("matmul %s M=%d N=%d K=%d", bf16 ? "bf16" : "f32 x bf16", m, n, k);
  if (!bench->Wanted(name)) return;
  const std::vector<float> input = bench->values().F32(static_cast<size_t>(m * k));
  std::vector<float> output(static_cast<size_t>(m * n));
  const auto weight_size = static_cast<size_t>(n * k);
  if (weight_size > bench->memory().size()) {
    std::printf("%-52s needs --buffer-mib %d\n", name.c_str(),
                static_cast<int>((weight_size * 2 >> 20) + 1));
    return;
  }
  size_t copy = 0;
  const auto run = [&] {
    // Another part of the buffer each time: a layer's weights are cold when its turn comes.
    const size_t num_copies = std::max<size_t>(1, bench->memory().size() / weight_size);
    const kernels::BF16* const weight = bench->memory().data() + copy++ % num_copies * weight_size;
    CheckOk(kernels::MatMul({kernels::DeviceKind::kCpu, &bench->pool()},
                            {.input = {input.data(), {m, k}},
                             .weight = {weight, DType::kBF16, n, k},
                             .output = {output.data(), {m, n}},
                             .compute = compute}));
  };
  run();
  for (int64_t i = 0; i < 200; ++i) {
    const int64_t row = i * 7919 % m;
    const int64_t column = i * 104729 % n;
    double expected = 0;
    for (int64_t j = 0; j < k; ++j) {
      const float x = input[static_cast<size_t>(row * k + j)];
      const double w = kernels::ToF32(bench->memory()[static_cast<size_t>(column * k + j)]);
      expected += w * (bf16 ? kernels::ToF32(kernels::ToBF16(x)) : x);
    }
    CheckValue("MatMul", output[static_cast<size_t>(row * n + column)], expected, 1e-4);
  }
  const std::vector<float> first_output = output;
  const double seconds = bench->BestSeconds(run);
  // With f32 inputs the peer's weights are f32 as well: it has no product of the two.
  double peer_seconds = 0;
  constexpr size_t kPeerBytes = size_t{256} << 20;
  const auto peer = OneDnnMatMul::Create(
      m, n, k, bf16, input, bench->memory().data(),
      std::max<size_t>(1, std::min(bench->memory().size(), kPeerBytes / 4) / weight_size));
  if (peer != nullptr) {
    peer->Run();
    for (size_t i = 0; i < 100; ++i) {
      const size_t at = i * 104729 % output.size();
      CheckValue("oneDNN", peer->output()[at], first_output[at], 0.05);
    }
    peer_seconds = bench->BestSeconds([&] { peer->Run(); });
  }
  bench->Report(name, seconds, static_cast<double>(weight_size) * 2,
                2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k),
                bf16 ? KernelBench::Bound::kBF16 : KernelBench::Bound::kF32,
                {bf16 ? "oneDNN bf16" : "oneDNN f32", peer_seconds});
}

}  // namespace

void BenchMatMul(KernelBench* bench) {
  constexpr int64_t kShapes[][2] = {
      {1024, 1024}, {2048, 1024}, {3072, 1024}, {1024, 2048}, {1024, 3072}};  // N, K
  for (const ComputeDType compute : {ComputeDType::kBF16, ComputeDType::kF32}) {
    for (const int64_t m : {1, 16, 512}) {
      for (const auto& [n, k] : kShapes) MatMulLine(m, n, k, compute, bench);
    }
  }
  MatMulLine(1, 151936, 1024, ComputeDType::kBF16, bench);
}

}  // namespace msa::bench
