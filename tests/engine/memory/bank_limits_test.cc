#include <atomic>

#include "absl/strings/str_cat.h"
#include "engine/memory/documents/metadata_index.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

using BankLimitsTest = BankTest;

std::string TextOfTokens(int64_t num_tokens, uint32_t number) {
  return std::string(static_cast<size_t>(num_tokens) - absl::StrCat("[", number, "]").size(), 'x');
}

TEST_F(BankLimitsTest, DocumentOverTheModelsLengthIsRefusedWithBothNumbers) {
  MakeBank();
  const IngestResult fits = Ingest(*bank_, "fits", TextOfTokens(200, 1));
  EXPECT_TRUE(fits.status.ok()) << fits.status;
  EXPECT_EQ(fits.num_tokens, 200);
  const IngestResult result = Ingest(*bank_, "long", TextOfTokens(201, 2));
  EXPECT_TRUE(absl::IsInvalidArgument(result.status));
  const kernels::ErrorDetail detail = kernels::DetailOf(result.status);
  EXPECT_EQ(detail.reason, "DOCUMENT_TOO_LARGE");
  EXPECT_EQ(detail.metadata.at("limit"), "200");
  EXPECT_EQ(detail.metadata.at("actual"), "201");
  EXPECT_EQ(Ingest(*bank_, "next", "x").number, 2u) << "a refused document takes no number";
}

TEST_F(BankLimitsTest, TokenBudgetIsExactAndCountsTombstones) {
  MakeBank({.display_name = "", .token_budget = 100});
  ASSERT_TRUE(Ingest(*bank_, "a", TextOfTokens(60, 1)).status.ok());
  const IngestResult over = Ingest(*bank_, "b", TextOfTokens(41, 2));
  EXPECT_TRUE(absl::IsResourceExhausted(over.status));
  const kernels::ErrorDetail detail = kernels::DetailOf(over.status);
  EXPECT_EQ(detail.reason, "TOKEN_BUDGET_EXCEEDED");
  EXPECT_EQ(detail.metadata.at("limit"), "100");
  EXPECT_EQ(detail.metadata.at("reserved"), "60");
  EXPECT_EQ(detail.metadata.at("requested"), "41");
  ASSERT_TRUE(Ingest(*bank_, "b", TextOfTokens(40, 2)).status.ok());
  EXPECT_EQ(bank_->Stats().reserved_tokens, 100);
  ASSERT_TRUE(Delete(*bank_, {"a"}).status.ok());
  EXPECT_EQ(bank_->Stats().reserved_tokens, 100);
  EXPECT_TRUE(absl::IsResourceExhausted(Ingest(*bank_, "c", "x").status));
  Reopen();  // the segment of "a" holds nothing else and goes
  EXPECT_EQ(bank_->Stats().reserved_tokens, 40);
  EXPECT_TRUE(Ingest(*bank_, "c", TextOfTokens(60, 3)).status.ok());
}

TEST_F(BankLimitsTest, RouterKeyBudgetSpansAllBanks) {
  // A chunk has 3 * 4 * 2 = 24 bytes of router keys; ids and metadata count too.
  MetadataIndex index;
  const int64_t empty_index_bytes = index.resident_bytes();
  index.Add(1, "x", {});
  const int64_t index_bytes = index.resident_bytes() - empty_index_bytes;
  options_.router_key_budget_bytes = 2 * index_bytes + 5 * 24;
  MakeBank();
  const auto other = store_->Create("b", {}).value();
  ASSERT_TRUE(Ingest(*bank_, "x", TextOfTokens(16, 1)).status.ok());
  ASSERT_TRUE(Ingest(*other, "x", TextOfTokens(16, 1)).status.ok());
  const IngestResult over = Ingest(*other, "y", TextOfTokens(9, 2));
  EXPECT_TRUE(absl::IsResourceExhausted(over.status));
  const kernels::ErrorDetail detail = kernels::DetailOf(over.status);
  EXPECT_EQ(detail.reason, "ROUTER_KEY_BUDGET_EXCEEDED");
  EXPECT_EQ(detail.metadata.at("limit"), absl::StrCat(2 * index_bytes + 120));
  EXPECT_EQ(detail.metadata.at("reserved"), absl::StrCat(2 * index_bytes + 96));
  EXPECT_EQ(detail.metadata.at("requested"), "48");
  EXPECT_EQ(other->Stats().reserved_tokens, 16) << "what was refused holds no tokens";
  EXPECT_TRUE(Ingest(*other, "y", TextOfTokens(8, 2)).status.ok());
  bank_.reset();
  ASSERT_TRUE(store_->Delete("a", /*force=*/true).ok());
  EXPECT_TRUE(Ingest(*other, "z", TextOfTokens(16, 3)).status.ok());
}

