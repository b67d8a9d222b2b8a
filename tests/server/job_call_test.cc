#include "server/job_call.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace msa::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class JobCallTest : public ServerFixture {
 protected:
  using Stub = v1::AdminService::Stub;

  static ServerOptions WithBackups() {
    ServerOptions options = TestOptions();
    options.memory.backup_dir = "/backups";
    return options;
  }

  // A call of the stub with all that it sends.
  template <class Response>
  struct Outcome {
    CallError error;
    std::vector<Response> events;
    const Response& last() const { return events.back(); }
  };
  template <class Request, class Response>
  Outcome<Response> Call(std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                             grpc::ClientContext*, const Request&),
                         const Request& request) {
    grpc::ClientContext context;
    const auto reader = (admin().*method)(&context, request);
    Outcome<Response> outcome;
    Response event;
    while (reader->Read(&event)) outcome.events.push_back(event);
    outcome.error = ErrorOf(reader->Finish());
    return outcome;
  }

  Outcome<v1::CompactBankResponse> Compact(const std::string& bank) {
    v1::CompactBankRequest request;
    request.set_bank(bank);
    return Call(&Stub::CompactBank, request);
  }
  Outcome<v1::VerifyBankResponse> Verify() { return Call(&Stub::VerifyBank, VerifyRequest()); }
  Outcome<v1::BackupBankResponse> Backup(const std::string& bank, const std::string& backup) {
    v1::BackupBankRequest request;
    request.set_bank(bank);
    request.set_backup(backup);
    return Call(&Stub::BackupBank, request);
  }
  Outcome<v1::RestoreBankResponse> Restore(const std::string& backup, const std::string& bank) {
    v1::RestoreBankRequest request;
    request.set_backup(backup);
    request.set_bank(bank);
    return Call(&Stub::RestoreBank, request);
  }

  static v1::VerifyBankRequest VerifyRequest() {
    v1::VerifyBankRequest request;
    request.set_bank("b");
    return request;
  }
  // Until it is told, or cancelled.
  void VerifyByHand() {
    bank().verify = [this](engine::JobMonitor* monitor,
                           engine::Bank::OnDamage) -> absl::StatusOr<engine::Bank::VerifyResult> {
      ++num_begun_;
      ++num_running_;
      while (!monitor->IsCancelled() && !may_end_) absl::SleepFor(absl::Milliseconds(1));
      --num_running_;
      if (monitor->IsCancelled()) return absl::CancelledError("as asked");
      return engine::Bank::VerifyResult{};
    };
  }
  bool NoStreamIsOpen(const std::string& method) {
    return WaitUntil([&] {
      return server().MetricsText().find(
                 absl::StrCat("msa_grpc_streams{method=\"", method, "\"} 0")) != std::string::npos;
    });
  }

  std::atomic<int> num_begun_{0}, num_running_{0};
  std::atomic<bool> may_end_{false};
};

TEST_F(JobCallTest, CompactionReportsWhatWent) {
  const auto outcome = Compact("b");
  EXPECT_EQ(outcome.error.code, grpc::StatusCode::OK);
  const v1::CompactResult& result = outcome.last().result();
  EXPECT_EQ(result.dropped_documents(), 5);
  EXPECT_EQ(result.freed_bytes(), 4096);
  EXPECT_EQ(result.segments(), 1);
  EXPECT_EQ(result.pinned_documents(), 2);
  EXPECT_EQ(Compact("absent").error.reason, "BANK_NOT_FOUND");
  EXPECT_EQ(Compact("").error.field, "bank");
}

TEST_F(JobCallTest, CompactionTellsHowManyDeletedDocumentsAreLeft) {
  bank().num_tombstones = 100;
  bank().Hold();
  v1::CompactBankRequest request;
  request.set_bank("b");
  grpc::ClientContext context;
  const auto reader = admin().CompactBank(&context, request);
  v1::CompactBankResponse event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.progress().done(), 0);
  EXPECT_EQ(event.progress().total(), 100);
  EXPECT_EQ(event.progress().unit(), "documents");
  bank().num_tombstones = 40;
  while (event.progress().done() == 0) ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.progress().done(), 60);
  bank().num_tombstones = 140;  // others are deleted meanwhile
  while (event.progress().done() != 0) ASSERT_TRUE(reader->Read(&event));
  bank().ReleaseAll();
  while (event.has_progress()) ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.result().dropped_documents(), 5);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(JobCallTest, ClosingTheCallDoesNotStopACompaction) {
  bank().num_tombstones = 7;
  bank().Hold();
  v1::CompactBankRequest request;
  request.set_bank("b");
  grpc::ClientContext context;
  const auto reader = admin().CompactBank(&context, request);
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 1; }));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(NoStreamIsOpen("AdminService/CompactBank"));
  EXPECT_EQ(bank().num_tombstones, 7);
  bank().ReleaseAll();
  EXPECT_TRUE(WaitUntil([this] { return bank().num_tombstones == 0; }));
}

