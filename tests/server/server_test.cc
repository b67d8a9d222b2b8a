#include "server/server.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/log.h"
#include "server/version.h"
#include "tests/server/server_fixture.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;

class ServerTest : public ServerFixture {
 protected:
  // grpc.health.v1.Health/Check by its wire format: field 1 of the request is the service, field 1
  // of the response the status.
  std::string Health(const std::string& service) {
    std::string request;
    if (!service.empty())
      request = absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
    const grpc::Slice slice(request);
    const grpc::ByteBuffer in(&slice, 1);
    grpc::ByteBuffer out;
    grpc::GenericStub stub(channel());
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", in, &queue);
    grpc::Status status;
    call->StartCall();
    call->Finish(&out, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    if (!status.ok()) return absl::StrCat("error ", static_cast<int>(status.error_code()));
    std::vector<grpc::Slice> slices;
    out.Dump(&slices).ok();
    std::string bytes;
    for (const auto& part : slices)
      bytes.append(reinterpret_cast<const char*>(part.begin()), part.size());
    return bytes == "\x08\x01" ? "SERVING" : bytes == "\x08\x02" ? "NOT_SERVING" : "other";
  }
};

TEST_F(ServerTest, InfoDescribesModelLimitsShardsAndState) {
  Put("one", std::string(100, 'x'));
  v1::GetServerInfoResponse info;
  grpc::ClientContext context;
  ASSERT_TRUE(admin().GetServerInfo(&context, v1::GetServerInfoRequest(), &info).ok());
  EXPECT_EQ(info.version(), std::string(Version()));
  EXPECT_EQ(info.state(), v1::SERVER_STATE_READY);
  EXPECT_EQ(info.model().name(), "fake");
  EXPECT_EQ(info.model().hidden_size(), 64);
  EXPECT_EQ(info.model().msa_layers_size(), 2);
  EXPECT_EQ(info.model().doc_top_k(), 2);
  EXPECT_EQ(info.limits().max_document_bytes(), 64 << 10);
  EXPECT_EQ(info.limits().max_document_tokens(), 8192);
  EXPECT_EQ(info.limits().max_rounds(), 10);
  EXPECT_EQ(info.limits().max_page_size(), 1000);
  EXPECT_GT(info.limits().max_metadata_bytes(), 0);
  ASSERT_EQ(info.shards_size(), 2);
  EXPECT_EQ(info.shards(0).device(), "cpu");
  EXPECT_EQ(info.shards(0).chunks(), 2);
  EXPECT_EQ(info.instruction_set(), "avx2");
  EXPECT_EQ(info.compute_dtype(), "bf16");
  EXPECT_EQ(info.memory().weights_bytes(), 1000);
  EXPECT_GT(info.memory().resident_bytes(), 1 << 20);
}

TEST_F(ServerTest, HealthIsServingForTheServerAndEachService) {
  for (const char* service :
       {"", "msa.v1.MemoryService", "msa.v1.QueryService", "msa.v1.AdminService"}) {
    EXPECT_EQ(Health(service), "SERVING") << service;
  }
  EXPECT_EQ(Health("msa.v1.NoService"), "error 5");
}

TEST_F(ServerTest, FailedEngineTurnsHealthOffAndRefusesQueries) {
  EXPECT_FALSE(server().CheckEngine());
  engine().SetUnhealthy();
  EXPECT_TRUE(server().CheckEngine());
  EXPECT_EQ(Health(""), "NOT_SERVING");
  EXPECT_EQ(Health("msa.v1.QueryService"), "NOT_SERVING");
  v1::GenerateRequest request;
  request.set_bank("b");
  request.set_question("q");
  grpc::ClientContext context;
  const CallError error = ErrorOf(query().Generate(&context, request)->Finish());
  EXPECT_EQ(error.code, grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(error.reason, "ENGINE_UNHEALTHY");
  EXPECT_GT(error.retry_seconds, 0);
  EXPECT_THAT(server().MetricsText(),
              HasSubstr("msa_admission_rejections_total{reason=\"unavailable\"} 1"));
}

TEST_F(ServerTest, DrainRefusesNewWorkAndLetsRunningAnswersFinish) {
  std::shared_ptr<FakeAnswer> answer;
  std::mutex mutex;
  engine().answer = [&](const engine::GenerateRequest&, std::shared_ptr<FakeAnswer> out) {
    out->Push(engine::StartedEvent{});
    const std::lock_guard lock(mutex);
    answer = std::move(out);
  };
  v1::GenerateRequest request;
  request.set_bank("b");
  request.set_question("q");
  grpc::ClientContext context;
  auto reader = query().Generate(&context, request);
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));

