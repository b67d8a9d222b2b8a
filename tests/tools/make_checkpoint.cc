// msa-make-checkpoint: writes a random checkpoint of a named geometry.

#include <cstdio>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "kernels/core/status_macros.h"
#include "tests/tools/random_checkpoint.h"

namespace {

using msa::kernels::DType;
using msa::tools::RandomCheckpointOptions;

constexpr char kUsage[] =
    "usage: msa-make-checkpoint --geometry tiny|0.6b|4b --seed N --out DIR\n"
    "                           [--tokenizer FILE|DIR] [--dtype bf16|f32|f16] [--shards N]\n";

absl::Status Set(const std::string& flag, const std::string& value,
                 RandomCheckpointOptions& options) {
  const absl::Status bad = absl::InvalidArgumentError(flag + " " + value + " is not allowed");
  if (flag == "--geometry") {
    options.geometry = value;
  } else if (flag == "--seed") {
    if (!absl::SimpleAtoi(value, &options.seed)) return bad;
  } else if (flag == "--out") {
    options.out = value;
  } else if (flag == "--tokenizer") {
    options.tokenizer = value;
  } else if (flag == "--dtype") {
    if (value != "bf16" && value != "f32" && value != "f16") return bad;
    options.dtype = value == "f32" ? DType::kF32 : value == "f16" ? DType::kF16 : DType::kBF16;
  } else if (flag == "--shards") {
    if (!absl::SimpleAtoi(value, &options.num_shards)) return bad;
  } else {
    return absl::InvalidArgumentError("unknown flag " + flag);
  }
  return absl::OkStatus();
}

absl::StatusOr<RandomCheckpointOptions> ParseFlags(int argc, char** argv) {
  RandomCheckpointOptions options;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return absl::InvalidArgumentError(std::string(argv[i]) + " needs a value");
    MSA_RETURN_IF_ERROR(Set(argv[i], argv[i + 1], options));
  }
  if (options.geometry.empty() || options.out.empty()) {
    return absl::InvalidArgumentError("--geometry and --out are needed");
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const absl::StatusOr<RandomCheckpointOptions> options = ParseFlags(argc, argv);
  if (!options.ok()) {
    std::fprintf(stderr, "msa-make-checkpoint: %s\n%s",
                 std::string(options.status().message()).c_str(), kUsage);
    return 2;
  }
  const absl::Status status = msa::tools::WriteRandomCheckpoint(*options);
  if (!status.ok()) {
    std::fprintf(stderr, "msa-make-checkpoint: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