TEST_F(JobCallTest, VerificationNamesWhatIsDamaged) {
  bank().verify =
      [](engine::JobMonitor* monitor,
         engine::Bank::OnDamage on_damage) -> absl::StatusOr<engine::Bank::VerifyResult> {
    monitor->Progress({.phase = "segments", .unit = "bytes", .done = 10, .total = 40});
    on_damage({.file = "segments/3.seg", .document_id = "", .message = "cut off"});
    on_damage({.file = "catalog.db", .document_id = "d\xff", .message = "text"});
    return engine::Bank::VerifyResult{
        .num_documents = 8, .num_segments = 2, .checked_bytes = 40, .num_damages = 2};
  };
  const auto outcome = Verify();
  EXPECT_EQ(outcome.error.code, grpc::StatusCode::OK);  // damage is no error of the call
  ASSERT_EQ(outcome.events.size(), 4U);
  EXPECT_EQ(outcome.events[0].progress().phase(), "segments");
  EXPECT_EQ(outcome.events[0].progress().done(), 10);
  EXPECT_EQ(outcome.events[0].progress().total(), 40);
  EXPECT_EQ(outcome.events[1].damage().file(), "segments/3.seg");
  EXPECT_EQ(outcome.events[2].damage().document_id(), "d\xef\xbf\xbd");
  EXPECT_EQ(outcome.last().result().documents(), 8);
  EXPECT_EQ(outcome.last().result().segments(), 2);
  EXPECT_EQ(outcome.last().result().checked_bytes(), 40);
  EXPECT_EQ(outcome.last().result().damages(), 2);
}

TEST_F(JobCallTest, DamagesAreSentUpToABoundAndCounted) {
  bank().verify =
      [](engine::JobMonitor*,
         engine::Bank::OnDamage on_damage) -> absl::StatusOr<engine::Bank::VerifyResult> {
    for (int i = 0; i < 5000; ++i)
      on_damage({.file = absl::StrCat(i), .document_id = "", .message = ""});
    return engine::Bank::VerifyResult{.num_damages = 5000};
  };
  const auto outcome = Verify();
  ASSERT_EQ(outcome.events.size(), 1001U);
  for (size_t i = 0; i < 1000; ++i) EXPECT_EQ(outcome.events[i].damage().file(), absl::StrCat(i));
  EXPECT_EQ(outcome.last().result().damages(), 5000);
}

TEST_F(JobCallTest, ProgressComesAFewTimesASecondHoweverOftenItIsTold) {
  bank().verify = [](engine::JobMonitor* monitor,
                     engine::Bank::OnDamage) -> absl::StatusOr<engine::Bank::VerifyResult> {
    for (int i = 0; i < 500; ++i) {
      monitor->Progress({.phase = "documents", .unit = "bytes", .done = i, .total = 0});
      absl::SleepFor(absl::Milliseconds(1));
    }
    return engine::Bank::VerifyResult{};
  };
  const absl::Time start = absl::Now();
  const auto outcome = Verify();
  const auto most = static_cast<size_t>((absl::Now() - start) / JobCall::kProgressInterval) + 1;
  EXPECT_GE(outcome.events.size(), 3U);
  EXPECT_LE(outcome.events.size(), most + 1);
  EXPECT_EQ(outcome.events[0].progress().done(), 0);
  EXPECT_EQ(outcome.events[0].progress().total(), 0);
}

TEST_F(JobCallTest, ReaderThatDoesNotReadDoesNotHoldUpTheJob) {
  const std::string long_message(1 << 10, 'm');
  absl::Notification ended;
  bank().verify =
      [&](engine::JobMonitor* monitor,
          engine::Bank::OnDamage on_damage) -> absl::StatusOr<engine::Bank::VerifyResult> {
    for (int i = 0; i < 2000; ++i) {
      on_damage({.file = "f", .document_id = "", .message = long_message});
      monitor->Progress({.phase = "documents", .unit = "bytes", .done = i});
    }
    ended.Notify();
    return engine::Bank::VerifyResult{.num_damages = 2000};
  };
  grpc::ClientContext context;
  const auto reader = admin().VerifyBank(&context, VerifyRequest());
  EXPECT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(10)));
  v1::VerifyBankResponse event;
  int num_damages = 0;
  while (reader->Read(&event)) num_damages += event.has_damage() ? 1 : 0;
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(num_damages, 1000);
  EXPECT_EQ(event.result().damages(), 2000);
}