  std::thread drain([this] { server().Drain(absl::Seconds(20)); });
  ASSERT_TRUE(WaitUntil([this] { return engine().drained(); }));
  EXPECT_EQ(Health(""), "NOT_SERVING");
  EXPECT_EQ(engine().drain_grace(), absl::Seconds(20));
  {
    grpc::ClientContext late;
    const CallError error = ErrorOf(query().Generate(&late, request)->Finish());
    EXPECT_EQ(error.code, grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(error.reason, "DRAINING");
    EXPECT_GT(error.retry_seconds, 0);
  }
  {
    grpc::ClientContext late;
    auto stream = memory().IngestDocuments(&late);
    EXPECT_EQ(ErrorOf(stream->Finish()).reason, "DRAINING");
  }
  {
    v1::GetServerInfoResponse info;
    grpc::ClientContext late;
    ASSERT_TRUE(admin().GetServerInfo(&late, v1::GetServerInfoRequest(), &info).ok());
    EXPECT_EQ(info.state(), v1::SERVER_STATE_DRAINING);
  }
  {
    const std::lock_guard lock(mutex);
    answer->Push(engine::FinishedEvent{});
    answer->End(absl::OkStatus());
  }
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_TRUE(event.has_finished());
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_TRUE(reader->Finish().ok());
  drain.join();
}

TEST_F(ServerTest, DrainEndsWhatOutlastsItsGrace) {
  engine().answer = [](const engine::GenerateRequest&, const std::shared_ptr<FakeAnswer>& out) {
    out->Push(engine::StartedEvent{});
  };
  v1::GenerateRequest request;
  request.set_bank("b");
  request.set_question("q");
  grpc::ClientContext context;
  auto reader = query().Generate(&context, request);
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  const absl::Time start = absl::Now();
  server().Drain(absl::Milliseconds(200));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, DrainEndsOpenIngestStreamsAfterTheirResults) {
  bank().Hold();
  grpc::ClientContext context;
  auto stream = memory().IngestDocuments(&context);
  v1::IngestDocumentsRequest request;
  request.mutable_start()->set_bank("b");
  stream->Write(request);
  v1::IngestDocumentsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  request.mutable_document()->set_sequence(1);
  request.mutable_document()->set_document_id("one");
  request.mutable_document()->set_text("text");
  stream->Write(request);
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 1; }));
  std::thread drain([this] { server().Drain(absl::Seconds(20)); });
  ASSERT_TRUE(WaitUntil([this] { return engine().drained(); }));
  bank().ReleaseAll();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().document_id(), "one");
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(ErrorOf(stream->Finish()).reason, "DRAINING");
  drain.join();
}

TEST_F(ServerTest, DrainEndsIdleIngestStreamsAtOnce) {
  grpc::ClientContext context;
  auto stream = memory().IngestDocuments(&context);
  v1::IngestDocumentsRequest request;
  request.mutable_start()->set_bank("b");
  stream->Write(request);
  v1::IngestDocumentsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  const absl::Time start = absl::Now();
  server().Drain(absl::Seconds(20));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(ErrorOf(stream->Finish()).reason, "DRAINING");
}

TEST_F(ServerTest, TakenPortIsAOneLineError) {
  ServerOptions options = TestOptions();
  options.listen.port = server().port();
  ServerMetrics other_metrics;
  FakeEngine other;
  const auto second = Server::Start(options, &other, &other_metrics);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(
      std::string(second.status().message()),
      HasSubstr(absl::StrCat("gRPC port 127.0.0.1:", server().port(), ": Address already in use")));
  EXPECT_TRUE(GetBank().ok());  // the first one is unharmed
}

TEST_F(ServerTest, UnknownMethodIsUnimplemented) {
  const grpc::ByteBuffer in;
  grpc::ByteBuffer out;
  grpc::GenericStub stub(channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, "/msa.v1.QueryService/Unknown", in, &queue);
  grpc::Status status;
  call->StartCall();
  call->Finish(&out, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST(Log, TextQuotesWhatWouldBreakTheLine) {
  EXPECT_EQ(
      FormatLogLine(LogFormat::kText, "a\nb",
                    {{"k", std::string("v")}, {"n", int64_t{3}}, {"q", std::string("x y\"\n")}}),
      "a b k=v n=3 q=\"x y\\\"\\n\"");
}

TEST(Log, JsonStaysJsonForAnyBytes) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, "m\"", {{"k", std::string("\xff\n")}, {"d", 0.5}}),
            "\"message\":\"m\\\"\",\"k\":\"\xEF\xBF\xBD\\n\",\"d\":0.5");
}

}  // namespace
}  // namespace msa::server
