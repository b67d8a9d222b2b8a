#include "engine/memory/bank_store.h"

#include <future>

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class BankStoreTest : public BankTest {
 protected:
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const BankInfo& info : store_->List()) names.push_back(info.name);
    return names;
  }
};

TEST_F(BankStoreTest, BanksAreMadeListedAndFoundAgain) {
  OpenStore();
  for (const char* name : {"b", "a", "c-1"}) {
    ASSERT_TRUE(store_->Create(name, {.display_name = "Bank", .token_budget = 5}).ok());
  }
  EXPECT_THAT(Names(), ElementsAre("a", "b", "c-1"));
  EXPECT_TRUE(absl::IsAlreadyExists(store_->Create("a", {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Create("A", {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      store_->Create("d", {.display_name = "", .token_budget = -1}).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Get("d").status()));
  CloseStore();
  OpenStore();
  EXPECT_THAT(Names(), ElementsAre("a", "b", "c-1"));
  const BankInfo info = store_->Get("b").value()->Info();
  EXPECT_EQ(info.settings.display_name, "Bank");
  EXPECT_EQ(info.settings.token_budget, 5);
  EXPECT_EQ(info.model_fingerprint, "test-model");
}

TEST_F(BankStoreTest, BanksDoNotSeeEachOther) {
  MakeBank();
  const auto other = store_->Create("b", {}).value();
  ASSERT_TRUE(Ingest(*bank_, "one", "in a").status.ok());
  ASSERT_TRUE(Ingest(*other, "one", "in b").status.ok());
  EXPECT_EQ(bank_->Get("one", true)->text, "in a");
  EXPECT_EQ(other->Get("one", true)->text, "in b");
  EXPECT_EQ(Delete(*other, {"one"}).num_deleted, 1);
  EXPECT_TRUE(bank_->Get("one", true).ok());
  EXPECT_EQ(other->Stats().num_documents, 0);
}

TEST_F(BankStoreTest, BankWithDocumentsIsDeletedByForceOnly) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "x").status.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Delete("a", false)));
  ASSERT_TRUE(store_->Delete("a", true).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->Get("a").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Delete("a", true)));
  EXPECT_EQ(Ingest(*bank_, "two", "y").status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Delete(*bank_, {"one"}).status.code(), absl::StatusCode::kUnavailable);
  const auto again = store_->Create("a", {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(absl::IsNotFound((*again)->Get("one", false).status()));
  EXPECT_TRUE(store_->Delete("a", false).ok());
}

TEST_F(BankStoreTest, QueriesOfADeletedBankKeepWhatTheyPinned) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "text").status.ok());
  auto pin = bank_->Pin();
  ASSERT_TRUE(store_->Delete("a", true).ok());
  EXPECT_EQ(bank_->Read({1}, *pin, true)->front().text, "text");
  EXPECT_EQ(VisibleArrays(*bank_, *pin).at(1), ExpectedArrays(1, "text"));
  EXPECT_EQ(FilesIn(options_.data_dir + "/banks").size(), 1u);
  pin.reset();
  bank_.reset();
  EXPECT_EQ(FilesIn(options_.data_dir + "/banks").size(), 0u);
}

TEST_F(BankStoreTest, OneServerPerDataDirectory) {
  OpenStore();
  const auto second =
      BankStore::Open(options_, encoder_.get(), PosixFileSystem(), SystemClock(), nullptr);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("in use by another server"));
  CloseStore();
  OpenStore();
}

TEST_F(BankStoreTest, DataDirectoryThatIsAFileIsNamed) {
  options_.data_dir = directory_.path() + "/file";
  WriteFile(options_.data_dir, "x");
  const auto store =
      BankStore::Open(options_, encoder_.get(), PosixFileSystem(), SystemClock(), nullptr);
  EXPECT_TRUE(absl::IsFailedPrecondition(store.status())) << store.status();
  EXPECT_THAT(std::string(store.status().message()), HasSubstr(options_.data_dir));
}

TEST_F(BankStoreTest, BankOfAnotherModelIsKeptAndRefused) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "text").status.ok());
  CloseStore();
  const MemoryGeometry own = options_.geometry;
  for (const bool other_dtype : {false, true}) {
    options_.geometry = own;
    if (other_dtype) {
      options_.geometry.dtype = kernels::DType::kF32;
    } else {
      options_.geometry.model_fingerprint = "other-model";
    }
    OpenStore();
    const auto status = store_->Get("a").status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(kernels::DetailOf(status).reason, "MODEL_MISMATCH");
    EXPECT_THAT(std::string(status.message()), HasSubstr("test-model"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(other_dtype ? "f32" : "other-model"));
    EXPECT_THAT(Names(), ElementsAre("a"));
    EXPECT_EQ(store_->List()[0].model_fingerprint, "test-model");
    EXPECT_TRUE(absl::IsAlreadyExists(store_->Create("a", {}).status()));
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->Delete("a", false)));
    CloseStore();
  }
  options_.geometry = own;
  OpenStore();
  EXPECT_TRUE(store_->Get("a").value()->Get("one", true).ok());
}