TEST_F(JobCallTest, CancellingTheCallEndsTheJob) {
  VerifyByHand();
  grpc::ClientContext context;
  const auto reader = admin().VerifyBank(&context, VerifyRequest());
  ASSERT_TRUE(WaitUntil([this] { return num_running_ == 1; }));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntil([this] { return num_running_ == 0; }));
  EXPECT_TRUE(NoStreamIsOpen("AdminService/VerifyBank"));

  grpc::ClientContext late;
  late.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(100)));
  EXPECT_EQ(admin().VerifyBank(&late, VerifyRequest())->Finish().error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(WaitUntil([this] { return num_running_ == 0; }));
}

TEST_F(JobCallTest, JobsWaitForAThreadAndTooManyAreRefused) {
  VerifyByHand();
  constexpr size_t kRunning = 2, kWaiting = 16, kTooMany = 10;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::VerifyBankResponse>>> readers;
  const auto start = [&] {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(admin().VerifyBank(contexts.back().get(), VerifyRequest()));
  };
  for (size_t i = 0; i < kRunning; ++i) start();
  ASSERT_TRUE(WaitUntil([&] { return num_running_ == kRunning; }));
  for (size_t i = 0; i < kWaiting + kTooMany; ++i) start();
  ASSERT_TRUE(WaitUntil([&] {
    return server().MetricsText().find(absl::StrCat(
               "msa_grpc_requests_total{code=\"RESOURCE_EXHAUSTED\",method=\"AdminService/"
               "VerifyBank\"} ",
               kTooMany)) != std::string::npos;
  }));
  EXPECT_EQ(num_running_, kRunning);
  // What is wrong with a request is said at once all the same, and other calls go on.
  EXPECT_EQ(Compact("absent").error.reason, "BANK_NOT_FOUND");
  EXPECT_TRUE(GetBank().ok());
  may_end_ = true;
  size_t num_done = 0;
  for (const auto& reader : readers) {
    v1::VerifyBankResponse event;
    while (reader->Read(&event)) num_done += event.has_result() ? 1 : 0;
    const CallError error = ErrorOf(reader->Finish());
    if (error.code == grpc::StatusCode::OK) continue;
    EXPECT_EQ(error.reason, "TOO_MANY_CALLS");
    EXPECT_GT(error.retry_seconds, 0);
  }
  EXPECT_EQ(num_done, kRunning + kWaiting);
}

