#include "engine/memory/bank.h"

#include <future>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(BankTest, DocumentIsSearchableWhenAcknowledgedActive) {
  MakeBank();
  const IngestResult result = Ingest(*bank_, "one", "some text");
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.state, DocumentState::kActive);
  EXPECT_EQ(result.number, 1u);
  EXPECT_EQ(result.num_tokens, 12);
  EXPECT_EQ(result.num_chunks, 2);
  EXPECT_EQ(result.revision, 1u);
  const auto visible = VisibleArrays(*bank_);
  ASSERT_EQ(visible.size(), 1u);
  EXPECT_EQ(visible.at(1), ExpectedArrays(1, "some text"));
  const auto info = bank_->Get("one", /*with_text=*/true);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->text, "some text");
  EXPECT_EQ(info->state, DocumentState::kActive);
  EXPECT_EQ(info->shard, 0);
  EXPECT_EQ(info->revision, 1u);
}

TEST_F(BankTest, AcceptedDocumentIsNotSearchableYet) {
  MakeBank();
  encoder_->HoldEncoding(true);
  const IngestResult result =
      Ingest(*bank_, "one", "text", IngestMode::kInsert, AcknowledgeAt::kAccepted);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.state, DocumentState::kAccepted);
  EXPECT_EQ(result.revision, 0u);
  EXPECT_THAT(VisibleArrays(*bank_), IsEmpty());
  EXPECT_EQ(bank_->Get("one", false)->state, DocumentState::kAccepted);
  EXPECT_EQ(bank_->Stats().num_accepted, 1);
  encoder_->HoldEncoding(false);
  EXPECT_TRUE(Eventually([&] { return bank_->Stats().num_documents == 1; }));
  EXPECT_EQ(bank_->Stats().num_accepted, 0);
}

