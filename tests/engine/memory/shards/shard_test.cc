#include "engine/memory/shards/shard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/ops/quantized_keys.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

constexpr uint64_t kForever = std::numeric_limits<uint64_t>::max();

Shard::Addition Addition(const ScriptedEncoder& encoder, uint32_t number, const std::string& text,
                         uint64_t from_revision) {
  EncodedDocument encoded = encoder.EncodedOf(number, text);
  Shard::Addition addition;
  addition.number = number;
  addition.from_revision = from_revision;
  addition.num_chunks = encoded.num_chunks;
  addition.router_keys = std::move(encoded.router_keys);
  return addition;
}

TEST(ShardTest, RouterKeysOfALayerAreContiguousPerDocument) {
  const ScriptedEncoder encoder(SmallGeometry());
  Shard shard(SmallGeometry());
  EXPECT_TRUE(shard.RouterKeys(0).empty());
  std::vector<Shard::Addition> additions;
  additions.push_back(Addition(encoder, 5, std::string(30, 'a'), 1));
  additions.push_back(Addition(encoder, 2, "b", 1));
  shard.Add(std::move(additions));
  ASSERT_EQ(shard.RouterKeys(2).size(), 1u);
  const kernels::KeyExtent& extent = shard.RouterKeys(2)[0];
  EXPECT_EQ(extent.dtype, kernels::DType::kBF16);
  EXPECT_EQ(std::vector<uint32_t>(extent.numbers.begin(), extent.numbers.end()),
            (std::vector<uint32_t>{5, 2}));
  EXPECT_EQ(std::vector<uint32_t>(extent.chunk_offsets.begin(), extent.chunk_offsets.end()),
            (std::vector<uint32_t>{0, 5, 6}));
  const auto expected = encoder.EncodedOf(5, std::string(30, 'a')).router_keys;
  EXPECT_EQ(std::memcmp(extent.keys, &expected[2 * 5 * 8], 5 * 8), 0);
  EXPECT_EQ(shard.num_chunks(), 6);
  EXPECT_EQ(shard.num_documents(), 2);
  EXPECT_EQ(shard.documents_by_chunks().rbegin()->first, 5);
  EXPECT_EQ(shard.NumChunks(2), 1);
  EXPECT_EQ(shard.NumChunks(3), 0);
}

TEST(ShardTest, RetiredDocumentsStayInTheirPlace) {
  const ScriptedEncoder encoder(SmallGeometry());
  Shard shard(SmallGeometry());
  std::vector<Shard::Addition> additions;
  additions.push_back(Addition(encoder, 1, "a", 3));
  additions.push_back(Addition(encoder, 2, "b", 3));
  shard.Add(std::move(additions));
  shard.Retire(1, 7);
  shard.Retire(99, 7);
  const kernels::KeyExtent& extent = shard.RouterKeys(0)[0];
  EXPECT_EQ(extent.from_revision[0], 3u);
  EXPECT_EQ(extent.to_revision[0], 7u);
  EXPECT_EQ(extent.to_revision[1], kForever);
  EXPECT_EQ(shard.num_documents(), 2);
}

