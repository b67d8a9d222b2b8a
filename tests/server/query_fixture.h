#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/server/server_fixture.h"

namespace msa::server {

// Questions to a server whose engine answers by a script, or as the test tells it.
class QueryServiceTest : public ServerFixture {
 protected:
  static v1::GenerateRequest Question(const std::string& question = "who?") {
    v1::GenerateRequest request;
    request.set_bank("b");
    request.set_question(question);
    return request;
  }

  CallError Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    auto reader = query().Generate(&context, request);
    events_.clear();
    v1::GenerateResponse event;
    while (reader->Read(&event)) events_.push_back(event);
    return ErrorOf(reader->Finish());
  }

  // From now on an answer sends `started` and then waits for the test.
  void AnswerByHand() {
    engine().answer = [this](const engine::GenerateRequest&, std::shared_ptr<FakeAnswer> answer) {
      answer->Push(engine::StartedEvent{1, 10, 2, absl::ZeroDuration()});
      const std::lock_guard lock(mutex_);
      answer_ = std::move(answer);
    };
  }
  std::shared_ptr<FakeAnswer> WaitForAnswer() {
    std::shared_ptr<FakeAnswer> answer;
    EXPECT_TRUE(WaitUntil([&] {
      const std::lock_guard lock(mutex_);
      answer = answer_;
      return answer != nullptr;
    }));
    return answer;
  }

  std::vector<v1::GenerateResponse> events_;
  std::mutex mutex_;
  std::shared_ptr<FakeAnswer> answer_;
};

}  // namespace msa::server
