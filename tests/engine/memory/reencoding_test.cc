#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/files/faulty_file_system.h"
#include "tests/engine/memory/job_fixture.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class ReencodingTest : public BankTest {
 protected:
  ReencodingTest() {
    MakeBank({.display_name = "The bank",
              .token_budget = 100'000,
              .router_key_scan = RouterKeyScan::kInt8});
  }

  void Fill() {
    for (int i = 0; i < 20; ++i) {
      DocumentInput document{.id = absl::StrCat("d", i),
                             .text = absl::StrCat("text ", i, std::string(size_t(i * 7), '.')),
                             .metadata = {{"k", static_cast<double>(i)}},
                             .number = {}};
      ASSERT_TRUE(Ingest(*bank_, std::move(document)).status.ok());
    }
    ASSERT_TRUE(Ingest(*bank_, "d3", "a new text", IngestMode::kUpsert).status.ok());
    ASSERT_EQ(Delete(*bank_, {"d4", "d19"}).num_deleted, 2);
  }

  // Another model: another shape of what it stores.
  void ChangeModel(int64_t max_document_tokens = 200) {
    CloseStore();
    options_.geometry.model_fingerprint = "another-model";
    options_.geometry.num_msa_layers = 2;
    options_.geometry.kv_width = 6;
    encoder_ = std::make_unique<ScriptedEncoder>(options_.geometry, max_document_tokens);
    OpenStore();
  }

  std::map<std::string, DocumentInfo> Documents() {
    std::map<std::string, DocumentInfo> documents;
    const auto page = bank_->List("", 1'000'000, /*with_text=*/true, nullptr).value();
    for (const DocumentInfo& info : page.documents) documents[info.id] = info;
    return documents;
  }

  void ExpectSame(const std::map<std::string, DocumentInfo>& expected) {
    const auto actual = Documents();
    ASSERT_EQ(actual.size(), expected.size());
    for (const auto& [id, info] : expected) {
      ASSERT_TRUE(actual.contains(id)) << id;
      EXPECT_EQ(actual.at(id).number, info.number);
      EXPECT_EQ(actual.at(id).text, info.text);
      EXPECT_EQ(actual.at(id).metadata, info.metadata);
      EXPECT_EQ(actual.at(id).create_time, info.create_time);
    }
  }

  PatientMonitor monitor_;
};

TEST_F(ReencodingTest, ABankOfAnotherModelIsUsableAgain) {
  Fill();
  const auto documents = Documents();
  const uint64_t revision = bank_->Info().revision;
  ChangeModel();
  const absl::Status stranded = store_->Get("a").status();
  EXPECT_EQ(kernels::DetailOf(stranded).reason, "MODEL_MISMATCH") << stranded;
  EXPECT_THAT(std::string(stranded.message()), HasSubstr("Reencode"));
  const auto info = store_->Reencode("a", &monitor_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->model_fingerprint, "another-model");
  EXPECT_EQ(info->settings.display_name, "The bank");
  EXPECT_EQ(info->settings.router_key_scan, RouterKeyScan::kInt8);
  EXPECT_GT(info->revision, revision);
  EXPECT_EQ(monitor_.last().done, 18);
  bank_ = *store_->Get("a");
  ExpectSame(documents);
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_EQ(Ingest(*bank_, "new", "text").number, 22u);
  Reopen();
  EXPECT_EQ(bank_->Stats().num_documents, 19);
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_THAT(FilesIn(options_.data_dir + "/banks"), SizeIs(1));
}

TEST_F(ReencodingTest, ItServesAndTakesNoChangesMeanwhile) {
  Fill();
  const auto documents = Documents();
  const auto arrays = VisibleArrays(*bank_);
  encoder_->HoldEncoding(true);
  absl::StatusOr<BankInfo> info = absl::UnknownError("");
  std::thread job([&] { info = store_->Reencode("a", &monitor_); });
  ASSERT_TRUE(Eventually([&] { return !Delete(*bank_, {"none"}).status.ok(); }));
  const IngestResult refused = Ingest(*bank_, "x", "text");
  EXPECT_EQ(kernels::DetailOf(refused.status).reason, "BANK_REENCODING") << refused.status;
  EXPECT_EQ(VisibleArrays(*bank_), arrays);
  const absl::Status deleted = store_->Delete("a", /*force=*/true);
  EXPECT_EQ(kernels::DetailOf(deleted).reason, "BANK_BUSY") << deleted;
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Reencode("a", &monitor_).status()));
  const auto old_bank = bank_;
  const auto pin = old_bank->Pin();
  encoder_->HoldEncoding(false);
  job.join();
  ASSERT_TRUE(info.ok()) << info.status();
  bank_ = *store_->Get("a");
  ExpectSame(documents);
  EXPECT_EQ(VisibleArrays(*bank_), arrays);  // the same model
  // Whoever holds the old bank learns that it is gone.
  EXPECT_TRUE(absl::IsUnavailable(Ingest(*old_bank, "x", "text").status));
  EXPECT_TRUE(Ingest(*bank_, "x", "text").status.ok());
}

