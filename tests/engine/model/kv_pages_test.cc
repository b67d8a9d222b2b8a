#include "engine/model/kv_pages.h"

#include <gtest/gtest.h>

#include <set>
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

}  // namespace
}  // namespace msa::engine
