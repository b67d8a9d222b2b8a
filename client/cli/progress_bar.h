#pragma once

#include <cstdint>
#include <mutex>
#include <ostream>
#include <string>

#include "absl/time/time.h"

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

  // Before anything else is written to the terminal; the next Update draws the line again.
  void Clear();

 private:
  std::ostream* const out_;
  const bool enabled_;
  const absl::Time start_;
  std::mutex mutex_;
  absl::Time last_drawn_ = absl::InfinitePast();  // guarded by mutex_
  bool visible_ = false;                          // guarded by mutex_
};

// The line: "  1,234 documents  [=====     ]  45%  610/s  3.00 s left".
std::string ProgressLine(int64_t num_documents, double fraction, absl::Duration elapsed);

}  // namespace msa::client
