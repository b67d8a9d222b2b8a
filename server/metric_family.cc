#include "server/metric_family.h"

namespace msa::server {

prometheus::MetricFamily MakeFamily(Metric metric) {
  const MetricSpec& spec = SpecOf(metric);
  prometheus::MetricFamily family;
  family.name = std::string(spec.name);
  family.help = std::string(spec.help);
  family.type = spec.kind == MetricKind::kCounter ? prometheus::MetricType::Counter
                                                  : prometheus::MetricType::Gauge;
  return family;
}

void AddValue(prometheus::MetricFamily* family, const LabelValues& labels, double value) {
  prometheus::ClientMetric metric;
  for (const auto& [name, text] : labels) metric.label.push_back({name, text});
  metric.counter.value = value;
  metric.gauge.value = value;
  family->metric.push_back(std::move(metric));
}

prometheus::MetricFamily MakeFamily(Metric metric, double value) {
  prometheus::MetricFamily family = MakeFamily(metric);
  AddValue(&family, {}, value);
  return family;
}

}  // namespace msa::server
