#include "tests/bench/bench_output.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace msa::bench {

void Stop(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(1);
}

void CheckOk(const absl::Status& status) {
  if (!status.ok()) Stop(status.ToString());
}

void WriteJson(const std::string& path, const nlohmann::ordered_json& results) {
  if (path.empty()) return;
  if (!(std::ofstream(path) << results.dump(1) << "\n").flush()) Stop(path + " cannot be written");
}

}  // namespace msa::bench
