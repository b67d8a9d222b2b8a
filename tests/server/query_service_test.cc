#include <cmath>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "kernels/core/error_detail.h"
#include "tests/server/query_fixture.h"

namespace msa::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(QueryServiceTest, EventsArriveInTheEnginesOrderWithTheirContents) {
  ASSERT_EQ(Generate(Question()).code, grpc::StatusCode::OK);
  std::vector<v1::GenerateResponse::EventCase> cases;
  for (const auto& event : events_) cases.push_back(event.event_case());
  using Event = v1::GenerateResponse;
  ASSERT_THAT(cases, ElementsAre(Event::kStarted, Event::kRound, Event::kToken, Event::kCitations,
                                 Event::kRound, Event::kToken, Event::kFinished));
  EXPECT_EQ(events_[0].started().revision(), 3U);
  EXPECT_EQ(events_[0].started().queue_time().nanos(), 5'000'000);
  EXPECT_EQ(events_[1].round().documents(0).document_id(), "seven");
  EXPECT_EQ(events_[1].round().documents(0).number(), 7U);
  EXPECT_EQ(events_[1].round().documents(0).shard(), 1);
  EXPECT_EQ(events_[1].round().documents(0).layers_size(), 0);
  EXPECT_EQ(events_[1].round().layers_size(), 0);
  EXPECT_EQ(events_[2].token().phase(), v1::GENERATION_PHASE_RETRIEVAL);
  EXPECT_EQ(events_[3].citations().documents(0).document_id(), "seven");
  EXPECT_THAT(events_[3].citations().unknown_numbers(), ElementsAre(99U));
  EXPECT_EQ(events_[4].round().round(), 1);
  EXPECT_EQ(events_[5].token().phase(), v1::GENERATION_PHASE_ANSWER);
  const v1::GenerateFinished& finished = events_[6].finished();
  EXPECT_EQ(finished.answer(), "echo: who?");
  EXPECT_EQ(finished.reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(finished.sources(0).document_id(), "seven");
  EXPECT_EQ(finished.usage().prompt_tokens(), 45);
  EXPECT_EQ(finished.usage().generated_tokens(), 9);
  EXPECT_EQ(finished.usage().rounds(), 2);
  EXPECT_EQ(finished.timings().total().seconds(), 1);
  EXPECT_EQ(finished.timings().total().nanos(), 500'000'000);
  EXPECT_TRUE(finished.timings().has_time_to_first_token());
}

TEST_F(QueryServiceTest, LayersAreShownOnRequest) {
  v1::GenerateRequest request = Question();
  request.set_explain_layers(true);
  ASSERT_EQ(Generate(request).code, grpc::StatusCode::OK);
  EXPECT_EQ(events_[1].round().documents(0).layers(0).layer(), 2);
  EXPECT_EQ(events_[1].round().layers(0).numbers(0), 7U);
  EXPECT_TRUE(engine().generate_requests().at(0).explain_layers);
}

TEST_F(QueryServiceTest, UnsetParametersAreTheDefaultsAndZeroIsAValue) {
  ASSERT_EQ(Generate(Question()).code, grpc::StatusCode::OK);
  v1::GenerateRequest request = Question("again");
  request.mutable_sampling()->set_temperature(0.5F);
  request.mutable_sampling()->set_top_p(0.25F);
  request.mutable_sampling()->set_seed(UINT64_MAX);
  request.mutable_limits()->set_max_rounds(3);
  request.mutable_limits()->set_max_citations(4);
  request.mutable_limits()->set_max_retrieval_tokens(5);
  request.mutable_limits()->set_max_answer_tokens(6);
  request.mutable_limits()->set_max_expansion_bytes(7);
  request.add_stop(std::string("\n"));
  request.set_constrain_citations(false);
  request.set_filter("metadata.a = 1");
  request.add_document_ids("one");
  request.set_min_revision(3);
  ASSERT_EQ(Generate(request).code, grpc::StatusCode::OK);
  const auto requests = engine().generate_requests();
  const engine::GenerationParams defaults;
  EXPECT_EQ(requests[0].params.max_rounds, defaults.max_rounds);
  EXPECT_EQ(requests[0].params.max_answer_tokens, defaults.max_answer_tokens);
  EXPECT_EQ(requests[0].params.sampling.temperature, 0);
  EXPECT_EQ(requests[0].params.sampling.top_p, 1);
  EXPECT_TRUE(requests[0].params.constrain_citations);
  EXPECT_EQ(requests[0].deadline, absl::InfiniteFuture());
  const engine::GenerationParams& params = requests[1].params;
  EXPECT_EQ(params.sampling.temperature, 0.5F);
  EXPECT_EQ(params.sampling.top_p, 0.25F);
  EXPECT_EQ(params.sampling.seed, UINT64_MAX);
  EXPECT_EQ(params.max_rounds, 3);
  EXPECT_EQ(params.max_citations, 4);
  EXPECT_EQ(params.max_retrieval_tokens, 5);
  EXPECT_EQ(params.max_answer_tokens, 6);
  EXPECT_EQ(params.max_expansion_bytes, 7);
  EXPECT_THAT(params.stop, ElementsAre("\n"));
  EXPECT_FALSE(params.constrain_citations);
  EXPECT_EQ(requests[1].scope.filter, "metadata.a = 1");
  EXPECT_THAT(requests[1].scope.document_ids, ElementsAre("one"));
  EXPECT_EQ(requests[1].scope.min_revision, 3U);
  EXPECT_TRUE(requests[0].scope.document_ids.empty());
}

TEST_F(QueryServiceTest, RefusedParametersNameFieldLimitAndActual) {
  struct Case {
    std::string field;
    std::function<void(v1::GenerateRequest*)> change;
  };
  const float nan = std::nanf("");
  const std::vector<Case> cases = {
      {"bank", [](auto* r) { r->clear_bank(); }},
      {"question", [](auto* r) { r->clear_question(); }},
      {"question", [](auto* r) { r->set_question(std::string(4097, 'q')); }},
      {"question", [](auto* r) { r->set_question("\xc0\x80"); }},
      {"sampling.temperature", [](auto* r) { r->mutable_sampling()->set_temperature(-0.1F); }},
      {"sampling.temperature", [](auto* r) { r->mutable_sampling()->set_temperature(10.1F); }},
      {"sampling.temperature", [nan](auto* r) { r->mutable_sampling()->set_temperature(nan); }},
      {"sampling.top_p", [](auto* r) { r->mutable_sampling()->set_top_p(0); }},
      {"sampling.top_p", [](auto* r) { r->mutable_sampling()->set_top_p(1.01F); }},
      {"sampling.top_p", [nan](auto* r) { r->mutable_sampling()->set_top_p(nan); }},
      {"limits.max_rounds", [](auto* r) { r->mutable_limits()->set_max_rounds(0); }},
      {"limits.max_rounds", [](auto* r) { r->mutable_limits()->set_max_rounds(11); }},
      {"limits.max_citations", [](auto* r) { r->mutable_limits()->set_max_citations(-1); }},
      {"limits.max_citations", [](auto* r) { r->mutable_limits()->set_max_citations(INT32_MAX); }},
      {"limits.max_retrieval_tokens",
       [](auto* r) { r->mutable_limits()->set_max_retrieval_tokens(INT32_MIN); }},
      {"limits.max_answer_tokens", [](auto* r) { r->mutable_limits()->set_max_answer_tokens(0); }},
      {"limits.max_expansion_bytes",
       [](auto* r) { r->mutable_limits()->set_max_expansion_bytes(INT64_MAX); }},
      {"stop[0]", [](auto* r) { r->add_stop(std::string()); }},
      {"stop[1]",
       [](auto* r) {
         r->add_stop(std::string("x"));
         r->add_stop(std::string(257, 's'));
       }},
      {"stop.size",
       [](auto* r) {
         for (int i = 0; i < 17; ++i) r->add_stop(std::string("x"));
       }},
  };
  for (const Case& refused : cases) {
    v1::GenerateRequest request = Question();
    refused.change(&request);
    const CallError error = Generate(request);
    EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT) << refused.field;
    EXPECT_EQ(error.field, refused.field) << error.message;
    EXPECT_THAT(error.message, HasSubstr(refused.field));
    EXPECT_FALSE(error.reason.empty());
    EXPECT_TRUE(events_.empty());
  }
  EXPECT_TRUE(engine().generate_requests().empty());
}

