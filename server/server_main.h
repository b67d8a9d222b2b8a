#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace msa::server {

// What the program needs of the engine; a parameter so that the program runs on a stand-in in
// tests.
struct EngineEntryPoints {
  std::function<absl::StatusOr<std::unique_ptr<engine::Engine>>(const engine::EngineOptions&,
                                                                engine::EngineObserver*)>
      open;
  std::function<absl::Status(const std::string& model_dir)> check_model;  // for --check-config
  std::function<absl::Status(std::string_view name)> limit_instruction_set;
};

// Exit statuses of msa-server.
inline constexpr int kExitStopped = 0;    // also after SIGTERM or SIGINT
inline constexpr int kExitFailed = 1;     // could not start
inline constexpr int kExitUsage = 2;      // wrong options
inline constexpr int kExitUnhealthy = 3;  // the engine failed while serving

// Runs msa-server: reads options, opens the engine, serves until SIGTERM or SIGINT (then drains; a
// second one exits at once with 128 + its number) or until the engine fails. A signal before it
// serves exits at once. A start-up error is one line on stderr.
int RunServer(int argc, char** argv, const EngineEntryPoints& engine);

}  // namespace msa::server
