#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "msa/v1/admin_service.pb.h"

namespace msa::client {

// One line on a terminal that says how far a long command has come, drawn at most ten times a
// second. Does nothing when it is not enabled. Thread-safe.
class ProgressBar {
 public:
  // `out` must outlive the bar.
  ProgressBar(std::ostream* out, bool enabled);
  ~ProgressBar();  // clears the line

  // `fraction`: 0 to 1 of the work; negative: not known.
  void Update(int64_t num_documents, double fraction);

  void Update(const v1::JobProgress& progress);

  // Before anything else is written to the terminal; the next Update draws the line again.
  void Clear();

 private:
  void Draw(const std::function<std::string(absl::Duration elapsed)>& line);

  std::ostream* const out_;
  const bool enabled_;
  const absl::Time start_;
  std::mutex mutex_;
  absl::Time last_drawn_ = absl::InfinitePast();  // guarded by mutex_
  bool visible_ = false;                          // guarded by mutex_
};

// The line: "  1,234 documents  [=====     ]  45%  610/s  3.00 s left".
std::string ProgressLine(int64_t num_documents, double fraction, absl::Duration elapsed);

// The same for a long job: "  segments  1.5 GiB of 6.0 GiB  [=====     ]  25%  12.00 s".
std::string ProgressLine(const v1::JobProgress& progress, absl::Duration elapsed);

}  // namespace msa::client
