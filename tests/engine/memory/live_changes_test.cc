#include <future>

#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What changes while the bank serves, beside ingest and delete.
class LiveChangesTest : public BankTest {
 protected:
  LiveChangesTest() { MakeBank({.display_name = "The bank", .token_budget = 0}); }

  IngestResult Update(DocumentUpdate update, AcknowledgeAt level = AcknowledgeAt::kActive) {
    std::promise<IngestResult> result;
    bank_->Update(std::move(update), level,
                  [&](IngestResult r) { result.set_value(std::move(r)); });
    return result.get_future().get();
  }

  absl::Status Change(BankSettingsChange change) {
    std::promise<absl::Status> result;
    bank_->ChangeSettings(std::move(change), [&](const absl::Status& s) { result.set_value(s); });
    return result.get_future().get();
  }

  DocumentInfo Get(const std::string& id) { return bank_->Get(id, /*with_text=*/true).value(); }
};

TEST_F(LiveChangesTest, MetadataChangeInPlaceAndNothingIsEncoded) {
  DocumentInput document{.id = "d", .text = "a text", .metadata = {{"k", 1.0}}, .number = {}};
  const IngestResult stored = Ingest(*bank_, document);
  const int64_t num_encoded = encoder_->num_encoded();
  const IngestResult updated = Update({.id = "d", .text = {}, .metadata = Metadata{{"k", "v"}}});
  ASSERT_TRUE(updated.status.ok()) << updated.status;
  EXPECT_EQ(updated.number, stored.number);
  EXPECT_EQ(updated.state, DocumentState::kActive);
  EXPECT_EQ(encoder_->num_encoded(), num_encoded);
  EXPECT_EQ(Get("d").metadata, (Metadata{{"k", "v"}}));
  EXPECT_EQ(Get("d").text, "a text");
  const Filter filter = *Filter::Parse("metadata.k = \"v\"");
  EXPECT_TRUE(bank_->Select(&filter, {}).Contains(stored.number));
}

TEST_F(LiveChangesTest, TheOldTextIsServedUntilTheNewOneIsActive) {
  DocumentInput document{.id = "d", .text = "old", .metadata = {{"k", 1.0}}, .number = {}};
  const IngestResult stored = Ingest(*bank_, document);
  encoder_->HoldEncoding(true);
  const IngestResult accepted =
      Update({.id = "d", .text = "new", .metadata = {}}, AcknowledgeAt::kAccepted);
  ASSERT_TRUE(accepted.status.ok()) << accepted.status;
  EXPECT_GT(accepted.number, stored.number);
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ::testing::ElementsAre(stored.number));
  encoder_->HoldEncoding(false);
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ::testing::ElementsAre(accepted.number));
  EXPECT_EQ(Get("d").text, "new");
  EXPECT_EQ(Get("d").metadata, document.metadata);
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(LiveChangesTest, AnUpdateThatChangesNothingIsANoOp) {
  const IngestResult stored = Ingest(*bank_, "d", "text");
  for (const DocumentUpdate& update :
       {DocumentUpdate{.id = "d", .text = "text", .metadata = {}},
        DocumentUpdate{.id = "d", .text = {}, .metadata = Metadata()}}) {
    const IngestResult result = Update(update);
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_TRUE(result.deduplicated);
    EXPECT_EQ(result.number, stored.number);
  }
}

TEST_F(LiveChangesTest, WhatIsNotThereCannotBeUpdated) {
  const IngestResult updated = Update({.id = "d", .text = "text", .metadata = {}});
  EXPECT_TRUE(absl::IsNotFound(updated.status)) << updated.status;
  const IngestResult ingested = Ingest(*bank_, "d", "text", IngestMode::kUpdateOnly);
  EXPECT_TRUE(absl::IsNotFound(ingested.status)) << ingested.status;
  EXPECT_THAT(std::string(ingested.status.message()), HasSubstr("\"d\""));
  EXPECT_EQ(bank_->Stats().num_documents, 0);
  ASSERT_TRUE(Ingest(*bank_, "d", "text").status.ok());
  EXPECT_TRUE(Ingest(*bank_, "d", "other", IngestMode::kUpdateOnly).status.ok());
  EXPECT_EQ(Get("d").text, "other");
}