// Also what was in the queue when the job began.
TEST_F(ReencodingTest, WhatWasAcknowledgedIsInTheNewBank) {
  Fill();
  constexpr int kNumDocuments = 400;
  std::atomic<int> num_answered = 0;
  std::vector<std::atomic<bool>> is_stored(kNumDocuments);
  for (int i = 0; i < kNumDocuments; ++i) {
    bank_->Ingest({.id = absl::StrCat("q", i), .text = "text", .metadata = {}, .number = {}},
                  IngestMode::kInsert, AcknowledgeAt::kAccepted,
                  [&is_stored, &num_answered, i](const IngestResult& result) {
                    is_stored[size_t(i)] = result.status.ok();
                    num_answered += 1;
                  });
  }
  const auto info = store_->Reencode("a", &monitor_);
  ASSERT_TRUE(info.ok()) << info.status();
  ASSERT_TRUE(Eventually([&] { return num_answered == kNumDocuments; }));
  bank_ = *store_->Get("a");
  int num_stored = 0;
  for (int i = 0; i < kNumDocuments; ++i) {
    num_stored += is_stored[size_t(i)] ? 1 : 0;
    EXPECT_EQ(bank_->Get(absl::StrCat("q", i), false).ok(), is_stored[size_t(i)]) << i;
  }
  EXPECT_GT(num_stored, 0);
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(ReencodingTest, WhatTheModelCannotEncodeIsFailedAndKeptWithItsText) {
  Fill();
  ChangeModel(/*max_document_tokens=*/60);
  ASSERT_TRUE(store_->Reencode("a", &monitor_).ok());
  bank_ = *store_->Get("a");
  EXPECT_GT(bank_->Stats().num_failed, 5);
  EXPECT_EQ(bank_->Stats().num_failed + bank_->Stats().num_documents, 18);
  const DocumentInfo failed = *bank_->Get("d18", /*with_text=*/true);
  EXPECT_EQ(failed.state, DocumentState::kFailed);
  EXPECT_EQ(kernels::DetailOf(failed.failure).reason, "") << "details are not stored";
  EXPECT_THAT(failed.text, HasSubstr("text 18"));
  ExpectServesExactlyWhatIsActive(*bank_);
  ChangeModel(/*max_document_tokens=*/200);
  ASSERT_TRUE(store_->Reencode("a", &monitor_).ok());
  bank_ = *store_->Get("a");
  EXPECT_EQ(bank_->Stats().num_documents, 18);
}

TEST_F(ReencodingTest, ADamagedTextIsFailedHoweverOften) {
  ASSERT_TRUE(Ingest(*bank_, "d0", "text 0").status.ok());
  ASSERT_TRUE(Ingest(*bank_, "d1", "text 1").status.ok());
  bank_.reset();
  CloseStore();
  ExecuteSql("UPDATE texts SET text = 'other' WHERE number = 1");
  OpenStore();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(store_->Reencode("a", &monitor_).ok());
    const auto info = store_->Get("a").value()->Get("d0", false);
    EXPECT_EQ(info->state, DocumentState::kFailed);
    EXPECT_TRUE(absl::IsDataLoss(info->failure)) << info->failure;
  }
  EXPECT_THAT(observer_.problems(), ::testing::Contains(::testing::HasSubstr("(\"d0\")")));
  const auto bank = store_->Get("a").value();
  EXPECT_TRUE(Ingest(*bank, "d0", "text 0").status.ok());
  EXPECT_EQ(bank->Get("d0", true)->text, "text 0");
}

