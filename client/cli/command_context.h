#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/exit_code.h"
#include "client/cli/terminal.h"
#include "client/cpp/client.h"
#include "nlohmann/json.hpp"

namespace msa::client {

enum class OutputFormat { kTable, kJson };

// The options that every command knows.
struct GlobalOptions {
  std::string server = ClientOptions{}.server;
  std::string bank;
  double timeout_seconds = 120;  // 0: none
  OutputFormat format = OutputFormat::kTable;
  bool quiet = false;
  bool no_progress = false;
};

// What one run of msactl works with. Used by one thread, but for Interrupt.
class CommandContext {
 public:
  explicit CommandContext(Terminal terminal) : terminal_(terminal) {}

  GlobalOptions options;
  RetryPolicy retry;  // of calls
  // What the command line asks for; set while it is parsed, called once after that. Returns the
  // exit code.
  std::function<ExitCode()> command;

  // Connected with its first call.
  Client& client();
  absl::Duration timeout() const;
  bool json() const { return options.format == OutputFormat::kJson; }
  bool shows_progress() const;

  std::istream& in() { return *terminal_.in; }
  std::ostream& out() { return *terminal_.out; }
  std::ostream& err() { return *terminal_.err; }
  const Terminal& terminal() const { return terminal_; }

  void PrintJson(const nlohmann::ordered_json& json);  // one line
  void Remark(const std::string& text);                // one line on err, unless --quiet

  // One line on err, none when the user interrupted. Returns the exit code that fits.
  ExitCode Report(const absl::Status& error);

  // Ends what runs. Callable from any thread.
  void Interrupt();
  bool interrupted() const;

 private:
  const Terminal terminal_;
  mutable std::mutex mutex_;
  std::unique_ptr<Client> client_;  // made and read under mutex_, then used without
  bool interrupted_ = false;        // guarded by mutex_
};

}  // namespace msa::client