TEST_F(BankTest, NothingIsVisibleOrAcknowledgedBeforeTheStepBoundary) {
  MakeBank();
  encoder_->HoldBoundaries(true);
  std::promise<IngestResult> done;
  bank_->Ingest({.id = "one", .text = "text", .metadata = {}, .number = {}}, IngestMode::kInsert,
                AcknowledgeAt::kActive, [&](IngestResult r) { done.set_value(std::move(r)); });
  auto result = done.get_future();
  ASSERT_TRUE(Eventually([&] { return bank_->Stats().num_documents == 1; }));
  EXPECT_EQ(bank_->Pin()->revision(), 0u);
  EXPECT_EQ(result.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  encoder_->HoldBoundaries(false);
  EXPECT_EQ(result.get().revision, 1u);
  EXPECT_EQ(bank_->Pin()->revision(), 1u);
}

TEST_F(BankTest, FailedDocumentSaysWhyAndFreesItsBudget) {
  MakeBank();
  const IngestResult result = Ingest(*bank_, "bad", "no!");
  EXPECT_EQ(result.status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(result.state, DocumentState::kFailed);
  const auto info = bank_->Get("bad", false);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->state, DocumentState::kFailed);
  EXPECT_THAT(std::string(info->failure.message()), HasSubstr("cannot be encoded"));
  EXPECT_EQ(bank_->Stats().num_failed, 1);
  EXPECT_EQ(bank_->Stats().reserved_tokens, 0);
  // The next attempt takes its place.
  EXPECT_TRUE(Ingest(*bank_, "bad", "yes").status.ok());
  EXPECT_EQ(bank_->Stats().num_failed, 0);
  EXPECT_EQ(bank_->Stats().text_bytes, 3);
}

TEST_F(BankTest, SameContentAgainChangesNothing) {
  MakeBank();
  const IngestResult first = Ingest(*bank_, "one", "text");
  const IngestResult again = Ingest(*bank_, "one", "text");
  ASSERT_TRUE(again.status.ok());
  EXPECT_TRUE(again.deduplicated);
  EXPECT_EQ(again.number, first.number);
  EXPECT_EQ(again.state, DocumentState::kActive);
  EXPECT_EQ(again.revision, first.revision);
  EXPECT_EQ(bank_->Stats().num_documents, 1);
  EXPECT_EQ(encoder_->num_encoded(), 1);
  EXPECT_EQ(observer_.count("deduplicated"), 1);
}

TEST_F(BankTest, SameContentThatIsStillEncodedIsAcknowledgedWhenItIsActive) {
  MakeBank();
  encoder_->HoldEncoding(true);
  ASSERT_TRUE(
      Ingest(*bank_, "one", "text", IngestMode::kInsert, AcknowledgeAt::kAccepted).status.ok());
  const auto accepted =
      Ingest(*bank_, "one", "text", IngestMode::kInsert, AcknowledgeAt::kAccepted);
  EXPECT_TRUE(accepted.deduplicated);
  EXPECT_EQ(accepted.state, DocumentState::kAccepted);
  std::promise<IngestResult> done;
  bank_->Ingest({.id = "one", .text = "text", .metadata = {}, .number = {}}, IngestMode::kInsert,
                AcknowledgeAt::kActive, [&](IngestResult r) { done.set_value(std::move(r)); });
  auto result = done.get_future();
  EXPECT_EQ(result.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  encoder_->HoldEncoding(false);
  const IngestResult active = result.get();
  EXPECT_TRUE(active.deduplicated);
  EXPECT_EQ(active.state, DocumentState::kActive);
  EXPECT_EQ(encoder_->num_encoded(), 1);
}

TEST_F(BankTest, InsertWithOtherContentAlreadyExists) {
  MakeBank();
  encoder_->HoldEncoding(true);
  ASSERT_TRUE(
      Ingest(*bank_, "one", "text", IngestMode::kInsert, AcknowledgeAt::kAccepted).status.ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Ingest(*bank_, "one", "other").status));
  DocumentInput tagged{.id = "one", .text = "text", .metadata = {{"k", true}}, .number = {}};
  EXPECT_TRUE(absl::IsAlreadyExists(Ingest(*bank_, tagged).status));
  encoder_->HoldEncoding(false);
  ASSERT_TRUE(Eventually([&] { return bank_->Stats().num_documents == 1; }));
  EXPECT_TRUE(absl::IsAlreadyExists(Ingest(*bank_, "one", "other").status));
  EXPECT_EQ(bank_->Get("one", true)->text, "text");
}

TEST_F(BankTest, UpsertSwapsVersionsAtOneRevision) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "old").status.ok());
  encoder_->HoldEncoding(true);
  const auto before = bank_->Pin();
  ASSERT_TRUE(
      Ingest(*bank_, "one", "new", IngestMode::kUpsert, AcknowledgeAt::kAccepted).status.ok());
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1));
  EXPECT_EQ(bank_->Get("one", true)->text, "new");
  encoder_->HoldEncoding(false);
  ASSERT_TRUE(Eventually([&] { return bank_->Pin()->revision() == 2; }));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(2));
  EXPECT_THAT(VisibleNumbers(*bank_, *before), ElementsAre(1));
  const BankStats stats = bank_->Stats();
  EXPECT_EQ(stats.num_documents, 1);
  EXPECT_EQ(stats.num_tombstones, 1);
}

TEST_F(BankTest, UpsertOfMetadataKeepsNumberAndEncoding) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "text").status.ok());
  DocumentInput tagged{.id = "one",
                       .text = "text",
                       .metadata = {{"s", std::string("x")}, {"n", 1.5}, {"b", true}},
                       .number = {}};
  const IngestResult result = Ingest(*bank_, tagged, IngestMode::kUpsert);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.number, 1u);
  EXPECT_FALSE(result.deduplicated);
  EXPECT_EQ(encoder_->num_encoded(), 1);
  EXPECT_EQ(bank_->Get("one", false)->metadata, tagged.metadata);
  Reopen();
  EXPECT_EQ(bank_->Get("one", false)->metadata, tagged.metadata);
  EXPECT_TRUE(Ingest(*bank_, tagged).deduplicated);
}

