#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "server/options.h"

namespace msa::server {

// One option: `section.key` in the file, MSA_SECTION__KEY in the environment, `flag` on the command
// line.
struct Option {
  std::string section;
  std::string key;
  std::string flag;         // "--port"
  std::string placeholder;  // what --help shows for the value; empty: a switch
  std::string help;
  // INVALID_ARGUMENT that ends a sentence beginning with the option's name.
  std::function<absl::Status(ServerOptions*, std::string_view)> set;
  std::function<std::string(const ServerOptions&)> get;

  std::string name() const { return section + "." + key; }
  std::string environment_name() const;
};

// Every option, in the order of sections.
const std::vector<Option>& OptionTable();

}  // namespace msa::server