TEST_F(ReencodingTest, ACancelledJobLeavesTheBankAsItWas) {
  Fill();
  const auto documents = Documents();
  CancellingMonitor cancelling;
  EXPECT_TRUE(absl::IsCancelled(store_->Reencode("a", &cancelling).status()));
  EXPECT_THAT(FilesIn(options_.data_dir + "/banks"), SizeIs(1));
  ExpectSame(documents);
  EXPECT_TRUE(Ingest(*bank_, "x", "text").status.ok());
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(ReencodingTest, WhatDoesNotFitBesideTheOldBankIsRefused) {
  Fill();
  const BankStats stats = bank_->Stats();
  options_.router_key_budget_bytes = stats.router_key_bytes * 3 / 2 + stats.index_bytes;
  Reopen();
  const absl::Status status = store_->Reencode("a", &monitor_).status();
  EXPECT_EQ(kernels::DetailOf(status).reason, "ROUTER_KEY_BUDGET_EXCEEDED") << status;
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_THAT(FilesIn(options_.data_dir + "/banks"), SizeIs(1));
}

// Whatever a job that failed has left: a bank that is deleted then does not come back, and one of
// the same name is not replaced by it.
TEST_F(ReencodingTest, WhatAFailedJobLeavesGoesWithTheBank) {
  for (int n = 0;; n += 3) {
    std::atomic<int> index = 0;
    std::atomic<bool> is_on = false;
    FaultyFileSystem files(PosixFileSystem(), [&](const std::string&, const std::string&) {
      return is_on && index++ == n ? absl::UnavailableError("I/O error") : absl::OkStatus();
    });
    CloseStore();
    std::filesystem::remove_all(options_.data_dir);
    OpenStore(&files);
    MakeBank();
    ASSERT_TRUE(Ingest(*bank_, "old", "an old text").status.ok());
    is_on = true;
    const bool is_done = store_->Reencode("a", &monitor_).ok();
    const bool was_last = is_done && index <= n;
    SCOPED_TRACE(n);
    SCOPED_TRACE(is_done);
    is_on = false;
    const absl::Status deleted = store_->Delete("a", /*force=*/true);
    ASSERT_TRUE(deleted.ok()) << deleted << " after operation " << n;
    MakeBank();
    ASSERT_TRUE(Ingest(*bank_, "new", "a new text").status.ok());
    Reopen();
    const auto documents = Documents();
    EXPECT_EQ(documents.size(), 1u) << n;
    EXPECT_TRUE(documents.contains("new")) << n;
    ExpectServesExactlyWhatIsActive(*bank_);
    CloseStore();
    if (HasFailure()) FAIL() << "operation " << n;
    if (was_last) break;
  }
}

TEST_F(ReencodingTest, AFailureAtAnyOperationLeavesTheOldBankOrTheNewOne) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Ingest(*bank_, absl::StrCat("d", i), absl::StrCat("text ", i)).status.ok());
  }
  const auto documents = Documents();
  bool is_new_model = false;
  for (int n = 0;; ++n) {
    // To and fro between two models.
    CloseStore();
    options_.geometry.model_fingerprint = is_new_model ? "test-model" : "another-model";
    std::atomic<int> index = 0;
    std::atomic<bool> is_on = false;
    FaultyFileSystem files(PosixFileSystem(), [&](const std::string&, const std::string&) {
      return is_on && index++ >= n ? absl::UnavailableError("the process has ended")
                                   : absl::OkStatus();
    });
    OpenStore(&files);
    is_on = true;
    const bool is_done = store_->Reencode("a", &monitor_).ok();
    const bool was_last = index < n;
    CloseStore();
    is_on = false;
    OpenStore();
    EXPECT_TRUE(!is_done || store_->Get("a").ok());
    if (store_->Get("a").ok()) is_new_model = !is_new_model;
    CloseStore();
    options_.geometry.model_fingerprint = is_new_model ? "another-model" : "test-model";
    OpenStore();
    const auto bank = store_->Get("a");
    ASSERT_TRUE(bank.ok()) << bank.status() << n;
    bank_ = *bank;
    ASSERT_TRUE(Settles(*bank_));
    ExpectSame(documents);
    ExpectServesExactlyWhatIsActive(*bank_);
    EXPECT_THAT(FilesIn(options_.data_dir + "/banks"), SizeIs(1));
    if (HasFailure()) FAIL() << "operation " << n;
    if (was_last) {
      EXPECT_GT(n, 30);
      break;
    }
  }
}

}  // namespace
}  // namespace msa::engine
