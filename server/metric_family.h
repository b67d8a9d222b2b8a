#pragma once

#include <string>
#include <utility>
#include <vector>

#include "prometheus/metric_family.h"
#include "server/metric_table.h"

namespace msa::server {

using LabelValues = std::vector<std::pair<std::string, std::string>>;

// A family of the metric table without values, for collectors that read values at each scrape.
// Counters and gauges only.
prometheus::MetricFamily MakeFamily(Metric metric);

void AddValue(prometheus::MetricFamily* family, const LabelValues& labels, double value);

// A family with one value without labels.
prometheus::MetricFamily MakeFamily(Metric metric, double value);

}  // namespace msa::server