TEST_F(BankTest, OlderVersionThatIsEncodedLateDoesNotComeBack) {
  MakeBank();
  encoder_->HoldEncoding(true);
  encoder_->TakeNewestFirst();
  std::promise<IngestResult> second;
  ASSERT_TRUE(
      Ingest(*bank_, "one", "first", IngestMode::kInsert, AcknowledgeAt::kAccepted).status.ok());
  bank_->Ingest({.id = "one", .text = "second", .metadata = {}, .number = {}}, IngestMode::kUpsert,
                AcknowledgeAt::kActive, [&](IngestResult r) { second.set_value(std::move(r)); });
  ASSERT_TRUE(Eventually([&] { return bank_->Stats().num_accepted == 2; }));
  encoder_->HoldEncoding(false);
  EXPECT_TRUE(second.get_future().get().status.ok());
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(2));
  EXPECT_EQ(bank_->Get("one", true)->text, "second");
  Reopen();
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(2));
}

TEST_F(BankTest, DeleteHidesFromNewQueriesAndKeepsForOlderOnes) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "first").status.ok());
  ASSERT_TRUE(Ingest(*bank_, "two", "second").status.ok());
  auto before = bank_->Pin();
  const Bank::DeleteResult result = Delete(*bank_, {"one", "none", "one"});
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.num_deleted, 1);
  EXPECT_THAT(result.unknown_ids, ElementsAre("none"));
  EXPECT_EQ(result.revision, 3u);
  EXPECT_TRUE(absl::IsNotFound(bank_->Get("one", false).status()));
  const auto after = bank_->Pin();
  EXPECT_THAT(VisibleNumbers(*bank_, *after), ElementsAre(2));
  EXPECT_THAT(VisibleNumbers(*bank_, *before), ElementsAre(1, 2));
  const auto old_read = bank_->Read({2, 1, 7}, *before, /*with_text=*/true);
  ASSERT_TRUE(old_read.ok()) << old_read.status();
  ASSERT_EQ(old_read->size(), 2u);
  EXPECT_EQ((*old_read)[0].text, "second");
  EXPECT_EQ((*old_read)[1].text, "first");
  EXPECT_EQ(bank_->Read({1, 2}, *after, false)->size(), 1u);
}

TEST_F(BankTest, DeletedRowsAreGoneWhenNoOlderQueryLives) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "first").status.ok());
  auto before = bank_->Pin();
  ASSERT_TRUE(Delete(*bank_, {"one"}).status.ok());
  ASSERT_EQ(bank_->Read({1}, *before, true)->size(), 1u);
  const std::string catalog = BankDirectory() + "/catalog.sqlite";
  before.reset();
  // Nothing tells a caller, but the row is gone: the pin of the same revision would still find it.
  class OldPin : public BankPin {
   public:
    uint64_t revision() const override { return 1; }
  };
  EXPECT_TRUE(Eventually([&] { return bank_->Read({1}, OldPin(), false)->empty(); }));
  EXPECT_EQ(bank_->Stats().num_tombstones, 1);
}

TEST_F(BankTest, DeleteOfAcceptedDocumentIsFinal) {
  MakeBank();
  encoder_->HoldEncoding(true);
  std::promise<IngestResult> ingest;
  bank_->Ingest({.id = "one", .text = "text", .metadata = {}, .number = {}}, IngestMode::kInsert,
                AcknowledgeAt::kActive, [&](IngestResult r) { ingest.set_value(std::move(r)); });
  ASSERT_TRUE(Eventually([&] { return bank_->Stats().num_accepted == 1; }));
  const auto deleted = Delete(*bank_, {"one"});
  EXPECT_TRUE(deleted.status.ok());
  EXPECT_EQ(deleted.num_deleted, 1);
  const IngestResult result = ingest.get_future().get();
  EXPECT_EQ(result.status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(result.state, DocumentState::kDeleted);
  EXPECT_EQ(bank_->Stats().reserved_tokens, 0);
  encoder_->HoldEncoding(false);
  ASSERT_TRUE(Ingest(*bank_, "two", "other").status.ok());
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(2));
  EXPECT_THAT(FilesIn(SegmentDirectory()).size(), 1u);
}

