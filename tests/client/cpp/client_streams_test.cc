// Long jobs and exports of Client.
#include <atomic>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "client/cpp/client.h"
#include "client/cpp/error_details.h"
#include "gtest/gtest.h"
#include "tests/client/cpp/fake_server.h"

namespace msa::client {
namespace {

class ClientStreamsTest : public testing::Test {
 protected:
  std::unique_ptr<Client> Connect(absl::Duration timeout = absl::Seconds(30)) {
    ClientOptions options;
    options.server = server_.address();
    options.timeout = timeout;
    options.retry.first_wait = absl::Milliseconds(1);
    return *Client::Create(options);
  }
  static v1::VerifyBankResponse Progress(int64_t done) {
    v1::VerifyBankResponse event;
    event.mutable_progress()->set_done(done);
    return event;
  }
  static v1::VerifyBankResponse Damaged(const std::string& file) {
    v1::VerifyBankResponse event;
    event.mutable_damage()->set_file(file);
    return event;
  }

  FakeServer server_;
};

TEST_F(ClientStreamsTest, AJobHandsOnItsEventsAndEndsWithItsResult) {
  server_.on_verify = [](grpc::ServerContext*, grpc::ServerWriter<v1::VerifyBankResponse>* writer) {
    writer->Write(Progress(1));
    writer->Write(Damaged("a"));
    writer->Write(Progress(2));
    v1::VerifyBankResponse last;
    last.mutable_result()->set_damages(1);
    writer->Write(last);
    return grpc::Status::OK;
  };
  std::vector<std::string> files;
  std::vector<int64_t> progress;
  const auto result = Connect()->VerifyBank(
      "b", [&](const v1::Damage& damage) { files.push_back(damage.file()); },
      [&](const v1::JobProgress& event) { progress.push_back(event.done()); });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->damages(), 1);
  EXPECT_EQ(files, std::vector<std::string>{"a"});
  EXPECT_EQ(progress, (std::vector<int64_t>{1, 2}));
  EXPECT_TRUE(Connect()->VerifyBank("b", {}).ok());  // nobody has to listen
}

TEST_F(ClientStreamsTest, AJobOutlastsTheTimeoutOfCallsAndEndsWithCancel) {
  std::atomic<bool> was_cancelled = false;
  server_.on_verify = [&](grpc::ServerContext* context,
                          grpc::ServerWriter<v1::VerifyBankResponse>* writer) {
    writer->Write(Progress(1));
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    was_cancelled = true;
    return grpc::Status::CANCELLED;
  };
  const std::unique_ptr<Client> client = Connect(absl::Milliseconds(50));
  const absl::Time start = absl::Now();
  std::thread other([&] {
    absl::SleepFor(absl::Milliseconds(200));
    client->Cancel();
  });
  EXPECT_EQ(client->VerifyBank("b", {}).status().code(), absl::StatusCode::kCancelled);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(200));
  other.join();
  while (!was_cancelled) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST_F(ClientStreamsTest, AJobWithoutAResultIsAnError) {
  server_.on_verify = [](grpc::ServerContext*, grpc::ServerWriter<v1::VerifyBankResponse>* writer) {
    writer->Write(Progress(1));
    return grpc::Status::OK;
  };
  EXPECT_EQ(Connect()->VerifyBank("b", {}).status().code(), absl::StatusCode::kInternal);
}

TEST_F(ClientStreamsTest, JobsAreMadeAgainAsLongAsNothingHasCome) {
  std::atomic<int> calls = 0;
  server_.on_backup = [&](const v1::BackupBankRequest& request,
                          grpc::ServerWriter<v1::BackupBankResponse>* writer) {
    if (++calls < 3) {
      return GrpcStatus(RpcStatusWithRetryInfo(grpc::StatusCode::RESOURCE_EXHAUSTED, 5));
    }
    v1::BackupBankResponse last;
    last.mutable_result()->set_name(request.backup());
    writer->Write(last);
    return grpc::Status::OK;
  };
  const auto backup = Connect()->BackupBank("b", "monday");
  ASSERT_TRUE(backup.ok()) << backup.status();
  EXPECT_EQ(backup->name(), "monday");
  EXPECT_EQ(calls, 3);

  calls = 0;
  server_.on_backup = [&](const v1::BackupBankRequest&,
                          grpc::ServerWriter<v1::BackupBankResponse>* writer) {
    ++calls;
    v1::BackupBankResponse event;
    event.mutable_progress();
    writer->Write(event);
    return GrpcStatus(RpcStatusWithRetryInfo(grpc::StatusCode::UNAVAILABLE, 5));
  };
  EXPECT_EQ(Connect()->BackupBank("b", "monday").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(calls, 1);
}

TEST_F(ClientStreamsTest, AnExportHandsOnDocumentsUntilToldToStop) {
  server_.on_export = [](const v1::ExportDocumentsRequest& request,
                         grpc::ServerWriter<v1::ExportDocumentsResponse>* writer) {
    EXPECT_EQ(request.filter(), "id = \"x\"");
    for (int page = 0; page < 3; ++page) {
      v1::ExportDocumentsResponse response;
      response.add_documents()->set_id(std::to_string(2 * page));
      response.add_documents()->set_id(std::to_string(2 * page + 1));
      if (!writer->Write(response)) break;
    }
    return grpc::Status::OK;
  };
  std::vector<std::string> ids;
  const auto collect = [&](const v1::Document& document) {
    ids.push_back(document.id());
    return ids.size() != 3;
  };
  EXPECT_TRUE(Connect()->ExportDocuments("b", "id = \"x\"", collect).ok());
  EXPECT_EQ(ids, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_TRUE(Connect()->ExportDocuments("b", "id = \"x\"", collect).ok());
  EXPECT_EQ(ids.size(), 9U);
}

TEST_F(ClientStreamsTest, AnExportThatBreaksOffIsAnErrorAndNotBegunAgain) {
  std::atomic<int> calls = 0;
  server_.on_export = [&](const v1::ExportDocumentsRequest&,
                          grpc::ServerWriter<v1::ExportDocumentsResponse>* writer) {
    ++calls;
    v1::ExportDocumentsResponse response;
    response.add_documents()->set_id("a");
    writer->Write(response);
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  };
  EXPECT_EQ(Connect()->ExportDocuments("b", "", [](const v1::Document&) { return true; }).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(calls, 1);
}

TEST_F(ClientStreamsTest, AnUpdateNamesWhatItChanges) {
  server_.on_update_bank = [](const v1::UpdateBankRequest& request,
                              v1::UpdateBankResponse* response) {
    EXPECT_EQ(request.bank(), "b");
    EXPECT_EQ(request.update_mask().paths_size(), 1);
    EXPECT_EQ(request.update_mask().paths(0), "token_budget");
    *response->mutable_bank()->mutable_settings() = request.settings();
    return grpc::Status::OK;
  };
  v1::BankSettings settings;
  settings.set_token_budget(7);
  const auto bank = Connect()->UpdateBank("b", settings, {"token_budget"});
  ASSERT_TRUE(bank.ok()) << bank.status();
  EXPECT_EQ(bank->settings().token_budget(), 7);
}

}  // namespace
}  // namespace msa::client
