#include "client/cli/command_context.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/error_details.h"

namespace msa::client {

Client& CommandContext::client() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (client_ == nullptr) {
    ClientOptions client_options;
    client_options.server = options.server;
    client_options.timeout = timeout();
    client_options.retry = retry;
    client_ = *Client::Create(std::move(client_options));  // the parser refused an empty address
    if (interrupted_) client_->Cancel();
  }
  return *client_;
}

absl::Duration CommandContext::timeout() const {
  return options.timeout_seconds > 0 ? absl::Seconds(options.timeout_seconds)
                                     : absl::InfiniteDuration();
}

bool CommandContext::shows_progress() const {
  return terminal_.err_is_tty && !options.quiet && !options.no_progress;
}

void CommandContext::PrintJson(const nlohmann::ordered_json& json) {
  out() << json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << std::endl;
}

void CommandContext::Remark(const std::string& text) {
  if (!options.quiet) err() << text << std::endl;
}

ExitCode CommandContext::Report(const absl::Status& error) {
  out().flush();
  if (interrupted()) return kExitInterrupted;
  err() << "msactl: " << DescribeError(error);
  const bool met_no_server =
      error.code() == absl::StatusCode::kUnavailable && DetailsOf(error).reason.empty();
  if (met_no_server) err() << " (server " << options.server << "; --server names another)";
  err() << std::endl;
  return ExitCodeOf(error);
}

void CommandContext::Interrupt() {
  std::lock_guard<std::mutex> lock(mutex_);
  interrupted_ = true;
  if (client_ != nullptr) client_->Cancel();
}

bool CommandContext::interrupted() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return interrupted_;
}

}  // namespace msa::client
