#pragma once

#include <cstdint>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/memory/documents/document.h"
#include "msa/v1/memory_service.pb.h"

namespace msa::server {

// What became of the documents of one ingest stream, as its messages. Not thread-safe.
class IngestReport {
 public:
  // Counts the result.
  v1::IngestDocumentsResponse Add(const engine::IngestResult& result, uint64_t sequence);

  v1::IngestDocumentsResponse Summary(uint64_t revision) const;

 private:
  const absl::Time start_time_ = absl::Now();
  v1::IngestSummary summary_;
};

}  // namespace msa::server