TEST_F(QueryServiceTest, QuestionOfOneMegabyteIsRefusedWithItsSize) {
  const CallError error = Generate(Question(std::string(1 << 20, 'q')));
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.reason, "QUESTION_TOO_LARGE");
  EXPECT_EQ(error.metadata.at("limit"), "4096");
  EXPECT_EQ(error.metadata.at("actual"), "1048576");
}

TEST_F(QueryServiceTest, EnginesRefusalsReachTheClientWithTheirDetail) {
  v1::GenerateRequest request = Question();
  request.set_bank("absent");
  EXPECT_EQ(Generate(request).reason, "BANK_NOT_FOUND");
  request.clear_question();
  EXPECT_EQ(Generate(request).code, grpc::StatusCode::INVALID_ARGUMENT);
  for (const char* reason : {"queue_full", "too_long", "unavailable"}) {
    EXPECT_THAT(
        server().MetricsText(),
        HasSubstr(absl::StrCat("msa_admission_rejections_total{reason=\"", reason, "\"} 0")));
  }

  engine().admit = [](const std::string&) {
    return kernels::WithDetail(absl::ResourceExhaustedError("256 queries wait already"),
                               {.reason = "QUEUE_FULL",
                                .field = "",
                                .metadata = {{"limit", "256"}},
                                .retry_after = absl::Milliseconds(250)});
  };
  const CallError error = Generate(Question());
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.reason, "QUEUE_FULL");
  EXPECT_DOUBLE_EQ(error.retry_seconds, 0.25);
  EXPECT_THAT(server().MetricsText(),
              HasSubstr("msa_admission_rejections_total{reason=\"queue_full\"} 1"));
}

