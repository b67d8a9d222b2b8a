#include "server/server_main.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/core/status_macros.h"
#include "server/command_line.h"
#include "server/log.h"
#include "server/port_probe.h"
#include "server/problem_log.h"
#include "server/server.h"
#include "server/version.h"

namespace msa::server {
namespace {

constexpr absl::Duration kHealthInterval = absl::Milliseconds(200);

int Fail(int exit_status, const absl::Status& status) {
  std::string line(status.message().data(), status.message().size());
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  std::cerr << "msa-server: " << line << std::endl;
  return exit_status;
}

void SetUpLog(const ServerOptions::Observability& options) {
  const std::string& level = options.log_level;
  ConfigureLog(options.log_format == "json" ? LogFormat::kJson : LogFormat::kText,
               level == "debug"     ? LogLevel::kDebug
               : level == "warning" ? LogLevel::kWarning
               : level == "error"   ? LogLevel::kError
                                    : LogLevel::kInfo);
}

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// The signal that came within `wait`, or 0.
int WaitForSignal(absl::Duration wait) {
  const sigset_t signals = StopSignals();
  const timespec timeout = absl::ToTimespec(wait);
  const int signal = sigtimedwait(&signals, nullptr, &timeout);
  return signal > 0 ? signal : 0;
}

// Complete or absent: a script that waits for the file never reads half of it.
absl::Status WritePortFile(const std::string& path, const Server& server) {
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::trunc);
  file << "grpc " << server.port() << "\n";
  if (server.metrics_port() != 0) file << "metrics " << server.metrics_port() << "\n";
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot write the port file ", path));
  }
  return absl::OkStatus();
}

void LogStart(const ServerOptions& options, const engine::EngineInfo& info, const Server& server,
              absl::Duration took) {
  const auto& observability = options.observability;
  Log(LogLevel::kInfo, "serving",
      {{"version", std::string(Version())},
       {"model", info.model.name},
       {"shards", int64_t{info.num_shards}},
       {"threads", int64_t{info.num_threads}},
       {"device", info.device},
       {"instruction_set", info.instruction_set},
       {"compute", info.compute_dtype},
       {"bank", info.bank_dtype},
       {"grpc", JoinHostPort(options.listen.host, server.port())},
       {"metrics", server.metrics_port() == 0
                       ? std::string("off")
                       : JoinHostPort(observability.metrics_host, server.metrics_port())},
       {"data_dir", options.memory.data_dir},
       {"start", absl::FormatDuration(absl::Trunc(took, absl::Milliseconds(1)))}});
}

std::string NameOfSignal(int signal) { return signal == SIGTERM ? "SIGTERM" : "SIGINT"; }

// Runs `work` on another thread, because a signal meanwhile must end the process at once:
// `on_signal` says how, and with which status. What was acknowledged is on disk, and the lock of
// the data directory goes with the process.
void RunUnlessSignalled(const std::function<void()>& work,
                        const std::function<int(int signal)>& on_signal) {
  std::atomic<bool> done{false};
  std::thread worker([&] {
    work();
    done.store(true);
  });
  while (!done.load()) {
    const int signal = WaitForSignal(absl::Milliseconds(20));
    if (signal != 0) _exit(on_signal(signal));
  }
  worker.join();
}

// Loading a model and opening its banks may take minutes; nothing of it is worth waiting for.
absl::StatusOr<std::unique_ptr<engine::Engine>> OpenOrQuit(const ServerOptions& options,
                                                           const EngineEntryPoints& entry_points,
                                                           ServerMetrics* metrics) {
  absl::StatusOr<std::unique_ptr<engine::Engine>> engine;
  RunUnlessSignalled(
      [&] { engine = entry_points.open(ToEngineOptions(options), metrics); },
      [](int signal) {
        Log(LogLevel::kInfo, "stopped while starting", {{"signal", NameOfSignal(signal)}});
        return kExitStopped;
      });
  return engine;
}