TEST_F(BankStoreTest, SegmentsOfAnotherInstructionSetAreServed) {
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "text").status.ok());
  CloseStore();
  options_.geometry.instruction_set = "avx512";
  OpenStore();
  bank_ = store_->Get("a").value();
  ASSERT_TRUE(Ingest(*bank_, "two", "text").status.ok());
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(BankStoreTest, LeftoversOfCreationAndDeletionGo) {
  OpenStore();
  CloseStore();
  const std::string banks = options_.data_dir + "/banks";
  ASSERT_TRUE(PosixFileSystem()->CreateDirectories(banks + "/.creating-x/segments").ok());
  ASSERT_TRUE(PosixFileSystem()->CreateDirectories(banks + "/.removed-0-y").ok());
  ASSERT_TRUE(PosixFileSystem()->CreateDirectories(banks + "/Not a bank").ok());
  OpenStore();
  EXPECT_THAT(FilesIn(banks), ElementsAre("Not a bank"));
  EXPECT_THAT(Names(), ElementsAre());
}

TEST_F(BankStoreTest, DamagedCatalogConcernsItsBankAlone) {
  MakeBank();
  ASSERT_TRUE(store_->Create("b", {}).ok());
  CloseStore();
  WriteFile(BankDirectory() + "/catalog.sqlite", std::string(5000, 'x'));
  OpenStore();
  EXPECT_TRUE(absl::IsDataLoss(store_->Get("a").status())) << store_->Get("a").status();
  EXPECT_TRUE(store_->Get("b").ok());
  EXPECT_TRUE(store_->Delete("a", true).ok());
  EXPECT_TRUE(store_->Create("a", {}).ok());
}

TEST_F(BankStoreTest, ClosingTheStoreAnswersEveryone) {
  MakeBank();
  encoder_->HoldEncoding(true);
  std::vector<std::future<absl::Status>> replies;
  for (int i = 0; i < 20; ++i) {
    auto done = std::make_shared<std::promise<absl::Status>>();
    replies.push_back(done->get_future());
    bank_->Ingest({.id = absl::StrCat(i), .text = "x", .metadata = {}, .number = {}},
                  IngestMode::kInsert, AcknowledgeAt::kActive,
                  [done](IngestResult result) { done->set_value(result.status); });
  }
  ASSERT_TRUE(Eventually([&] { return bank_->Stats().num_accepted > 0; }));
  store_.reset();
  for (auto& reply : replies) EXPECT_TRUE(absl::IsUnavailable(reply.get()));
  EXPECT_TRUE(absl::IsUnavailable(bank_->Get("0", false).status()));
  encoder_->HoldEncoding(false);
  // What was accepted is encoded after the restart.
  const int64_t num_accepted = bank_->Stats().num_accepted;
  Reopen();
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(bank_->Stats().num_documents, num_accepted);
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(BankStoreTest, EngineThatStopsFirstLeavesDocumentsAccepted) {
  MakeBank();
  encoder_->HoldEncoding(true);
  ASSERT_TRUE(
      Ingest(*bank_, "one", "x", IngestMode::kInsert, AcknowledgeAt::kAccepted).status.ok());
  std::promise<absl::Status> done;
  bank_->Ingest({.id = "two", .text = "y", .metadata = {}, .number = {}}, IngestMode::kInsert,
                AcknowledgeAt::kActive,
                [&](IngestResult result) { done.set_value(result.status); });
  ASSERT_TRUE(Eventually([&] { return bank_->Stats().num_accepted == 2; }));
  encoder_->Stop();
  EXPECT_TRUE(absl::IsCancelled(done.get_future().get()));
  EXPECT_EQ(bank_->Get("one", false)->state, DocumentState::kAccepted);
  CloseStore();
  encoder_ = std::make_unique<ScriptedEncoder>(options_.geometry);
  Reopen();
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(bank_->Stats().num_documents, 2);
}

TEST_F(BankStoreTest, DrainWaitsForWhatIsAccepted) {
  MakeBank();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(Ingest(*bank_, absl::StrCat(i), "x", IngestMode::kInsert, AcknowledgeAt::kAccepted)
                    .status.ok());
  }
  store_->Drain(absl::Seconds(20));
  EXPECT_EQ(bank_->Stats().num_documents, 50);
  EXPECT_TRUE(absl::IsUnavailable(Ingest(*bank_, "more", "x").status));
}

TEST_F(BankStoreTest, DrainEndsWithItsGrace) {
  MakeBank();
  encoder_->HoldEncoding(true);
  ASSERT_TRUE(
      Ingest(*bank_, "one", "x", IngestMode::kInsert, AcknowledgeAt::kAccepted).status.ok());
  store_->Drain(absl::Milliseconds(30));
  EXPECT_EQ(bank_->Stats().num_accepted, 1);
}

TEST_F(BankStoreTest, FingerprintThatDoesNotFitTheFormatIsRefused) {
  options_.geometry.model_fingerprint = std::string(129, 'f');
  const auto store =
      BankStore::Open(options_, encoder_.get(), PosixFileSystem(), SystemClock(), nullptr);
  EXPECT_TRUE(absl::IsInvalidArgument(store.status()));
}

}  // namespace
}  // namespace msa::engine