TEST_F(BankLimitsTest, MetadataCountAgainstTheRouterKeyBudget) {
  options_.router_key_budget_bytes = 64 << 10;
  MakeBank();
  const Metadata large = {{"note", std::string(15'000, 'n')}};
  int num_stored = 0;
  while (num_stored < 10) {
    DocumentInput document{
        .id = absl::StrCat("d", num_stored), .text = "x", .metadata = large, .number = {}};
    std::get<std::string>(document.metadata["note"])[0] = static_cast<char>('a' + num_stored);
    const IngestResult result = Ingest(*bank_, std::move(document));
    if (!result.status.ok()) {
      EXPECT_EQ(kernels::DetailOf(result.status).reason, "ROUTER_KEY_BUDGET_EXCEEDED");
      break;
    }
    ++num_stored;
  }
  EXPECT_EQ(num_stored, 4);  // the first that fits no more overshoots the budget by its metadata
  ASSERT_TRUE(Delete(*bank_, {"d0", "d1"}).status.ok());
  EXPECT_TRUE(Eventually([&] { return Ingest(*bank_, "small", "x").status.ok(); }));
}

TEST_F(BankLimitsTest, BadDocumentsAreRefusedByField) {
  options_.max_text_bytes = 100;
  options_.max_metadata_bytes = 20;
  MakeBank();
  const auto refused = [&](DocumentInput document) {
    const IngestResult result = Ingest(*bank_, std::move(document));
    EXPECT_TRUE(absl::IsInvalidArgument(result.status)) << result.status;
    return kernels::DetailOf(result.status);
  };
  EXPECT_EQ(refused({.id = "", .text = "x", .metadata = {}, .number = {}}).field, "documents.id");
  EXPECT_EQ(refused({.id = "a", .text = "\xff", .metadata = {}, .number = {}}).reason,
            "INVALID_UTF8");
  EXPECT_EQ(refused({.id = "a", .text = std::string(101, 'x'), .metadata = {}, .number = {}})
                .metadata.at("actual"),
            "101");
  EXPECT_EQ(
      refused({.id = "a", .text = "x", .metadata = {{"key", std::string(18, 'x')}}, .number = {}})
          .reason,
      "METADATA_TOO_LARGE");
  EXPECT_EQ(bank_->Stats().num_accepted + bank_->Stats().num_documents, 0);
}

TEST_F(BankLimitsTest, FullQueueRefusesAtOnceAndSaysWhenToComeBack) {
  options_.max_pending_documents = 4;
  MakeBank();
  encoder_->HoldEncoding(true);
  std::atomic<int> num_done = 0;
  std::atomic<int> num_refused = 0;
  constexpr int kCount = 50;
  for (int i = 0; i < kCount; ++i) {
    bank_->Ingest({.id = absl::StrCat("d", i), .text = "x", .metadata = {}, .number = {}},
                  IngestMode::kInsert, AcknowledgeAt::kActive, [&](IngestResult r) {
                    if (!r.status.ok()) {
                      EXPECT_TRUE(absl::IsResourceExhausted(r.status)) << r.status;
                      EXPECT_TRUE(kernels::DetailOf(r.status).retry_after.has_value());
                      ++num_refused;
                    }
                    ++num_done;
                  });
  }
  EXPECT_GE(num_refused, kCount - 8 - 4);
  encoder_->HoldEncoding(false);
  EXPECT_TRUE(Eventually([&] { return num_done == kCount; }));
  EXPECT_EQ(bank_->Stats().num_documents, kCount - num_refused);
}

TEST_F(BankLimitsTest, SmallBoundsSlowIngestDownAndLoseNothing) {
  options_.segment_target_bytes = 100;  // less than one document's arrays
  options_.max_pending_bytes = 200;     // tokens of hardly any document
  MakeBank();
  encoder_->HoldEncoding(true);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(Ingest(*bank_, absl::StrCat("d", i), absl::StrCat("text ", i), IngestMode::kInsert,
                       AcknowledgeAt::kAccepted)
                    .status.ok());
  }
  encoder_->HoldEncoding(false);
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(bank_->Stats().num_documents, 100);
  EXPECT_GT(bank_->Stats().num_segments, 40);
  ExpectServesExactlyWhatIsActive(*bank_);
}

}  // namespace
}  // namespace msa::engine
