#include "server/process_collector.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

#include "server/metric_family.h"

namespace msa::server {
namespace {

struct ProcStat {
  double cpu_seconds = 0;
  double threads = 0;
  double start_ticks = 0;
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

// Fields of proc(5)'s /proc/[pid]/stat, counted after the command's closing bracket: the state is
// field 3.
ProcStat ReadStat() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  const size_t bracket = line.rfind(')');
  ProcStat stat;
  if (bracket == std::string::npos) return stat;
  std::istringstream rest(line.substr(bracket + 1));
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  std::string word;
  for (int field = 3; rest >> word; ++field) {
    const auto value = [&] { return std::strtod(word.c_str(), nullptr); };
    if (field == 14 || field == 15) stat.cpu_seconds += value() / ticks;
    if (field == 20) stat.threads = value();
    if (field == 22) stat.start_ticks = value() / ticks;
    if (field == 23) stat.virtual_bytes = value();
    if (field == 24) stat.resident_bytes = value() * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
  return stat;
}

double BootTime() {
  std::ifstream file("/proc/stat");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("btime ")) return std::strtod(line.c_str() + 6, nullptr);
  }
  return 0;
}

double CountOpenFiles() {
  std::error_code error;
  const std::filesystem::directory_iterator files("/proc/self/fd", error);
  return error ? 0 : static_cast<double>(std::distance(begin(files), end(files)));
}

}  // namespace

int64_t ResidentBytes() { return static_cast<int64_t>(ReadStat().resident_bytes); }

std::vector<prometheus::MetricFamily> ProcessCollector::Collect() const {
  const ProcStat stat = ReadStat();
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  std::vector<prometheus::MetricFamily> families;
  families.push_back(MakeFamily(Metric::kProcessCpu, stat.cpu_seconds));
  families.push_back(MakeFamily(Metric::kProcessResident, stat.resident_bytes));
  families.push_back(MakeFamily(Metric::kProcessVirtual, stat.virtual_bytes));
  families.push_back(MakeFamily(Metric::kProcessOpenFds, CountOpenFiles()));
  families.push_back(MakeFamily(Metric::kProcessMaxFds, static_cast<double>(files.rlim_cur)));
  families.push_back(MakeFamily(Metric::kProcessThreads, stat.threads));
  families.push_back(MakeFamily(Metric::kProcessStart, BootTime() + stat.start_ticks));
  return families;
}

}  // namespace msa::server