void DrainOrQuit(Server* server, absl::Duration grace) {
  RunUnlessSignalled([&] { server->Drain(grace); },
                     [](int signal) {
                       Log(LogLevel::kWarning, "signal while draining, quitting at once",
                           {{"signal", NameOfSignal(signal)}});
                       return 128 + signal;
                     });
}

int ServeUntilStopped(const ServerOptions& options, Server* server) {
  while (true) {
    const int signal = WaitForSignal(kHealthInterval);
    if (signal != 0) {
      Log(LogLevel::kInfo, "draining",
          {{"signal", NameOfSignal(signal)}, {"grace", absl::FormatDuration(options.drain.grace)}});
      DrainOrQuit(server, options.drain.grace);
      return kExitStopped;
    }
    if (server->CheckEngine()) {
      Log(LogLevel::kError, "the engine failed; exiting");
      DrainOrQuit(server, options.drain.grace);
      return kExitUnhealthy;
    }
  }
}

absl::Status CheckPorts(const ServerOptions& options) {
  MSA_RETURN_IF_ERROR(CheckPortIsFree("gRPC", options.listen.host, options.listen.port));
  if (!options.observability.metrics) return absl::OkStatus();
  return CheckPortIsFree("metrics", options.observability.metrics_host,
                         options.observability.metrics_port);
}

int Serve(const ServerOptions& options, const EngineEntryPoints& entry_points) {
  const absl::Time start = absl::Now();
  // Before any thread starts, so that all inherit it and only WaitForSignal gets these signals.
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  // Before the model is loaded, which may take minutes.
  const absl::Status ports = CheckPorts(options);
  if (!ports.ok()) return Fail(kExitFailed, ports);
  ProblemLog metrics;
  absl::StatusOr<std::unique_ptr<engine::Engine>> engine =
      OpenOrQuit(options, entry_points, &metrics);
  if (!engine.ok()) return Fail(kExitFailed, engine.status());
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options, engine->get(), &metrics);
  if (!server.ok()) return Fail(kExitFailed, server.status());
  if (!options.listen.port_file.empty()) {
    const absl::Status written = WritePortFile(options.listen.port_file, **server);
    if (!written.ok()) return Fail(kExitFailed, written);
  }
  LogStart(options, (*engine)->info(), **server, absl::Now() - start);
  const int exit_status = ServeUntilStopped(options, server->get());
  // The metrics endpoint takes up to two seconds to end its threads; only then are the ports free.
  server->reset();
  engine->reset();
  Log(LogLevel::kInfo, "stopped");
  return exit_status;
}

absl::Status CheckConfig(const ServerOptions& options, const EngineEntryPoints& engine) {
  MSA_RETURN_IF_ERROR(CheckOptions(options));
  if (!options.model.instruction_set.empty()) {
    MSA_RETURN_IF_ERROR(engine.limit_instruction_set(options.model.instruction_set));
  }
  return absl::OkStatus();
}

}  // namespace

int RunServer(int argc, char** argv, const EngineEntryPoints& engine) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  absl::StatusOr<CommandLine> parsed = ParseCommandLine(arguments, environment);
  if (!parsed.ok()) return Fail(kExitUsage, parsed.status());
  switch (parsed->action) {
    case CommandLine::Action::kPrintHelp:
      std::cout << parsed->help;
      return kExitStopped;
    case CommandLine::Action::kPrintVersion:
      std::cout << "msa-server " << Version() << "\n";
      return kExitStopped;
    case CommandLine::Action::kPrintConfig:
      std::cout << FormatConfig(*parsed);
      return kExitStopped;
    case CommandLine::Action::kCheckConfig:
    case CommandLine::Action::kServe:
      break;
  }
  SetUpLog(parsed->options.observability);
  const absl::Status checked = CheckConfig(parsed->options, engine);
  if (!checked.ok()) return Fail(kExitUsage, checked);
  if (parsed->action == CommandLine::Action::kServe) return Serve(parsed->options, engine);
  const absl::Status model = engine.check_model(parsed->options.model.dir);
  if (!model.ok()) return Fail(kExitFailed, model);
  std::cout << "the configuration is valid\n";
  return kExitStopped;
}

}  // namespace msa::server
