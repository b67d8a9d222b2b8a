// msa-server on the in-memory engine: the whole program but the model, for tests of its process and
// of clients.
//
// The model directory "broken" cannot be opened, and "large" takes an hour; with a model directory
// "failing" the engine fails when the first question comes, and with "slow" an answer never ends by
// itself.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/server_main.h"
#include "tests/server/fake_engine.h"

namespace {

absl::Status CheckModel(const std::string& model_dir) {
  if (model_dir != "broken") return absl::OkStatus();
  return absl::InvalidArgumentError("broken/config.json: hidden_size is -1;\nallowed: 1 and more");
}

absl::StatusOr<std::unique_ptr<msa::engine::Engine>> Open(const msa::engine::EngineOptions& options,
                                                          msa::engine::EngineObserver* observer) {
  const absl::Status model = CheckModel(options.model_dir);
  if (!model.ok()) return model;
  if (options.model_dir == "large") {
    std::cerr << "loading" << std::endl;
    absl::SleepFor(absl::Hours(1));
  }
  auto engine = std::make_unique<msa::server::FakeEngine>(options, observer);
  if (options.model_dir == "failing") {
    engine->admit = [fake = engine.get()](const std::string&) {
      fake->SetUnhealthy();
      return absl::UnavailableError("rank 0 failed");
    };
  }
  if (options.model_dir == "slow") {
    engine->answer = [](const msa::engine::GenerateRequest&,
                        const std::shared_ptr<msa::server::FakeAnswer>& answer) {
      answer->Push(msa::engine::StartedEvent{});
    };
  }
  return engine;
}

}  // namespace

int main(int argc, char** argv) {
  return msa::server::RunServer(
      argc, argv,
      {.open = Open, .check_model = CheckModel, .limit_instruction_set = [](std::string_view name) {
         if (name == "avx2") return absl::OkStatus();
         return absl::InvalidArgumentError(
             absl::StrCat("instruction set \"", std::string(name), "\" is not one of: avx2"));
       }});
}
