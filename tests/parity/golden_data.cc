#include "tests/parity/golden_data.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

namespace msa::parity {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void Stop(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(2);
}

}  // namespace

nlohmann::json ReadJson(const std::string& path) {
  std::ifstream in(path);
  if (!in) Stop("cannot read " + path);
  nlohmann::json parsed = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) Stop(path + " is not JSON");
  return parsed;
}

GoldenData::GoldenData(const std::string& directory)
    : directory_(directory),
      golden_(ReadJson(directory + "/golden.json")),
      generation_(ReadJson(directory + "/generation.json")) {
  std::vector<std::string> names{"golden.safetensors"};
  if (fs::exists(directory + "/variants.json")) {
    variants_ = ReadJson(directory + "/variants.json");
    names.push_back("variants.safetensors");
  }
  for (const std::string& name : names) {
    auto file = engine::SafetensorsFile::Open(directory + "/" + name);
    if (!file.ok()) Stop(std::string(file.status().message()));
    files_.push_back(*std::move(file));
  }
  if (checkpoints().empty()) Stop(directory + " has neither checkpoint/ nor checkpoint-sharded/");
}

bool GoldenData::Has(const std::string& tensor) const {
  return std::any_of(files_.begin(), files_.end(),
                     [&](const auto& f) { return f->tensors().contains(tensor); });
}

std::vector<float> GoldenData::Tensor(const std::string& name) const {
  for (const auto& file : files_) {
    const auto it = file->tensors().find(name);
    if (it == file->tensors().end()) continue;
    if (it->second.dtype_name != "F32") Stop(name + " is not F32");
    std::vector<float> values(it->second.bytes.size() / sizeof(float));
    if (!values.empty())
      std::memcpy(values.data(), it->second.bytes.data(), it->second.bytes.size());
    return values;
  }
  Stop("no golden tensor " + name);
}

std::vector<std::string> GoldenData::checkpoints() const {
  std::vector<std::string> found;
  for (const char* name : {"checkpoint", "checkpoint-sharded"}) {
    if (fs::exists(directory_ + "/" + name)) found.push_back(directory_ + "/" + name);
  }
  return found;
}

std::string CheckpointWith(const std::string& checkpoint, const nlohmann::json& msa_config,
                           const std::string& name) {
  const fs::path to =
      fs::temp_directory_path() / ("msa_parity_" + std::to_string(::getpid())) / name;
  fs::remove_all(to);
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    fs::copy_file(entry.path(), to / entry.path().filename());
  }
  nlohmann::json config = ReadJson(checkpoint + "/config.json");
  config["msa_config"].update(msa_config);
  std::ofstream(to / "config.json") << config.dump(1);
  return to;
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= largest)) largest = difference;  // NaN sticks
  }
  return largest;
}

}  // namespace msa::parity