TEST_F(BankTest, DeleteTakesAllVersionsOfAnId) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "old").status.ok());
  encoder_->HoldEncoding(true);
  ASSERT_TRUE(
      Ingest(*bank_, "one", "new", IngestMode::kUpsert, AcknowledgeAt::kAccepted).status.ok());
  EXPECT_EQ(Delete(*bank_, {"one"}).num_deleted, 1);
  encoder_->HoldEncoding(false);
  EXPECT_TRUE(absl::IsNotFound(bank_->Get("one", false).status()));
  ASSERT_TRUE(Ingest(*bank_, "two", "x").status.ok());
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(3));
  Reopen();
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(3));
}

TEST_F(BankTest, NumbersAreNeverUsedTwice) {
  MakeBank();
  EXPECT_EQ(Ingest(*bank_, "a", "1").number, 1u);
  EXPECT_EQ(Ingest(*bank_, "b", "2").number, 2u);
  ASSERT_TRUE(Delete(*bank_, {"b"}).status.ok());
  Reopen();
  EXPECT_EQ(Ingest(*bank_, "b", "2").number, 3u);
  DocumentInput numbered{.id = "c", .text = "x", .metadata = {}, .number = 3};
  const IngestResult used = Ingest(*bank_, numbered);
  EXPECT_TRUE(absl::IsInvalidArgument(used.status));
  EXPECT_EQ(kernels::DetailOf(used.status).field, "documents.number");
  numbered.number = 100;
  EXPECT_EQ(Ingest(*bank_, numbered).number, 100u);
  EXPECT_EQ(Ingest(*bank_, "d", "x").number, 101u);
  numbered = {
      .id = "e", .text = "x", .metadata = {}, .number = std::numeric_limits<uint32_t>::max()};
  EXPECT_EQ(Ingest(*bank_, numbered).number, std::numeric_limits<uint32_t>::max());
  const IngestResult full = Ingest(*bank_, "f", "x");
  EXPECT_TRUE(absl::IsResourceExhausted(full.status));
  EXPECT_EQ(kernels::DetailOf(full.status).reason, "DOCUMENT_NUMBERS_EXHAUSTED");
}

TEST_F(BankTest, NumberZeroAndEmptyTextsAreServedWhenAskedFor) {
  MakeBank();
  const DocumentInput zero{.id = "zero", .text = "", .metadata = {}, .number = 0};
  const IngestResult result = Ingest(*bank_, zero);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.number, 0u);
  EXPECT_TRUE(Ingest(*bank_, zero).deduplicated);
  EXPECT_TRUE(absl::IsAlreadyExists(Ingest(*bank_, "zero", "other").status));
  EXPECT_EQ(Ingest(*bank_, "next", "").number, 1u);
  Reopen();
  EXPECT_EQ(VisibleArrays(*bank_).at(0), ExpectedArrays(0, ""));
  EXPECT_EQ(Delete(*bank_, {"zero"}).num_deleted, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(Ingest(*bank_, zero).status)) << "0 has been used";
}

TEST_F(BankTest, ListPagesThroughNewestVersionsInOrderOfIds) {
  MakeBank();
  for (const char* id : {"d", "a", "c", "b", "e"}) {
    ASSERT_TRUE(Ingest(*bank_, id, absl::StrCat("text of ", id)).status.ok());
  }
  ASSERT_TRUE(Ingest(*bank_, "b", "newer", IngestMode::kUpsert).status.ok());
  ASSERT_TRUE(Delete(*bank_, {"c"}).status.ok());
  std::vector<std::string> ids;
  std::string after;
  do {
    const auto page = bank_->List(after, 2, /*with_text=*/true, /*filter=*/nullptr);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LE(page->documents.size(), 2u);
    for (const DocumentInfo& info : page->documents) {
      ids.push_back(info.id);
      EXPECT_EQ(info.text, info.id == "b" ? "newer" : absl::StrCat("text of ", info.id));
    }
    after = page->next_after_id;
  } while (!after.empty());
  EXPECT_THAT(ids, ElementsAre("a", "b", "d", "e"));
}