TEST_F(JobCallTest, AJobThatIsCancelledWhileItWaitsNeverRuns) {
  VerifyByHand();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::VerifyBankResponse>>> readers;
  for (int i = 0; i < 3; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(admin().VerifyBank(contexts.back().get(), VerifyRequest()));
    ASSERT_TRUE(WaitUntil([&] { return num_running_ == std::min(i + 1, 2); }));
  }
  contexts[2]->TryCancel();
  EXPECT_EQ(readers[2]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ASSERT_TRUE(WaitUntil([this] {  // it ends while the others go on
    return server().MetricsText().find("msa_grpc_streams{method=\"AdminService/VerifyBank\"} 2") !=
           std::string::npos;
  }));
  may_end_ = true;
  v1::VerifyBankResponse event;
  for (size_t i = 0; i < 2; ++i) {
    while (readers[i]->Read(&event)) {
    }
    EXPECT_TRUE(readers[i]->Finish().ok());
  }
  EXPECT_TRUE(NoStreamIsOpen("AdminService/VerifyBank"));
  EXPECT_EQ(num_begun_, 2);
}

TEST_F(JobCallTest, BackupsAreMadeListedRestoredAndDeleted) {
  StartServer(WithBackups());
  Put("one", "text of one");
  Put("two", "text of two");
  const auto backup = Backup("b", "monday");
  ASSERT_EQ(backup.error.code, grpc::StatusCode::OK) << backup.error.message;
  EXPECT_EQ(backup.last().result().name(), "monday");
  EXPECT_EQ(backup.last().result().bank(), "b");
  EXPECT_EQ(backup.last().result().documents(), 2);
  EXPECT_EQ(backup.last().result().bytes(), 12345);
  EXPECT_EQ(backup.last().result().revision(), 2U);
  EXPECT_EQ(backup.last().result().model_fingerprint(), "fake");
  EXPECT_EQ(backup.last().result().dtype(), "bf16");
  EXPECT_EQ(backup.last().result().create_time().seconds(), 1'700'000'002);
  EXPECT_EQ(Backup("b", "monday").error.reason, "BACKUP_EXISTS");
  EXPECT_EQ(Backup("absent", "tuesday").error.reason, "BANK_NOT_FOUND");
  EXPECT_EQ(Backup("b", "").error.field, "backup");

  v1::ListBackupsResponse listed;
  grpc::ClientContext list_context;
  ASSERT_TRUE(admin().ListBackups(&list_context, v1::ListBackupsRequest(), &listed).ok());
  ASSERT_EQ(listed.backups_size(), 1);
  EXPECT_EQ(listed.backups(0).SerializeAsString(), backup.last().result().SerializeAsString());

  EXPECT_EQ(Restore("monday", "").error.reason, "BANK_EXISTS");
  EXPECT_EQ(Restore("sunday", "").error.reason, "BACKUP_NOT_FOUND");
  EXPECT_EQ(Restore("", "").error.field, "backup");
  const auto restored = Restore("monday", "copy");
  ASSERT_EQ(restored.error.code, grpc::StatusCode::OK);
  EXPECT_EQ(restored.last().result().name(), "copy");
  EXPECT_EQ(engine().bank("copy")->Get("two", true)->text, "text of two");

  v1::DeleteBackupRequest remove;
  remove.set_backup("monday");
  v1::DeleteBackupResponse removed;
  grpc::ClientContext remove_context;
  EXPECT_TRUE(admin().DeleteBackup(&remove_context, remove, &removed).ok());
  grpc::ClientContext again;
  EXPECT_EQ(ErrorOf(admin().DeleteBackup(&again, remove, &removed)).reason, "BACKUP_NOT_FOUND");
}

TEST_F(JobCallTest, WithoutADirectoryForThemThereAreNoBackups) {
  const auto check = [](const CallError& error) {
    EXPECT_EQ(error.code, grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(error.reason, "NO_BACKUP_DIRECTORY");
    EXPECT_THAT(error.message, HasSubstr("--backup-dir"));
  };
  check(Backup("b", "monday").error);
  check(Restore("monday", "").error);
  v1::ListBackupsResponse listed;
  grpc::ClientContext list_context;
  check(ErrorOf(admin().ListBackups(&list_context, v1::ListBackupsRequest(), &listed)));
  v1::DeleteBackupRequest remove;
  remove.set_backup("monday");
  v1::DeleteBackupResponse removed;
  grpc::ClientContext remove_context;
  check(ErrorOf(admin().DeleteBackup(&remove_context, remove, &removed)));
}

TEST_F(JobCallTest, ReencodingTellsItsProgressAndEndsWithTheBank) {
  engine().banks().job = [](engine::JobMonitor* monitor) {
    monitor->Progress({.phase = "documents", .unit = "documents", .done = 3, .total = 9});
    return absl::OkStatus();
  };
  v1::ReencodeBankRequest request;
  request.set_bank("b");
  const auto outcome = Call(&Stub::ReencodeBank, request);
  ASSERT_EQ(outcome.events.size(), 2U);
  EXPECT_EQ(outcome.events[0].progress().done(), 3);
  EXPECT_EQ(outcome.last().result().name(), "b");
  request.set_bank("absent");
  EXPECT_EQ(Call(&Stub::ReencodeBank, request).error.reason, "BANK_NOT_FOUND");
  engine().banks().job = [](engine::JobMonitor*) { return absl::UnavailableError("disk"); };
  request.set_bank("b");
  EXPECT_EQ(Call(&Stub::ReencodeBank, request).error.code, grpc::StatusCode::UNAVAILABLE);
}

TEST_F(JobCallTest, DrainLetsARunningJobFinishAndRefusesThoseThatWait) {
  VerifyByHand();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::VerifyBankResponse>>> readers;
  for (int i = 0; i < 3; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(admin().VerifyBank(contexts.back().get(), VerifyRequest()));
    ASSERT_TRUE(WaitUntil([&] { return num_running_ == std::min(i + 1, 2); }));
  }
  std::thread drain([this] { server().Drain(absl::Seconds(20)); });
  ASSERT_TRUE(WaitUntil([this] { return !GetBank().ok() || engine().drained(); }));
  may_end_ = true;
  std::vector<grpc::StatusCode> codes;
  v1::VerifyBankResponse event;
  for (const auto& reader : readers) {
    while (reader->Read(&event)) {
    }
    codes.push_back(reader->Finish().error_code());
  }
  EXPECT_THAT(codes, ElementsAre(grpc::StatusCode::OK, grpc::StatusCode::OK,
                                 grpc::StatusCode::UNAVAILABLE));
  drain.join();
}

TEST_F(JobCallTest, DrainCancelsAJobThatOutlastsItsGrace) {
  VerifyByHand();
  grpc::ClientContext context;
  const auto reader = admin().VerifyBank(&context, VerifyRequest());
  ASSERT_TRUE(WaitUntil([this] { return num_running_ == 1; }));
  server().Drain(absl::Milliseconds(50));
  EXPECT_FALSE(reader->Finish().ok());
  EXPECT_TRUE(WaitUntil([this] { return num_running_ == 0; }));
}

}  // namespace
}  // namespace msa::server
