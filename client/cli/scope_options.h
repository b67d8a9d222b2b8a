#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"

namespace msa::client {

// Which documents a query may find: --filter, --document and --min-revision of `command` go into
// `request`, which outlives it.
template <class Request>
void AddScopeOptions(CLI::App* command, Request* request) {
  const std::string group = "Which documents may be found";
  command
      ->add_option_function<std::string>(
          "--filter", [=](const std::string& filter) { request->set_filter(filter); },
          "only what matches, as 'metadata.lang = \"en\" AND metadata.year >= 2020'")
      ->group(group);
  command
      ->add_option_function<std::vector<std::string>>(
          "--document",
          [=](const std::vector<std::string>& ids) {
            for (const std::string& id : ids) request->add_document_ids(id);
          },
          "only documents with this id; may be given several times")
      ->allow_extra_args(false)
      ->group(group);
  command
      ->add_option_function<uint64_t>(
          "--min-revision", [=](const uint64_t& v) { request->set_min_revision(v); },
          "fail unless the bank has reached this revision")
      ->group(group);
}

}  // namespace msa::client