TEST_F(BankTest, CallbacksMayUseTheBank) {
  MakeBank();
  std::promise<std::string> done;
  bank_->Ingest({.id = "one", .text = "x", .metadata = {}, .number = {}}, IngestMode::kInsert,
                AcknowledgeAt::kActive, [&](IngestResult) {
                  bank_->Ingest({.id = "two", .text = "y", .metadata = {}, .number = {}},
                                IngestMode::kInsert, AcknowledgeAt::kActive, [&](IngestResult r) {
                                  bank_->Delete({"one"}, [&, id = r.id](Bank::DeleteResult) {
                                    const auto pin = bank_->Pin();
                                    const auto read = bank_->Read({2}, *pin, true);
                                    const auto stats = bank_->Stats();
                                    const auto bank = store_->Get("a");
                                    done.set_value(id + read->front().text +
                                                   absl::StrCat(stats.num_documents, bank.ok()));
                                  });
                                });
                });
  EXPECT_EQ(done.get_future().get(), "twoy11");
}

TEST_F(BankTest, ManyCallersIngestAndDeleteAtTheSameTime) {
  MakeBank();
  constexpr int kThreads = 8;
  constexpr int kEach = 60;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const std::string id = absl::StrCat("t", t, "-", i);
        const auto level = i % 2 == 0 ? AcknowledgeAt::kActive : AcknowledgeAt::kAccepted;
        EXPECT_TRUE(Ingest(*bank_, id, "text of " + id, IngestMode::kInsert, level).status.ok());
        if (i % 5 == 0) {
          EXPECT_EQ(Delete(*bank_, {id}).num_deleted, 1);
        }
        const auto pin = bank_->Pin();
        EXPECT_TRUE(bank_->List("", 3, true, nullptr).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(bank_->Stats().num_documents, kThreads * kEach * 4 / 5);
  ExpectServesExactlyWhatIsActive(*bank_);
  const BankStats before = bank_->Stats();
  Reopen();
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_EQ(bank_->Stats().num_tokens, before.num_tokens);
  EXPECT_EQ(bank_->Stats().text_bytes, before.text_bytes);
}

TEST_F(BankTest, ShardsAreBalancedAndTheSameAfterEveryRestart) {
  options_.num_shards = 3;
  MakeBank();
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(Ingest(*bank_, absl::StrCat("d", i), std::string(1 + (i * 37) % 150, 'x'),
                       IngestMode::kInsert, AcknowledgeAt::kAccepted)
                    .status.ok());
  }
  ASSERT_TRUE(Settles(*bank_));
  Reopen();
  const auto shards_of = [&] {
    std::map<uint32_t, int> shards;
    const auto documents = bank_->List("", 1000, false, nullptr);
    for (const DocumentInfo& info : documents->documents) shards[info.number] = info.shard;
    return shards;
  };
  const auto first = shards_of();
  const BankStats stats = bank_->Stats();
  Reopen();
  EXPECT_EQ(shards_of(), first);
  // Documents in ascending number, each to the rank with the fewest chunks.
  std::vector<int64_t> chunks(3);
  for (const auto& [number, shard] : first) {
    const auto least = std::min_element(chunks.begin(), chunks.end());
    EXPECT_EQ(shard, least - chunks.begin()) << number;
    const auto info = bank_->Read({number}, *bank_->Pin(), false);
    *least += info->front().num_chunks;
  }
  EXPECT_EQ(stats.shard_chunks, chunks);
  const auto [fewest, most] = std::minmax_element(chunks.begin(), chunks.end());
  EXPECT_LE(*most - *fewest, 20);
}

}  // namespace
}  // namespace msa::engine
