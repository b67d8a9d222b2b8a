#include "kernels/ops/pool_memory.h"

#include <cmath>

#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class PoolMemoryTest : public OpTest {
 protected:
  std::vector<float> Run(const std::vector<float>& rows, absl::Span<const int64_t> offsets,
                         int64_t num_chunks, int64_t tokens_per_chunk, int64_t heads,
                         int64_t head_dim, bool normalize) {
    const DeviceArray<float> input = OnDevice(rows);
    const DeviceArray<float> output =
        OnDevice(std::vector<float>(static_cast<size_t>(num_chunks * heads * head_dim)));
    const int64_t num_rows = static_cast<int64_t>(rows.size()) / (heads * head_dim);
    const absl::Status status =
        PoolMemory(context(), {.rows = {input.data(), {num_rows, heads, head_dim}},
                               .doc_offsets = offsets,
                               .tokens_per_chunk = tokens_per_chunk,
                               .normalize = normalize,
                               .output = {output.data(), {num_chunks, heads, head_dim}}});
    EXPECT_TRUE(status.ok()) << status;
    return output.Values();
  }
};

TEST_P(PoolMemoryTest, AveragesTheHandWorkedCase) {
  // Two documents of 3 and 1 tokens, chunks of 2: the last chunk of each is shorter.
  const std::vector<float> rows = {1, 2, 3, 6, 3, 4, 0, 5};
  const int64_t offsets[] = {0, 3, 4};
  EXPECT_EQ(Run(rows, offsets, 3, 2, 1, 2, false), (std::vector<float>{2, 4, 3, 4, 0, 5}));
  EXPECT_EQ(Run({3, 4, 3, 4, 0, 0, 0, 0}, offsets, 3, 2, 1, 2, true),
            (std::vector<float>{0.6f, 0.8f, 0, 0, 0, 0}));
}

TEST_P(PoolMemoryTest, EqualsTheNaiveTwinOverRaggedDocuments) {
  const int64_t offsets[] = {0, 64, 64, 65, 193, 300};
  const int64_t heads = 3;
  const int64_t tokens_per_chunk = 64;
  for (const int64_t head_dim : {1, 5, 16, 37}) {
    const int64_t width = heads * head_dim;
    const auto rows = Random(300 * width);
    for (const bool normalize : {false, true}) {
      std::vector<double> expected;
      int64_t num_chunks = 0;
      for (size_t document = 0; document + 1 < std::size(offsets); ++document) {
        for (int64_t begin = offsets[document]; begin < offsets[document + 1];
             begin += tokens_per_chunk) {
          const int64_t end = std::min(begin + tokens_per_chunk, offsets[document + 1]);
          std::vector<double> chunk(static_cast<size_t>(width), 0.0);
          for (int64_t t = begin; t < end; ++t) {
            for (size_t i = 0; i < chunk.size(); ++i)
              chunk[i] += rows[static_cast<size_t>(t * width) + i];
          }
          for (double& value : chunk) value /= static_cast<double>(end - begin);
          for (int64_t h = 0; normalize && h < heads; ++h)
            naive::Normalize(&chunk[static_cast<size_t>(h * head_dim)], head_dim);
          expected.insert(expected.end(), chunk.begin(), chunk.end());
          ++num_chunks;
        }
      }
      ExpectClose(Run(rows, offsets, num_chunks, tokens_per_chunk, heads, head_dim, normalize),
                  expected, 1e-6, 1e-5);
    }
  }
}

TEST_P(PoolMemoryTest, ADocumentDoesNotDependOnItsCompanyBitwise) {
  const int64_t width = 2 * 9;
  const auto rows = Random(200 * width);
  const int64_t offsets[] = {0, 33, 150, 200};
  const std::vector<float> all = Run(rows, offsets, 5 + 15 + 7, 8, 2, 9, true);
  const int64_t alone[] = {0, 117};
  const std::vector<float> second =
      Run({rows.begin() + 33 * width, rows.begin() + 150 * width}, alone, 15, 8, 2, 9, true);
  EXPECT_TRUE(SameBits(second.data(), &all[5 * static_cast<size_t>(width)], second.size()));
}

TEST_P(PoolMemoryTest, RefusesArgumentsThatDoNotFit) {
  const DeviceArray<float> values = OnDevice(std::vector<float>(24));
  const int64_t offsets[] = {0, 4};
  const PoolMemoryArgs good{.rows = {values.data(), {4, 1, 3}},
                            .doc_offsets = offsets,
                            .tokens_per_chunk = 3,
                            .output = {values.data() + 12, {2, 1, 3}}};
  ASSERT_TRUE(PoolMemory(context(), good).ok());
  PoolMemoryArgs args = good;
  args.tokens_per_chunk = 0;
  ExpectInvalid(PoolMemory(context(), args), "tokens_per_chunk is 0");
  args = good;
  args.output.shape[0] = 1;
  ExpectInvalid(PoolMemory(context(), args), "make 2 chunks, which do not fit output [1, 1, 3]");
  args = good;
  const int64_t wrong[] = {1, 4};
  args.doc_offsets = wrong;
  ExpectInvalid(PoolMemory(context(), args), "doc_offsets must begin with 0");
}

MSA_ON_EVERY_DEVICE(PoolMemoryTest);

}  // namespace
}  // namespace msa::kernels
