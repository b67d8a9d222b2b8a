#include "kernels/ops/merge_top_k.h"

#include <algorithm>
#include <random>

#include "gtest/gtest.h"

namespace msa::kernels {
namespace {

using Documents = std::vector<ScoredDocument>;

MergedTopK Merge(const std::vector<Documents>& lists, int64_t k) {
  const std::vector<absl::Span<const ScoredDocument>> spans(lists.begin(), lists.end());
  return MergeTopK(spans, k);
}

TEST(MergeTopKTest, MergesTheHandWorkedCase) {
  const MergedTopK merged = Merge({{{5, 1}, {2, 9}}, {{4, 3}, {3, 4}}, {}}, 3);
  EXPECT_EQ(merged.documents, (Documents{{5, 1}, {4, 3}, {3, 4}}));
  EXPECT_EQ(merged.owners, (std::vector<int>{0, 1, 1}));
}

TEST(MergeTopKTest, EqualScoresGoToTheLowerNumber) {
  const MergedTopK merged = Merge({{{1, 8}}, {{1, 2}, {1, 5}}, {{1, 3}}}, 4);
  EXPECT_EQ(merged.documents, (Documents{{1, 2}, {1, 3}, {1, 5}, {1, 8}}));
  EXPECT_EQ(merged.owners, (std::vector<int>{1, 2, 1, 0}));
}

TEST(MergeTopKTest, FewerDocumentsThanAskedForAreAllReturned) {
  EXPECT_EQ(Merge({{{1, 8}}, {}}, 4).documents.size(), 1u);
  EXPECT_TRUE(Merge({}, 4).documents.empty());
  EXPECT_TRUE(Merge({{{1, 8}}}, 0).documents.empty());
}

TEST(MergeTopKTest, AnySplitIntoListsGivesTheSameDocuments) {
  std::mt19937 generator(1);
  Documents all;
  for (uint32_t number = 0; number < 200; ++number) {
    all.push_back({static_cast<float>(generator() % 20), number});  // many ties
  }
  Documents sorted = all;
  std::sort(sorted.begin(), sorted.end());
  for (const size_t num_lists : {1, 2, 3, 7}) {
    std::vector<Documents> lists(num_lists);
    for (const ScoredDocument& document : all) lists[generator() % num_lists].push_back(document);
    for (Documents& list : lists) std::sort(list.begin(), list.end());
    EXPECT_EQ(Merge(lists, 50).documents, Documents(sorted.begin(), sorted.begin() + 50));
  }
}

}  // namespace
}  // namespace msa::kernels
