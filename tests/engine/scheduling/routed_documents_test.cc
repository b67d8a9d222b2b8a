#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/scheduling/query_runner.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/scheduling/scheduler_fixture.h"

namespace msa::engine {
namespace {

// Rows of even numbers are there.
class HalfABank : public CitableBank {
 public:
  HalfABank() : CitableBank(MemoryGeometry(), 1) {}
  absl::StatusOr<std::vector<DocumentInfo>> Read(absl::Span<const uint32_t> numbers,
                                                 const BankPin& pin,
                                                 bool with_text) const override {
    std::vector<uint32_t> even;
    for (const uint32_t number : numbers) {
      if (number % 2 == 0) even.push_back(number);
    }
    return CitableBank::Read(even, pin, with_text);
  }
};

std::vector<RoutedDocument> Documents(const std::vector<uint32_t>& numbers) {
  std::vector<RoutedDocument> documents;
  for (const uint32_t number : numbers) documents.emplace_back().number = number;
  return documents;
}

TEST(LookUpDocuments, FillsInIdsAndTexts) {
  HalfABank bank;
  std::vector<RoutedDocument> documents = Documents({4, 2});
  ASSERT_TRUE(LookUpDocuments(bank, *bank.Pin(), /*with_text=*/false, &documents).ok());
  EXPECT_EQ(documents[0].id, "d4");
  EXPECT_EQ(documents[1].id, "d2");
  EXPECT_TRUE(documents[0].text.empty());
  ASSERT_TRUE(LookUpDocuments(bank, *bank.Pin(), /*with_text=*/true, &documents).ok());
  EXPECT_FALSE(documents[0].text.empty());
}

TEST(LookUpDocuments, ADocumentWithoutARowIsDataLossByNumber) {
  HalfABank bank;
  std::vector<RoutedDocument> documents = Documents({4, 7, 2});
  const absl::Status status = LookUpDocuments(bank, *bank.Pin(), false, &documents);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(kernels::DetailOf(status).reason, "SEGMENT_DAMAGED");
  EXPECT_EQ(kernels::DetailOf(status).metadata.at("document_number"), "7");
}

}  // namespace
}  // namespace msa::engine
