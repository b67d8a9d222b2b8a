#pragma once

#include <cstdint>
#include <vector>

#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace msa::server {

// This process as the kernel accounts for it (/proc/self). Thread-safe.
class ProcessCollector : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

// Resident memory of this process in bytes; 0 when /proc cannot be read.
int64_t ResidentBytes();

}  // namespace msa::server
