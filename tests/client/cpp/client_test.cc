#include "client/cpp/client.h"

#include <atomic>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "client/cpp/error_details.h"
#include "gtest/gtest.h"
#include "tests/client/cpp/fake_server.h"

namespace msa::client {
namespace {

class ClientTest : public testing::Test {
 protected:
  std::unique_ptr<Client> Connect(absl::Duration timeout = absl::Seconds(30)) {
    ClientOptions options;
    options.server = server_.address();
    options.timeout = timeout;
    options.retry.first_wait = absl::Milliseconds(1);
    return *Client::Create(options);
  }

  FakeServer server_;
};

TEST_F(ClientTest, EmptyAddressIsRefused) {
  ClientOptions options;
  options.server = "";
  EXPECT_EQ(Client::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, WaitsAsTheServerAsksAndTriesAgain) {
  std::atomic<int> calls = 0;
  server_.on_create_bank = [&](const v1::CreateBankRequest& request,
                               v1::CreateBankResponse* response) {
    if (++calls < 3) return GrpcStatus(RpcStatusWithRetryInfo(grpc::StatusCode::UNAVAILABLE, 20));
    response->mutable_bank()->set_name(request.bank());
    return grpc::Status::OK;
  };
  const absl::Time start = absl::Now();
  const absl::StatusOr<v1::Bank> bank = Connect()->CreateBank("b", {});
  ASSERT_TRUE(bank.ok()) << bank.status();
  EXPECT_EQ(bank->name(), "b");
  EXPECT_EQ(calls, 3);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(40));
}

TEST_F(ClientTest, CallsThatChangeThingsAreNotRepeatedBlindly) {
  std::atomic<int> calls = 0;
  server_.on_create_bank = [&](const v1::CreateBankRequest&, v1::CreateBankResponse*) {
    ++calls;
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection lost");
  };
  EXPECT_EQ(Connect()->CreateBank("b", {}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(calls, 1);
}

TEST_F(ClientTest, RetriesEndAfterTheAttemptsOfThePolicy) {
  std::atomic<int> calls = 0;
  server_.on_server_info = [&](grpc::ServerContext*, v1::GetServerInfoResponse*) {
    ++calls;
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting");
  };
  EXPECT_EQ(Connect()->GetServerInfo().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(calls, RetryPolicy().max_attempts);
}

TEST_F(ClientTest, TimeoutIsDeadlineExceeded) {
  server_.on_server_info = [&](grpc::ServerContext* context, v1::GetServerInfoResponse*) {
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  };
  EXPECT_EQ(Connect(absl::Milliseconds(100))->GetServerInfo().status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, CancelEndsRunningAndLaterCalls) {
  std::atomic<bool> entered = false;
  server_.on_server_info = [&](grpc::ServerContext* context, v1::GetServerInfoResponse*) {
    entered = true;
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  };
  const std::unique_ptr<Client> client = Connect();
  std::thread other([&] {
    while (!entered) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    client->Cancel();
  });
  EXPECT_EQ(client->GetServerInfo().status().code(), absl::StatusCode::kCancelled);
  other.join();
  EXPECT_EQ(client->GetServerInfo().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, ListDocumentsReadsAllPagesUntilToldToStop) {
  std::atomic<int> calls = 0;
  server_.on_list_documents = [&](const v1::ListDocumentsRequest& request,
                                  v1::ListDocumentsResponse* response) {
    ++calls;
    EXPECT_EQ(request.filter(), calls > 3 ? "" : "id = \"x\"");
    const int page = request.page_token().empty() ? 0 : std::stoi(request.page_token());
    response->add_documents()->set_id(std::to_string(2 * page));
    response->add_documents()->set_id(std::to_string(2 * page + 1));
    if (page < 2) response->set_next_page_token(std::to_string(page + 1));
    return grpc::Status::OK;
  };
  const std::unique_ptr<Client> client = Connect();
  std::vector<std::string> ids;
  ASSERT_TRUE(client
                  ->ListDocuments("b", "id = \"x\"", false,
                                  [&](const v1::Document& document) {
                                    ids.push_back(document.id());
                                    return true;
                                  })
                  .ok());
  EXPECT_EQ(ids, (std::vector<std::string>{"0", "1", "2", "3", "4", "5"}));
  ASSERT_TRUE(
      client->ListDocuments("b", "", false, [](const v1::Document&) { return false; }).ok());
  EXPECT_EQ(calls, 4);
}

TEST_F(ClientTest, DeleteMatchingSendsTheFilterAlone) {
  server_.on_delete_documents = [&](const v1::DeleteDocumentsRequest& request,
                                    v1::DeleteDocumentsResponse* response) {
    EXPECT_EQ(request.filter(), "metadata.a = 1");
    EXPECT_TRUE(request.document_ids().empty());
    response->set_deleted(7);
    return grpc::Status::OK;
  };
  const auto response = Connect()->DeleteMatching("b", "metadata.a = 1");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->deleted(), 7);
}

TEST_F(ClientTest, ManyIdsAreDeletedInSeveralRequests) {
  std::vector<int> sizes;
  server_.on_delete_documents = [&](const v1::DeleteDocumentsRequest& request,
                                    v1::DeleteDocumentsResponse* response) {
    sizes.push_back(request.document_ids_size());
    response->set_deleted(request.document_ids_size() - 1);
    response->add_unknown_document_ids(request.document_ids(0));
    response->set_revision(sizes.size());
    return grpc::Status::OK;
  };
  const absl::StatusOr<v1::DeleteDocumentsResponse> response =
      Connect()->DeleteDocuments("b", std::vector<std::string>(2500, "x"));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(sizes, (std::vector<int>{1000, 1000, 500}));
  EXPECT_EQ(response->deleted(), 2497);
  EXPECT_EQ(response->unknown_document_ids_size(), 3);
  EXPECT_EQ(response->revision(), 3u);
}

TEST_F(ClientTest, GenerateHandsOverEveryEventAndReturnsTheLast) {
  server_.on_generate = [&](const v1::GenerateRequest&,
                            grpc::ServerWriter<v1::GenerateResponse>* writer) {
    v1::GenerateResponse event;
    event.mutable_started();
    writer->Write(event);
    event.mutable_finished()->set_answer("heart");
    writer->Write(event);
    return grpc::Status::OK;
  };
  int events = 0;
  const absl::StatusOr<v1::GenerateFinished> finished =
      Connect()->Generate({}, [&](const v1::GenerateResponse&) { ++events; });
  ASSERT_TRUE(finished.ok());
  EXPECT_EQ(finished->answer(), "heart");
  EXPECT_EQ(events, 2);
}

TEST_F(ClientTest, GenerateIsNotRepeatedOnceItHasBegun) {
  std::atomic<int> calls = 0;
  bool sends_event = false;
  server_.on_generate = [&](const v1::GenerateRequest&,
                            grpc::ServerWriter<v1::GenerateResponse>* writer) {
    ++calls;
    v1::GenerateResponse event;
    event.mutable_started();
    if (sends_event) writer->Write(event);
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping");
  };
  const std::unique_ptr<Client> client = Connect();
  EXPECT_FALSE(client->Generate({}, [](const v1::GenerateResponse&) {}).ok());
  EXPECT_EQ(calls, RetryPolicy().max_attempts);
  calls = 0;
  sends_event = true;
  EXPECT_FALSE(client->Generate({}, [](const v1::GenerateResponse&) {}).ok());
  EXPECT_EQ(calls, 1);
}

TEST_F(ClientTest, AnswerThatEndsWithoutFinishedIsAnError) {
  server_.on_generate = [&](const v1::GenerateRequest&, grpc::ServerWriter<v1::GenerateResponse>*) {
    return grpc::Status::OK;
  };
  EXPECT_EQ(Connect()->Generate({}, [](const v1::GenerateResponse&) {}).status().code(),
            absl::StatusCode::kInternal);
}

TEST_F(ClientTest, HealthIsReadFromAServerWithoutOurStubs) {
  grpc::EnableDefaultHealthCheckService(true);
  FakeServer server;  // the first one was built before
  ClientOptions options;
  options.server = server.address();
  const absl::StatusOr<bool> serving = (*Client::Create(options))->CheckHealth("");
  ASSERT_TRUE(serving.ok()) << serving.status();
  EXPECT_TRUE(*serving);
  EXPECT_EQ((*Client::Create(options))->CheckHealth("no.such.Service").status().code(),
            absl::StatusCode::kNotFound);
  grpc::EnableDefaultHealthCheckService(false);
}

}  // namespace
}  // namespace msa::client
