#include "client/cli/limit_options.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace msa::client {

void AddLimitOptions(CLI::App* command, const std::string& group, const std::string& otherwise,
                     const std::function<v1::GenerationLimits*()>& limits) {
  const auto help = [&otherwise](const char* what, const char* usual) {
    return absl::StrCat(what, " (default ", otherwise, usual, ")");
  };
  command
      ->add_option_function<int32_t>(
          "--max-tokens", [=](const int32_t& v) { limits()->set_max_answer_tokens(v); },
          help("of the answer", "512"))
      ->group(group);
  command
      ->add_option_function<int32_t>(
          "--max-rounds", [=](const int32_t& v) { limits()->set_max_rounds(v); },
          help("rounds of routing", "8"))
      ->group(group);
  command
      ->add_option_function<int32_t>(
          "--max-citations", [=](const int32_t& v) { limits()->set_max_citations(v); },
          help("documents cited per round", "16"))
      ->group(group);
  command
      ->add_option_function<int32_t>(
          "--max-retrieval-tokens",
          [=](const int32_t& v) { limits()->set_max_retrieval_tokens(v); },
          help("written per round before it is cut", "256"))
      ->group(group);
  command
      ->add_option_function<int64_t>(
          "--max-expansion-bytes", [=](const int64_t& v) { limits()->set_max_expansion_bytes(v); },
          help("of cited text over all rounds", "1 MiB"))
      ->group(group);
}

}  // namespace msa::client
