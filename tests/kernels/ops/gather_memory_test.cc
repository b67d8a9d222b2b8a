#include "kernels/ops/gather_memory.h"

#include <array>
#include <cmath>
#include <limits>

#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class GatherMemoryTest : public OpTest {
 protected:
  KvPageShape shape_{2, 3, 5, DType::kF32};
  std::vector<DeviceArray<char>> memory_;
  std::vector<void*> pages_;

  void MakePages(size_t count) {
    memory_.clear();
    pages_.clear();
    for (size_t i = 0; i < count; ++i) {
      memory_.push_back(OnDevice(std::vector<char>(static_cast<size_t>(shape_.bytes()), '\0')));
      pages_.push_back(memory_.back().data());
    }
  }
  // What At reads is what was on the device then.
  void ReadBack() {
    values_.clear();
    for (const DeviceArray<char>& page : memory_) values_.push_back(page.Values());
  }
  // Value [part][head][row][d] over all pages; part 0 is keys.
  float At(int64_t part, int64_t head, int64_t row, int64_t d) const {
    const char* const page = values_[static_cast<size_t>(row / shape_.rows_per_page)].data();
    const auto index = static_cast<size_t>(
        ((part * shape_.num_kv_heads + head) * shape_.rows_per_page + row % shape_.rows_per_page) *
            shape_.head_dim +
        d);
    if (shape_.dtype == DType::kF32) {
      float value;
      std::memcpy(&value, page + index * 4, 4);
      return value;
    }
    BF16 value;
    std::memcpy(&value, page + index * 2, 2);
    return ToF32(value);
  }

 private:
  std::vector<std::vector<char>> values_;
};

TEST_P(GatherMemoryTest, ChunksLandInTheirRowsInEveryCombinationOfDTypes) {
  for (const int64_t head_dim : {1, 5, 16, 33}) {
    for (const DType content_dtype : {DType::kF32, DType::kBF16}) {
      for (const DType page_dtype : {DType::kF32, DType::kBF16}) {
        shape_ = {2, 3, head_dim, page_dtype};
        MakePages(4);
        const int64_t num_chunks = 7;
        const int64_t width = 2 * head_dim;
        const auto values = Random(num_chunks * 2 * width);
        const Stored stored(content_dtype, values);
        const DeviceArray<char> content = OnDevice(stored.Bytes());
        ASSERT_TRUE(GatherMemory(context(), {.content = content.data(),
                                             .content_dtype = content_dtype,
                                             .num_chunks = num_chunks,
                                             .shape = shape_,
                                             .pages = pages_,
                                             .first_row = 4})
                        .ok());
        ReadBack();
        const bool rounded = content_dtype == DType::kBF16 || page_dtype == DType::kBF16;
        for (int64_t row = 0; row < 12; ++row) {
          for (int64_t i = 0; i < 2 * width; ++i) {
            const bool written = row >= 4 && row < 11;
            const float value =
                written ? values[static_cast<size_t>((row - 4) * 2 * width + i)] : 0.0f;
            ASSERT_EQ(At(i / width, i % width / head_dim, row, i % head_dim),
                      rounded ? ToF32(ToBF16(value)) : value);
          }
        }
      }
    }
  }
}

TEST_P(GatherMemoryTest, LocalRowsLandInTheirPlaces) {
  for (const DType page_dtype : {DType::kF32, DType::kBF16}) {
    shape_ = {3, 4, 18, page_dtype};
    MakePages(3);
    const auto keys = Random(6 * 3 * 18);
    const auto values = Random(6 * 3 * 18);
    const DeviceArray<float> device_keys = OnDevice(keys), device_values = OnDevice(values);
    ASSERT_TRUE(StoreLocal(context(), {.key = {device_keys.data(), {6, 3, 18}},
                                       .value = {device_values.data(), {6, 3, 18}},
                                       .shape = shape_,
                                       .pages = pages_,
                                       .first_row = 5})
                    .ok());
    ReadBack();
    for (int64_t t = 0; t < 6; ++t) {
      for (int64_t i = 0; i < 54; ++i) {
        const auto index = static_cast<size_t>(t * 54 + i);
        const bool f32 = page_dtype == DType::kF32;
        ASSERT_EQ(At(0, i / 18, 5 + t, i % 18), f32 ? keys[index] : ToF32(ToBF16(keys[index])));
        ASSERT_EQ(At(1, i / 18, 5 + t, i % 18), f32 ? values[index] : ToF32(ToBF16(values[index])));
      }
    }
    EXPECT_EQ(At(0, 0, 4, 0), 0.0f);
    EXPECT_EQ(At(0, 0, 11, 0), 0.0f);
  }
}

TEST_P(GatherMemoryTest, NarrowingKeepsInfinityAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  shape_ = {1, 1, 17, DType::kBF16};
  MakePages(1);
  std::vector<float> keys(17, 3.4e38f);
  keys[0] = keys[16] = std::nanf("");
  keys[1] = -kInfinity;
  const DeviceArray<float> rows = OnDevice(keys);
  ASSERT_TRUE(StoreLocal(context(), {.key = {rows.data(), {1, 1, 17}},
                                     .value = {rows.data(), {1, 1, 17}},
                                     .shape = shape_,
                                     .pages = pages_})
                  .ok());
  ReadBack();
  EXPECT_TRUE(std::isnan(At(0, 0, 0, 0)));
  EXPECT_TRUE(std::isnan(At(0, 0, 0, 16)));
  EXPECT_EQ(At(0, 0, 0, 1), -kInfinity);
  EXPECT_EQ(At(0, 0, 0, 2), kInfinity);
}

TEST_P(GatherMemoryTest, RefusesRowsOutsideThePages) {
  MakePages(2);
  const DeviceArray<float> values = OnDevice(Random(100));
  GatherMemoryArgs args{.content = values.data(),
                        .content_dtype = DType::kF32,
                        .num_chunks = 2,
                        .shape = shape_,
                        .pages = pages_,
                        .first_row = 4};
  EXPECT_TRUE(GatherMemory(context(), args).ok());
  args.first_row = 5;
  ExpectInvalid(GatherMemory(context(), args), "2 rows from row 5 do not fit 2 pages of 3 rows");
  args.first_row = -1;
  ExpectInvalid(GatherMemory(context(), args), "2 rows from row -1");
  args.first_row = 0;
  args.content = nullptr;
  ExpectInvalid(GatherMemory(context(), args), "content has no data");
  args.num_chunks = 0;
  EXPECT_TRUE(GatherMemory(context(), args).ok());
  pages_[1] = nullptr;
  args = {
      .content = values.data(), .num_chunks = 2, .shape = shape_, .pages = pages_, .first_row = 2};
  ExpectInvalid(GatherMemory(context(), args), "page 1 is null");
  args.content_dtype = DType::kF16;
  ExpectInvalid(GatherMemory(context(), args), "content is f16");
  ExpectInvalid(StoreLocal(context(), {.key = {values.data(), {2, 2, 4}},
                                       .value = {values.data(), {2, 2, 4}},
                                       .shape = shape_,
                                       .pages = pages_}),
                "are not [T, 2, 5]");
}

MSA_ON_EVERY_DEVICE(GatherMemoryTest);

}  // namespace
}  // namespace msa::kernels
