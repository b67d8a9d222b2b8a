#include "kernels/ops/embed.h"

#include <algorithm>
#include <numeric>

#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class EmbedTest : public OpTest {
 protected:
  std::vector<float> Run(DType dtype, const std::vector<float>& values, int64_t width,
                         const std::vector<int32_t>& ids) {
    const DeviceArray<char> table = OnDevice(Stored(dtype, values).Bytes());
    const DeviceArray<float> output =
        OnDevice(std::vector<float>(ids.size() * static_cast<size_t>(width)));
    const absl::Status status =
        Embed(context(), {table.data(), dtype, static_cast<int64_t>(values.size()) / width, width},
              ids, {output.data(), {static_cast<int64_t>(ids.size()), width}});
    EXPECT_TRUE(status.ok()) << status;
    return output.Values();
  }
};

TEST_P(EmbedTest, LooksUpTheHandWorkedCase) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const std::vector<int32_t> ids = {2, 0, 2};
    EXPECT_EQ(Run(dtype, {1, 2, 3, 4, 5, 6}, 2, ids), (std::vector<float>{5, 6, 1, 2, 5, 6}));
  }
}

TEST_P(EmbedTest, CopiesRowsExactlyAtOddWidths) {
  for (const int64_t width : {1, 15, 16, 17, 1000}) {
    const auto values = RandomBF16(50 * width);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      std::vector<int32_t> ids(200);
      for (int32_t& id : ids) id = static_cast<int32_t>(RandomBelow(50));
      const std::vector<float> output = Run(dtype, values, width, ids);
      for (size_t t = 0; t < ids.size(); ++t) {
        EXPECT_TRUE(SameBits(&output[t * static_cast<size_t>(width)],
                             &values[static_cast<size_t>(ids[t] * width)],
                             static_cast<size_t>(width)));
      }
    }
  }
}

TEST_P(EmbedTest, IdsMayChangeOnceItHasReturned) {
  constexpr int kTurns = 30;  // 12 MB of ids: more than a stream keeps
  constexpr int64_t kRows = 100'000;
  std::vector<float> values(kTurns);
  std::iota(values.begin(), values.end(), 0.0f);
  const DeviceArray<float> table = OnDevice(values);
  std::vector<DeviceArray<float>> outputs;
  for (int turn = 0; turn < kTurns; ++turn) outputs.push_back(OnDevice(std::vector<float>(kRows)));
  std::vector<int32_t> ids(kRows);
  for (int turn = 0; turn < kTurns; ++turn) {
    std::fill(ids.begin(), ids.end(), turn);
    ASSERT_TRUE(Embed(context(), {table.data(), DType::kF32, kTurns, 1}, ids,
                      {outputs[static_cast<size_t>(turn)].data(), {kRows, 1}})
                    .ok());
  }
  for (int turn = 0; turn < kTurns; ++turn) {
    const std::vector<float> output = outputs[static_cast<size_t>(turn)].Values();
    EXPECT_EQ(output, std::vector<float>(kRows, static_cast<float>(turn))) << turn;
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
}

MSA_ON_EVERY_DEVICE(EmbedTest);

}  // namespace
}  // namespace msa::kernels
