#include "tests/server/server_fixture.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"

namespace msa::server {

CallError ErrorOf(const google::rpc::Status& status) {
  CallError error;
  error.code = static_cast<grpc::StatusCode>(status.code());
  error.message = status.message();
  for (const google::protobuf::Any& any : status.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    google::rpc::RetryInfo retry;
    if (any.UnpackTo(&info)) {
      error.reason = info.reason();
      error.domain = info.domain();
      error.metadata.insert(info.metadata().begin(), info.metadata().end());
    } else if (any.UnpackTo(&bad_request) && bad_request.field_violations_size() > 0) {
      error.field = bad_request.field_violations(0).field();
      error.description = bad_request.field_violations(0).description();
    } else if (any.UnpackTo(&retry)) {
      error.retry_seconds = static_cast<double>(retry.retry_delay().seconds()) +
                            1e-9 * static_cast<double>(retry.retry_delay().nanos());
    }
  }
  return error;
}

CallError ErrorOf(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  CallError error = ErrorOf(details);
  if (!status.error_details().empty()) {
    EXPECT_EQ(details.code(), static_cast<int>(status.error_code()));
    EXPECT_EQ(details.message(), status.error_message());
  }
  error.code = status.error_code();
  error.message = status.error_message();
  return error;
}

ServerOptions ServerFixture::TestOptions() {
  ServerOptions options;
  options.listen.port = 0;
  options.observability.metrics = false;  // an endpoint takes two seconds to close
  options.limits.max_document_bytes = 64 << 10;
  options.limits.max_question_bytes = 4 << 10;
  options.limits.max_in_flight_documents = 4;
  options.limits.max_in_flight_bytes = 32 << 10;
  options.limits.max_rounds = 10;
  return options;
}

void ServerFixture::StartServer(const ServerOptions& options) {
  engine_ = std::make_unique<FakeEngine>(ToEngineOptions(options), &metrics_);
  ASSERT_TRUE(engine_->banks().Create("b", {}).ok());
  auto server = Server::Start(options, engine_.get(), &metrics_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->port()),
                                       grpc::InsecureChannelCredentials(), arguments);
  memory_ = v1::MemoryService::NewStub(channel_);
  query_ = v1::QueryService::NewStub(channel_);
  admin_ = v1::AdminService::NewStub(channel_);
}

void ServerFixture::StartOnce() {
  if (server_ == nullptr) StartServer(TestOptions());
}

Server& ServerFixture::server() {
  StartOnce();
  return *server_;
}

FakeEngine& ServerFixture::engine() {
  StartOnce();
  return *engine_;
}

v1::MemoryService::Stub& ServerFixture::memory() {
  StartOnce();
  return *memory_;
}

v1::QueryService::Stub& ServerFixture::query() {
  StartOnce();
  return *query_;
}

v1::AdminService::Stub& ServerFixture::admin() {
  StartOnce();
  return *admin_;
}

std::shared_ptr<grpc::Channel> ServerFixture::channel() {
  StartOnce();
  return channel_;
}

void ServerFixture::Put(const std::string& id, const std::string& text) {
  absl::Notification done;
  engine::DocumentInput document;
  document.id = id;
  document.text = text;
  bank().Ingest(std::move(document), engine::IngestMode::kUpsert, engine::AcknowledgeAt::kActive,
                [&](engine::IngestResult result) {
                  EXPECT_TRUE(result.status.ok());
                  done.Notify();
                });
  done.WaitForNotification();
}

grpc::Status ServerFixture::GetBank() {
  v1::GetBankRequest request;
  request.set_bank("b");
  v1::GetBankResponse response;
  grpc::ClientContext context;
  return memory().GetBank(&context, request, &response);
}

bool ServerFixture::WaitUntil(const std::function<bool()>& condition, absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  while (!condition()) {
    if (absl::Now() > end) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

}  // namespace msa::server
