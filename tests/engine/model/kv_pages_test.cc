#include "engine/model/kv_pages.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

namespace msa::engine {
namespace {

constexpr kernels::KvPageShape kShape{
    .num_kv_heads = 2, .rows_per_page = 4, .head_dim = 8, .dtype = kernels::DType::kBF16};

TEST(KvPages, ReservationsAreBoundedAndGivenBack) {
  KvPagePool pool(kShape, 10);
  EXPECT_TRUE(pool.Reserve(7));
  EXPECT_FALSE(pool.Reserve(4));
  EXPECT_EQ(pool.free_pages(), 3);
  EXPECT_TRUE(pool.Reserve(3));
  pool.Unreserve(10);
  EXPECT_EQ(pool.free_pages(), 10);
}

TEST(KvPages, RowsGrowOverPagesAndSpansCoverThem) {
  KvPagePool pool(kShape, 10);
  ASSERT_TRUE(pool.Reserve(3));
  KvRows rows;
  rows.Grow(&pool, 3);
  rows.Grow(&pool, 6);
  EXPECT_EQ(rows.num_rows(), 9);
  std::vector<kernels::KvSpan> spans;
  rows.AppendSpans(kShape, &spans);
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[0].num_rows, 4);
  EXPECT_EQ(spans[1].num_rows, 4);
  EXPECT_EQ(spans[2].num_rows, 1);
  EXPECT_EQ(std::set<const void*>({spans[0].page, spans[1].page, spans[2].page}).size(), 3u);
}

TEST(KvPages, AReleasedSequenceLeavesNothingBehind) {
  KvPagePool pool(kShape, 40);
  std::set<void*> first_pages;
  for (int turn = 0; turn < 3; ++turn) {
    SequenceKv kv;
    ASSERT_TRUE(pool.Reserve(40));
    kv.reserved_pages = 40;
    kv.local.resize(4);
    kv.memory.resize(2);
    for (KvRows& rows : kv.local) rows.Grow(&pool, 17);
    for (KvRows& rows : kv.memory) rows.Grow(&pool, 5);
    std::set<void*> pages;
    for (const KvRows& rows : kv.local) pages.insert(rows.pages().begin(), rows.pages().end());
    EXPECT_EQ(pages.size(), 20u);
    kv.Release(&pool);
    EXPECT_EQ(pool.free_pages(), 40);
  }
}

TEST(KvPages, RanksTakeAndGiveAtTheSameTime) {
  constexpr int kRanks = 4, kPages = 50;
  KvPagePool pool(kShape, kRanks * kPages);
  ASSERT_TRUE(pool.Reserve(kRanks * kPages));
  std::vector<KvRows> rows(kRanks);
  std::vector<std::thread> ranks;
  for (KvRows& own : rows) {
    ranks.emplace_back([&pool, &own] {
      for (int turn = 0; turn < 100; ++turn) {
        own.Clear(&pool);
        for (int i = 0; i < kPages; ++i) own.Grow(&pool, kShape.rows_per_page);
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
  std::set<void*> pages;
  for (const KvRows& own : rows) pages.insert(own.pages().begin(), own.pages().end());
  EXPECT_EQ(pages.size(), static_cast<size_t>(kRanks * kPages)) << "no page has two owners";
}

}  // namespace
}  // namespace msa::engine
