#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "tests/server/query_fixture.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;

using StalledReaderTest = QueryServiceTest;

TEST_F(StalledReaderTest, ReaderThatDoesNotReadHoldsBackOnlyItsOwnEvents) {
  const std::string long_text(16 << 10, 't');
  AnswerByHand();
  grpc::ClientContext context;
  auto reader = query().Generate(&context, Question());
  const std::shared_ptr<FakeAnswer> answer = WaitForAnswer();
  for (int i = 0; i < 2000; ++i)
    answer->Push(engine::TokenEvent{engine::Interleave::Phase::kAnswer, 0, long_text});
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(answer->num_read(), 1000);  // 32 MB were pushed; HTTP/2 takes a window of it
  {
    engine().answer = [](const engine::GenerateRequest& request,
                         std::shared_ptr<FakeAnswer> other) {
      for (engine::QueryEvent& event : FakeEngine::ScriptedAnswer(request.question))
        other->Push(std::move(event));
      other->End(absl::OkStatus());
    };
    EXPECT_EQ(Generate(Question()).code, grpc::StatusCode::OK);
  }
  context.TryCancel();
  EXPECT_TRUE(answer->WaitUntilCancelled(absl::Seconds(5)));
  reader->Finish();
}

TEST_F(StalledReaderTest, FinishedAnswerThatIsNotReadIsCutOffAfterTheTimeout) {
  ServerOptions options = TestOptions();
  options.scheduler.stalled_reader_timeout = absl::Milliseconds(300);
  StartServer(options);
  engine().answer = [](const engine::GenerateRequest&, const std::shared_ptr<FakeAnswer>& answer) {
    for (int i = 0; i < 2000; ++i) {
      answer->Push(
          engine::TokenEvent{engine::Interleave::Phase::kAnswer, 0, std::string(16 << 10, 't')});
    }
    answer->Push(engine::FinishedEvent{});
    answer->End(absl::OkStatus());
  };
  grpc::ClientContext context;
  auto reader = query().Generate(&context, Question());
  ASSERT_TRUE(WaitUntil([this] {
    return server().MetricsText().find(
               "msa_grpc_requests_total{code=\"RESOURCE_EXHAUSTED\","
               "method=\"QueryService/Generate\"} 1") != std::string::npos;
  }));
  EXPECT_TRUE(WaitUntil([this] {
    return server().MetricsText().find("msa_grpc_streams{method=\"QueryService/Generate\"} 0") !=
           std::string::npos;
  }));
  EXPECT_THAT(server().MetricsText(),
              HasSubstr("msa_requests_finished_total{finish_reason=\"error\"} 1"));
  // The connection is as it was, and the client learns what happened when it looks.
  EXPECT_EQ(GetBank().error_code(), grpc::StatusCode::OK);
  v1::GenerateResponse event;
  int64_t num_read = 0;
  while (reader->Read(&event)) ++num_read;
  EXPECT_LT(num_read, 2000);
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("the stream was not read for 300ms"));
}

TEST_F(StalledReaderTest, SlowReaderThatReadsOnGetsTheWholeAnswer) {
  ServerOptions options = TestOptions();
  options.scheduler.stalled_reader_timeout = absl::Seconds(1);
  StartServer(options);
  constexpr int kNumTokens = 150;  // 10 ms each: longer than the timeout together
  engine().answer = [](const engine::GenerateRequest&, const std::shared_ptr<FakeAnswer>& answer) {
    for (int i = 0; i < kNumTokens; ++i) {
      answer->Push(
          engine::TokenEvent{engine::Interleave::Phase::kAnswer, 0, std::string(32 << 10, 't')});
    }
    answer->Push(engine::FinishedEvent{});
    answer->End(absl::OkStatus());
  };
  // With a small window of a fixed size every few reads let a write go on.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 << 10);
  auto stub = v1::QueryService::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("127.0.0.1:", server().port()), grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  auto reader = stub->Generate(&context, Question());
  v1::GenerateResponse event;
  int num_tokens = 0;
  while (reader->Read(&event)) {
    num_tokens += event.has_token() ? 1 : 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::OK);
  EXPECT_EQ(num_tokens, kNumTokens);
}

TEST_F(StalledReaderTest, TimeoutsOfReadersDoNotDisturbCallsThatEnd) {
  ServerOptions options = TestOptions();
  options.scheduler.stalled_reader_timeout = absl::Milliseconds(1);
  StartServer(options);
  engine().answer = [](const engine::GenerateRequest&, const std::shared_ptr<FakeAnswer>& answer) {
    for (int i = 0; i < 20; ++i) {
      answer->Push(
          engine::TokenEvent{engine::Interleave::Phase::kAnswer, 0, std::string(16 << 10, 't')});
    }
    answer->Push(engine::FinishedEvent{});
    answer->End(absl::OkStatus());
  };
  std::vector<std::thread> clients;
  for (int client = 0; client < 8; ++client) {
    clients.emplace_back([this, client] {
      for (int i = 0; i < 40; ++i) {
        grpc::ClientContext context;
        auto reader = query().Generate(&context, Question());
        v1::GenerateResponse event;
        std::this_thread::sleep_for(std::chrono::microseconds((client + i) % 5 * 500));
        if (i % 4 == 3) context.TryCancel();
        while (reader->Read(&event)) {
        }
        const grpc::StatusCode code = reader->Finish().error_code();
        EXPECT_TRUE(code == grpc::StatusCode::OK || code == grpc::StatusCode::CANCELLED ||
                    code == grpc::StatusCode::RESOURCE_EXHAUSTED)
            << code;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(WaitUntil([this] {
    return server().MetricsText().find("msa_grpc_streams{method=\"QueryService/Generate\"} 0") !=
           std::string::npos;
  }));
}

}  // namespace
}  // namespace msa::server
