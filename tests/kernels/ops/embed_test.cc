#include "kernels/ops/embed.h"

#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class EmbedTest : public OpTest {};

TEST_P(EmbedTest, LooksUpTheHandWorkedCase) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Stored table(dtype, {1, 2, 3, 4, 5, 6});
    std::vector<float> output(6);
    const std::vector<int32_t> ids = {2, 0, 2};
    ASSERT_TRUE(Embed(context(), {table.data(), dtype, 3, 2}, ids, {output.data(), {3, 2}}).ok());
    EXPECT_EQ(output, (std::vector<float>{5, 6, 1, 2, 5, 6}));
  }
}

TEST_P(EmbedTest, CopiesRowsExactlyAtOddWidths) {
  for (const int64_t width : {1, 15, 16, 17, 1000}) {
    const auto values = RandomBF16(50 * width);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Stored table(dtype, values);
      std::vector<int32_t> ids(200);
      for (int32_t& id : ids) id = static_cast<int32_t>(RandomBelow(50));
      std::vector<float> output(200 * static_cast<size_t>(width));
      ASSERT_TRUE(
          Embed(context(), {table.data(), dtype, 50, width}, ids, {output.data(), {200, width}})
              .ok());
      for (size_t t = 0; t < ids.size(); ++t) {
        EXPECT_TRUE(SameBits(&output[t * static_cast<size_t>(width)],
                             &values[static_cast<size_t>(ids[t] * width)],
                             static_cast<size_t>(width)));
      }
    }
  }
}

TEST_P(EmbedTest, RefusesAnIdOutsideTheTable) {
  const Stored table(DType::kF32, {1, 2, 3, 4});
  std::vector<float> output(4);
  const MatrixView view{table.data(), DType::kF32, 2, 2};
  ExpectInvalid(Embed(context(), view, std::vector<int32_t>{0, 2}, {output.data(), {2, 2}}),
                "token id 2 at 1 is outside [0, 2)");
  ExpectInvalid(Embed(context(), view, std::vector<int32_t>{-1, 0}, {output.data(), {2, 2}}),
                "token id -1 at 0");
}

TEST_P(EmbedTest, RefusesShapesThatDoNotFit) {
  const Stored table(DType::kF32, {1, 2, 3, 4});
  std::vector<float> output(4);
  const MatrixView view{table.data(), DType::kF32, 2, 2};
  ExpectInvalid(Embed(context(), view, std::vector<int32_t>{0}, {output.data(), {2, 2}}),
                "output [2, 2]");
  ExpectInvalid(Embed(context(), {table.data(), DType::kF16, 2, 2}, {}, {nullptr, {0, 2}}),
                "table is f16");
  EXPECT_TRUE(Embed(context(), view, {}, {nullptr, {0, 2}}).ok());
  ExpectNoCudaPath(Embed({DeviceKind::kCuda, nullptr}, view, {}, {nullptr, {0, 2}}), "Embed");
}

MSA_ON_EVERY_LEVEL(EmbedTest);

}  // namespace
}  // namespace msa::kernels