TEST_F(LiveChangesTest, AFailedDocumentCanBeUpdated) {
  EXPECT_FALSE(Ingest(*bank_, "d", "it fails!").status.ok());
  ASSERT_EQ(Get("d").state, DocumentState::kFailed);
  const IngestResult updated = Update({.id = "d", .text = "it works", .metadata = {}});
  ASSERT_TRUE(updated.status.ok()) << updated.status;
  EXPECT_EQ(Get("d").state, DocumentState::kActive);
  EXPECT_EQ(bank_->Stats().num_failed, 0);
}

TEST_F(LiveChangesTest, MetadataChangeForWhatIsServedNotForANewTextThatFailed) {
  const IngestResult stored = Ingest(*bank_, "d", "a text");
  EXPECT_FALSE(Update({.id = "d", .text = "it fails!", .metadata = {}}).status.ok());
  const IngestResult updated = Update({.id = "d", .text = {}, .metadata = Metadata{{"k", true}}});
  ASSERT_TRUE(updated.status.ok()) << updated.status;
  EXPECT_EQ(updated.number, stored.number);
  const Filter filter = *Filter::Parse("metadata.k = true");
  EXPECT_TRUE(bank_->Select(&filter, {}).Contains(stored.number));
}

TEST_F(LiveChangesTest, SettingsChangeAtOnceAndStay) {
  ASSERT_TRUE(Ingest(*bank_, "d", "text").status.ok());
  BankSettingsChange change;
  change.token_budget = 10;
  change.default_limits = QueryLimits{.max_rounds = 3,
                                      .max_citations = {},
                                      .max_retrieval_tokens = {},
                                      .max_answer_tokens = 20,
                                      .max_expansion_bytes = {}};
  ASSERT_TRUE(Change(change).ok());
  const IngestResult refused = Ingest(*bank_, "e", "another text");
  EXPECT_EQ(kernels::DetailOf(refused.status).reason, "TOKEN_BUDGET_EXCEEDED") << refused.status;
  for (int i = 0; i < 2; ++i) {
    const BankSettings settings = bank_->Info().settings;
    EXPECT_EQ(settings.display_name, "The bank");
    EXPECT_EQ(settings.token_budget, 10);
    EXPECT_EQ(settings.default_limits, *change.default_limits);
    Reopen();
  }
  ASSERT_TRUE(Change({.display_name = "Renamed", .token_budget = 0, .default_limits = {}}).ok());
  EXPECT_TRUE(Ingest(*bank_, "e", "another text").status.ok());
  EXPECT_EQ(bank_->Info().settings.display_name, "Renamed");
  EXPECT_EQ(bank_->Info().settings.default_limits.max_rounds, 3);
}

TEST_F(LiveChangesTest, TheScanOfRouterKeysChangesWhenTheBankIsOpened) {
  ASSERT_TRUE(Ingest(*bank_, "d", "text").status.ok());
  const int64_t exact = bank_->Stats().router_key_bytes;
  const int64_t num_chunks = bank_->Stats().num_chunks;
  ASSERT_TRUE(Change({.router_key_scan = RouterKeyScan::kInt8}).ok());
  EXPECT_EQ(bank_->Info().settings.router_key_scan, RouterKeyScan::kInt8);
  EXPECT_EQ(bank_->Stats().router_key_bytes, exact);
  for (int i = 0; i < 2; ++i) {
    Reopen();
    EXPECT_EQ(bank_->Info().settings.router_key_scan, RouterKeyScan::kInt8);
    EXPECT_EQ(bank_->Stats().router_key_bytes,
              exact + num_chunks * SmallGeometry().quantized_key_bytes_per_chunk());
    EXPECT_EQ(bank_->Stats().content_bytes, 2 * exact);
    ExpectServesExactlyWhatIsActive(*bank_);
  }
  ASSERT_TRUE(Ingest(*bank_, "e", "text").status.ok());
  EXPECT_EQ(bank_->Stats().content_bytes, 4 * exact);
}

TEST_F(LiveChangesTest, WrongSettingsChangeNothing) {
  const absl::Status status =
      Change({.display_name = "x", .token_budget = -1, .default_limits = {}});
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(kernels::DetailOf(status).field, "token_budget");
  EXPECT_EQ(bank_->Info().settings.display_name, "The bank");
  EXPECT_THAT(observer_.problems(), IsEmpty());
}

}  // namespace
}  // namespace msa::engine