// Longer trailers would make the client give up with RESOURCE_EXHAUSTED of its own.
TEST_F(QueryServiceTest, LongestErrorThatIsNotAsciiReachesTheClientWithItsDetail) {
  std::string long_text;
  for (int i = 0; i < 10'000; ++i) long_text += "字";
  engine().admit = [&](const std::string&) {
    return kernels::WithDetail(
        absl::InvalidArgumentError(long_text),
        {.reason = "TEXT_TOO_LONG",
         .field = "question",
         .metadata = {{"limit", long_text}, {"actual", long_text}, {"unit", long_text}},
         .retry_after = absl::Seconds(1)});
  };
  const CallError error = Generate(Question());
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.reason, "TEXT_TOO_LONG");
  EXPECT_EQ(error.field, "question");
  EXPECT_EQ(error.metadata.size(), 3U);
  EXPECT_DOUBLE_EQ(error.retry_seconds, 1);
  EXPECT_EQ(error.message.substr(0, 300), long_text.substr(0, 300));
  EXPECT_TRUE(error.message.ends_with("字…"));
  EXPECT_EQ(error.description, error.message);
}

TEST_F(QueryServiceTest, ErrorInTheMiddleEndsTheStreamWithoutFinished) {
  engine().answer = [](const engine::GenerateRequest&, std::shared_ptr<FakeAnswer> answer) {
    answer->Push(engine::StartedEvent{});
    answer->End(kernels::WithDetail(absl::DataLossError("segment 5 of bank \"b\" is damaged"),
                                    {.reason = "SEGMENT_DAMAGED",
                                     .field = "",
                                     .metadata = {{"segment", "5"}},
                                     .retry_after = {}}));
  };
  const CallError error = Generate(Question());
  EXPECT_EQ(error.code, grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(error.reason, "SEGMENT_DAMAGED");
  ASSERT_EQ(events_.size(), 1U);
}

TEST_F(QueryServiceTest, AnswerThatEndsWithoutItsLastEventIsAnInternalError) {
  engine().answer = [](const engine::GenerateRequest&, std::shared_ptr<FakeAnswer> answer) {
    answer->End(absl::OkStatus());
  };
  EXPECT_EQ(Generate(Question()).code, grpc::StatusCode::INTERNAL);
}

TEST_F(QueryServiceTest, TokensArriveWhenTheyAreMade) {
  AnswerByHand();
  grpc::ClientContext context;
  auto reader = query().Generate(&context, Question());
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_TRUE(event.has_started());
  const std::shared_ptr<FakeAnswer> answer = WaitForAnswer();
  for (const char* text : {"a", "b", "c"}) {
    answer->Push(engine::TokenEvent{engine::Interleave::Phase::kAnswer, 0, text});
    ASSERT_TRUE(reader->Read(&event));
    EXPECT_EQ(event.token().text(), text);
  }
  answer->Push(engine::FinishedEvent{});
  answer->End(absl::OkStatus());
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_TRUE(event.has_finished());
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(QueryServiceTest, CancelledCallCancelsTheAnswer) {
  AnswerByHand();
  grpc::ClientContext context;
  auto reader = query().Generate(&context, Question());
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  const std::shared_ptr<FakeAnswer> answer = WaitForAnswer();
  context.TryCancel();
  EXPECT_TRUE(answer->WaitUntilCancelled(absl::Seconds(5)));
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntil([this] {
    return server().MetricsText().find(
               "msa_requests_finished_total{finish_reason=\"cancelled\"} 1") != std::string::npos;
  }));
}

TEST_F(QueryServiceTest, CancelledCallEndsEvenWhenTheEngineIsSlowToNotice) {
  AnswerByHand();
  grpc::ClientContext context;
  auto reader = query().Generate(&context, Question());
  const std::shared_ptr<FakeAnswer> answer = WaitForAnswer();
  context.TryCancel();
  EXPECT_TRUE(WaitUntil([this] {
    return server().MetricsText().find("msa_grpc_streams{method=\"QueryService/Generate\"} 0") !=
           std::string::npos;
  }));
  reader->Finish();
}

TEST_F(QueryServiceTest, DeadlineReachesTheEngineAndEndsTheCall) {
  AnswerByHand();
  grpc::ClientContext context;
  const absl::Time deadline = absl::Now() + absl::Milliseconds(300);
  context.set_deadline(absl::ToChronoTime(deadline));
  auto reader = query().Generate(&context, Question());
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  const std::shared_ptr<FakeAnswer> answer = WaitForAnswer();
  const absl::Time seen = engine().generate_requests().at(0).deadline;
  EXPECT_LT(absl::AbsDuration(seen - deadline), absl::Milliseconds(100));
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(answer->WaitUntilCancelled(absl::Seconds(5)));
}

TEST_F(QueryServiceTest, ManyAnswersAtOnceAllFinish) {
  server();
  std::vector<std::thread> clients;
  for (int client = 0; client < 16; ++client) {
    clients.emplace_back([this, client] {
      for (int i = 0; i < 20; ++i) {
        grpc::ClientContext context;
        const std::string question = absl::StrCat(client, "/", i);
        auto reader = query().Generate(&context, Question(question));
        v1::GenerateResponse event;
        std::string answer;
        while (reader->Read(&event)) {
          if (i % 5 == 4) context.TryCancel();
          answer = event.finished().answer();
        }
        const grpc::Status status = reader->Finish();
        if (i % 5 != 4) {
          EXPECT_TRUE(status.ok()) << status.error_message();
          EXPECT_EQ(answer, absl::StrCat("echo: ", question));
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST_F(QueryServiceTest, RetrieveGivesHitsAndLayersOnRequest) {
  v1::RetrieveRequest request;
  request.set_bank("b");
  request.set_question("who?");
  request.set_limit(5);
  request.set_with_text(true);
  v1::RetrieveResponse response;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(query().Retrieve(&context, request, &response).ok());
  }
  ASSERT_EQ(response.hits_size(), 1);
  EXPECT_EQ(response.hits(0).document_id(), "seven");
  EXPECT_EQ(response.hits(0).best_score(), 0.75F);
  EXPECT_EQ(response.hits(0).layers_size(), 0);
  EXPECT_EQ(response.layers_size(), 0);
  EXPECT_EQ(response.revision(), 5U);
  EXPECT_EQ(response.prompt_tokens(), 21);
  EXPECT_EQ(response.timings().total().nanos(), 12'000'000);
  EXPECT_FALSE(response.timings().has_time_to_first_token());
  EXPECT_EQ(engine().retrieve_requests().at(0).limit, 5);
  EXPECT_TRUE(engine().retrieve_requests().at(0).with_text);

  request.set_explain_layers(true);
  grpc::ClientContext context;
  ASSERT_TRUE(query().Retrieve(&context, request, &response).ok());
  ASSERT_EQ(response.hits(0).layers_size(), 2);
  EXPECT_EQ(response.hits(0).layers(1).layer(), 3);
  EXPECT_EQ(response.hits(0).layers(1).rank(), 1);
  ASSERT_EQ(response.layers_size(), 2);
  EXPECT_THAT(response.layers(0).numbers(), ElementsAre(9U, 7U));
  EXPECT_THAT(response.layers(0).scores(), ElementsAre(0.6F, 0.5F));
}

TEST_F(QueryServiceTest, RetrieveChecksItsRequest) {
  const auto refused = [this](const v1::RetrieveRequest& request) {
    grpc::ClientContext context;
    v1::RetrieveResponse response;
    return ErrorOf(query().Retrieve(&context, request, &response));
  };
  v1::RetrieveRequest request;
  EXPECT_EQ(refused(request).field, "bank");
  request.set_bank("b");
  EXPECT_EQ(refused(request).field, "question");
  request.set_question("q");
  request.set_limit(-1);
  EXPECT_EQ(refused(request).field, "limit");
  request.set_limit(1'000'000);
  EXPECT_EQ(refused(request).metadata.at("limit"), "10000");
  request.set_limit(0);
  request.set_bank("absent");
  EXPECT_EQ(refused(request).code, grpc::StatusCode::NOT_FOUND);
  request.set_bank("b");
  request.set_question("\xff");
  EXPECT_EQ(refused(request).reason, "INVALID_UTF8");
  engine().retrieve = [](const engine::RetrieveRequest&) {
    return absl::UnavailableError("rank 1 failed");
  };
  request.set_question("q");
  EXPECT_EQ(refused(request).code, grpc::StatusCode::UNAVAILABLE);
}

TEST_F(QueryServiceTest, CancelledRetrieveCancelsTheEnginesWork) {
  engine().HoldRetrieve();
  v1::RetrieveRequest request;
  request.set_bank("b");
  request.set_question("q");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  v1::RetrieveResponse response;
  EXPECT_EQ(query().Retrieve(&context, request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  // The server's side of the call ends only because the engine answers its cancellation.
  EXPECT_TRUE(WaitUntil([this] {
    return server().MetricsText().find("QueryService/Retrieve") != std::string::npos;
  }));
}

TEST_F(QueryServiceTest, CountTokensGivesTheCostOfADocument) {
  v1::CountTokensRequest request;
  request.set_text(std::string(130, 'x'));
  v1::CountTokensResponse response;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(query().CountTokens(&context, request, &response).ok());
  }
  EXPECT_EQ(response.tokens(), 130);
  EXPECT_EQ(response.chunks(), 3);
  EXPECT_EQ(response.router_key_bytes(), 30);
  EXPECT_EQ(response.content_bytes(), 60);
  request.set_text(std::string((64 << 10) + 1, 'x'));
  grpc::ClientContext context;
  EXPECT_EQ(ErrorOf(query().CountTokens(&context, request, &response)).reason,
            "DOCUMENT_TOO_LARGE");
}

}  // namespace
}  // namespace msa::server
