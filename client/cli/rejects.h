#pragma once

#include <cstdint>
#include <fstream>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "client/cli/command_context.h"
#include "client/cli/progress_bar.h"
#include "client/cli/source_document.h"

namespace msa::client {

// The documents that an ingest could not add: the first ones are named on stderr, all of them go to
// a file that ingest can read again, if there is one. Thread-safe.
class Rejects {
 public:
  static constexpr int64_t kMaxNamed = 10;

  // `bar` is cleared before a line is written. Both must outlive the rejects.
  Rejects(CommandContext* context, ProgressBar* bar) : context_(context), bar_(bar) {}

  // `append`: what the file holds stays; else it is replaced. Not thread-safe.
  absl::Status OpenFile(const std::string& path, bool append);

  // A document that the server or the splitter refused.
  void Add(const SourceDocument& document, const absl::Status& error);
  // A line that is no document; `error` names the place.
  void AddLine(const std::string& line, const std::string& where, const absl::Status& error);

  int64_t count() const;

  // Says how many were not named. DATA_LOSS when the file could not be written.
  absl::Status Close();

 private:
  void AddText(const std::string& message, const std::string& file_line);

  CommandContext* const context_;
  ProgressBar* const bar_;
  mutable std::mutex mutex_;
  std::string path_;
  std::ofstream file_;
  int64_t count_ = 0;
};

}  // namespace msa::client