TEST(ShardTest, KeysNeverMoveWhileTheShardGrows) {
  const ScriptedEncoder encoder(SmallGeometry());
  Shard shard(SmallGeometry());
  shard.Add([&] {
    std::vector<Shard::Addition> first;
    first.push_back(Addition(encoder, 0, "first", 1));
    return first;
  }());
  const void* const keys = shard.RouterKeys(1)[0].keys;
  int64_t key_bytes = 0;
  for (uint32_t number = 1; number < 20'000; ++number) {
    std::vector<Shard::Addition> additions;
    additions.push_back(Addition(encoder, number, std::string(1 + number % 90, 'x'), 1));
    shard.Add(std::move(additions));
  }
  key_bytes = shard.num_chunks() * SmallGeometry().router_key_bytes_per_chunk();
  EXPECT_EQ(shard.RouterKeys(1)[0].keys, keys);
  EXPECT_GT(shard.RouterKeys(1).size(), 5u);
  EXPECT_LT(shard.RouterKeys(1).size(), 40u);
  int64_t num_documents = 0;
  for (const kernels::KeyExtent& extent : shard.RouterKeys(1)) {
    num_documents += static_cast<int64_t>(extent.numbers.size());
    for (size_t i = 0; i < extent.numbers.size(); i += 97) {
      const uint32_t number = extent.numbers[i];
      const std::string text = number == 0 ? "first" : std::string(1 + number % 90, 'x');
      const auto expected = encoder.EncodedOf(number, text).router_keys;
      const size_t bytes = expected.size() / 3;
      EXPECT_EQ(std::memcmp(static_cast<const std::byte*>(extent.keys) +
                                extent.chunk_offsets[i] * size_t{8},
                            &expected[bytes], bytes),
                0)
          << number;
    }
  }
  EXPECT_EQ(num_documents, 20'000);
  EXPECT_GE(shard.resident_bytes(), key_bytes);
  EXPECT_LE(shard.resident_bytes(), key_bytes + 20'000 * 200);
}

// Every extent's int8 keys must be those of its exact keys, also after documents were moved.
TEST(ShardTest, QuantizedKeysFollowTheExactOnes) {
  const ScriptedEncoder encoder(SmallGeometry());
  const int64_t width = SmallGeometry().kv_width;
  Shard shard(SmallGeometry(), RouterKeyScan::kInt8);
  std::vector<Shard::Addition> additions;
  for (uint32_t n = 0; n < 20'000; ++n) {
    additions.push_back(Addition(encoder, n, n % 5 == 0 ? "a text of more chunks" : "text", 1));
  }
  shard.Add(std::move(additions));
  const int64_t resident = shard.resident_bytes();
  EXPECT_GE(resident, shard.num_chunks() *
                          SmallGeometry().resident_key_bytes_per_chunk(RouterKeyScan::kInt8));
  const auto expect_equal = [&] {
    ASSERT_GT(shard.RouterKeys(0).size(), 1u);
    for (int layer = 0; layer < 3; ++layer) {
      for (const kernels::KeyExtent& extent : shard.RouterKeys(layer)) {
        const int64_t num_chunks = extent.chunk_offsets.back();
        if (num_chunks == 0) continue;
        ASSERT_NE(extent.quantized_keys, nullptr);
        // In groups of their own, as what the last group has no chunks for is not written.
        const auto bytes = static_cast<size_t>(kernels::QuantizedKeyBytes(num_chunks, width));
        std::vector<std::byte> actual(bytes), expected(bytes);
        kernels::CopyQuantizedKeys(extent.quantized_keys, 0, num_chunks, width, actual.data(), 0);
        kernels::QuantizeKeys(extent.keys, extent.dtype, width, 0, num_chunks, expected.data());
        ASSERT_EQ(actual, expected);
      }
    }
  };
  expect_equal();
  Shard exact(SmallGeometry());
  std::vector<Shard::Addition> one;
  one.push_back(Addition(encoder, 1, "text", 1));
  exact.Add(std::move(one));
  EXPECT_EQ(exact.RouterKeys(0)[0].quantized_keys, nullptr);
  for (uint32_t n = 0; n < 20'000; n += 3) shard.Retire(n, 5);
  while (shard.Compact(5, 0) > 0) {
  }
  EXPECT_LT(shard.resident_bytes(), resident);
  expect_equal();
}

TEST(ShardTest, ADocumentLargerThanAnExtentGetsItsOwn) {
  MemoryGeometry geometry = SmallGeometry();
  geometry.kv_width = 1024;
  Shard shard(geometry);
  for (uint32_t number = 1; number <= 3; ++number) {
    std::vector<Shard::Addition> additions(1);
    additions[0].number = number;
    additions[0].num_chunks = 100;
    additions[0].router_keys.resize(
        static_cast<size_t>(100 * geometry.router_key_bytes_per_chunk()));
    shard.Add(std::move(additions));
  }
  EXPECT_EQ(shard.RouterKeys(0).size(), 3u);
  EXPECT_EQ(shard.num_chunks(), 300);
}

// Many documents over several extents, some retired at revision 5; a query of revision 5 or later
// must find the same keys under the same numbers after every compaction.
TEST(ShardTest, CompactionMovesTheLivingAndDropsTheDead) {
  const ScriptedEncoder encoder(SmallGeometry());
  Shard shard(SmallGeometry());
  constexpr uint32_t kCount = 30'000;
  std::vector<Shard::Addition> additions;
  int64_t num_chunks = 0, num_dead = 0;
  for (uint32_t n = 0; n < kCount; ++n) {
    additions.push_back(Addition(encoder, n, "text", 1));
    num_chunks += additions.back().num_chunks;
    if (n % 3 == 0) num_dead += additions.back().num_chunks;
  }
  shard.Add(std::move(additions));
  ASSERT_GT(shard.RouterKeys(0).size(), 1u);
  for (uint32_t n = 0; n < kCount; n += 3) shard.Retire(n, 5);
  EXPECT_EQ(shard.Compact(4, 0), 0) << "a query of revision 4 sees them";
  EXPECT_EQ(shard.Compact(5, 0.5), 0) << "no extent has so many";
  int64_t freed = 0;
  while (const int64_t chunks = shard.Compact(5, 0)) freed += chunks;
  EXPECT_EQ(freed, num_dead);
  EXPECT_EQ(shard.num_documents(), 2 * kCount / 3);
  EXPECT_EQ(shard.num_chunks(), num_chunks - num_dead);
  EXPECT_EQ(shard.NumChunks(0), 0);
  EXPECT_GT(shard.NumChunks(1), 0);
  const size_t row = 8;  // kv_width in bf16
  std::vector<bool> found(kCount);
  for (int layer = 0; layer < 3; ++layer) {
    for (const kernels::KeyExtent& extent : shard.RouterKeys(layer)) {
      for (size_t i = 0; i < extent.numbers.size(); ++i) {
        const uint32_t number = extent.numbers[i];
        ASSERT_NE(number % 3, 0u);
        found[number] = true;
        const EncodedDocument encoded = encoder.EncodedOf(number, "text");
        const size_t bytes = static_cast<size_t>(encoded.num_chunks) * row;
        const auto* const stored =
            static_cast<const std::byte*>(extent.keys) + extent.chunk_offsets[i] * row;
        ASSERT_EQ(
            std::memcmp(stored, &encoded.router_keys[static_cast<size_t>(layer) * bytes], bytes),
            0);
      }
    }
  }
  EXPECT_EQ(std::count(found.begin(), found.end(), true), 2 * kCount / 3);
  shard.Retire(1, 9);  // found in its new place
  EXPECT_GT(shard.Compact(9, 0), 0);
  EXPECT_EQ(shard.NumChunks(1), 0);
}

}  // namespace
}  // namespace msa::engine
