#include "server/command_line.h"

#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"
#include "server/config_file.h"
#include "server/option_table.h"
#include "server/option_value.h"

namespace msa::server {
namespace {

struct Flags {
  std::string config;
  bool help = false;
  bool version = false;
  bool print_config = false;
  bool check_config = false;
  std::map<std::string, std::string> values;  // option name -> text
};

std::string DidYouMean(const std::string& text, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(text, candidates);
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?");
}

std::vector<std::string> AllFlags() {
  std::vector<std::string> flags = {"--config", "--help", "--version", "--print-config",
                                    "--check-config"};
  for (const Option& option : OptionTable()) {
    flags.push_back(option.flag);
    if (option.placeholder.empty()) flags.push_back("--no-" + option.flag.substr(2));
  }
  return flags;
}

std::string HelpOf(const Option& option) {
  std::string help = absl::StrCat(option.help, " [", option.name());
  const std::string standard = option.get(ServerOptions{});
  if (!standard.empty()) absl::StrAppend(&help, " = ", standard);
  return help + "]";
}

void AddFlags(CLI::App* app, Flags* flags) {
  app->set_help_flag("");
  app->allow_extras();
  app->add_flag("-h,--help", flags->help, "print this");
  app->add_flag("--version", flags->version, "print the version");
  app->add_option("--config", flags->config,
                  "YAML file with sections and keys as in the brackets below")
      ->type_name("FILE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app->add_flag("--print-config", flags->print_config,
                "print the options in effect and where each comes from");
  app->add_flag("--check-config", flags->check_config,
                "check options and model, then exit without starting");
  for (const Option& option : OptionTable()) {
    const std::string name = option.name();
    if (option.placeholder.empty()) {
      const auto set = [flags, name](bool value) {
        flags->values[name] = value ? "true" : "false";
      };
      const std::string both = absl::StrCat(option.flag, ",!--no-", option.flag.substr(2));
      app->add_flag_function(
             both, [set](int64_t count) { set(count > 0); }, HelpOf(option))
          ->group(option.section);
    } else {
      app->add_option_function<std::string>(
             option.flag, [flags, name](const std::string& value) { flags->values[name] = value; },
             HelpOf(option))
          ->type_name(option.placeholder)
          ->group(option.section)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
  }
}

absl::Status ParseFlags(CLI::App* app, std::vector<std::string> arguments) {
  try {                                                // CLI11 reports by exceptions
    std::reverse(arguments.begin(), arguments.end());  // as its vector overload wants them
    app->parse(arguments);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  for (const std::string& extra : app->remaining()) {
    if (extra.starts_with("-")) {
      const std::string flag = extra.substr(0, extra.find('='));
      return absl::InvalidArgumentError(
          absl::StrCat("unknown flag ", flag, DidYouMean(flag, AllFlags())));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected argument \"", extra, "\"; options start with --"));
  }
  return absl::OkStatus();
}

const Option* FindOption(const std::string& name) {
  for (const Option& option : OptionTable()) {
    if (option.name() == name) return &option;
  }
  return nullptr;
}

absl::Status Apply(const Option& option, const std::string& value, const std::string& shown_name,
                   const std::string& source, CommandLine* out) {
  const absl::Status status = option.set(&out->options, value);
  if (!status.ok())
    return absl::InvalidArgumentError(absl::StrCat(shown_name, " ", status.message()));
  out->sources[option.name()] = source;
  return absl::OkStatus();
}

absl::Status ApplyFile(const std::string& path, CommandLine* out) {
  MSA_ASSIGN_OR_RETURN(const auto entries, ReadConfigFile(path));
  std::vector<std::string> names;
  for (const Option& option : OptionTable()) names.push_back(option.name());
  for (const auto& [name, value] : entries) {
    const Option* option = FindOption(name);
    if (option == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": unknown key ", name, DidYouMean(name, names)));
    }
    MSA_RETURN_IF_ERROR(Apply(*option, value, absl::StrCat(path, ": ", name), "file", out));
  }
  return absl::OkStatus();
}

absl::Status ApplyEnvironment(const std::vector<std::string>& environment, CommandLine* out) {
  std::map<std::string, const Option*> known;
  std::vector<std::string> names;
  for (const Option& option : OptionTable()) {
    known[option.environment_name()] = &option;
    names.push_back(option.environment_name());
  }
  for (const std::string& entry : environment) {
    const size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    // Other MSA_ variables belong to other programs, such as MSA_SERVER of msactl.
    if (!name.starts_with("MSA_") || name.find("__") == std::string::npos) continue;
    const auto found = known.find(name);
    if (found == known.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown environment variable ", name, DidYouMean(name, names)));
    }
    const std::string value = equals == std::string::npos ? "" : entry.substr(equals + 1);
    MSA_RETURN_IF_ERROR(Apply(*found->second, value, name, "environment", out));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments,
                                             const std::vector<std::string>& environment) {
  CLI::App app("Serves language models with Memory Sparse Attention over gRPC.", "msa-server");
  app.footer(
      "Every option can also be set as MSA_SECTION__KEY in the environment or in the --config "
      "file; a flag wins over the\n"
      "environment, the environment over the file.");
  Flags flags;
  AddFlags(&app, &flags);
  MSA_RETURN_IF_ERROR(ParseFlags(&app, arguments));

  CommandLine out;
  if (flags.help) {
    out.action = CommandLine::Action::kPrintHelp;
    out.help = app.help();
    return out;
  }
  if (flags.version) {
    out.action = CommandLine::Action::kPrintVersion;
    return out;
  }
  if (!flags.config.empty()) MSA_RETURN_IF_ERROR(ApplyFile(flags.config, &out));
  MSA_RETURN_IF_ERROR(ApplyEnvironment(environment, &out));
  for (const auto& [name, value] : flags.values) {
    const Option* option = FindOption(name);
    MSA_RETURN_IF_ERROR(Apply(*option, value, option->flag, "flag", &out));
  }
  if (flags.print_config) out.action = CommandLine::Action::kPrintConfig;
  if (flags.check_config) out.action = CommandLine::Action::kCheckConfig;
  return out;
}

std::string FormatConfig(const CommandLine& command_line) {
  std::string text;
  std::string section;
  for (const Option& option : OptionTable()) {
    if (option.section != section) {
      section = option.section;
      absl::StrAppend(&text, section, ":\n");
    }
    std::string value = option.get(command_line.options);
    if (value.empty() || value.find_first_of(":#\"'{}[]&*!|>%@` ") != std::string::npos) {
      std::string quoted = "'";
      for (const char c : value) quoted += c == '\'' ? "''" : std::string(1, c);
      value = quoted + "'";
    }
    const auto source = command_line.sources.find(option.name());
    absl::StrAppend(&text, "  ", option.key, ": ", value, "  # ",
                    source == command_line.sources.end() ? "default" : source->second, "\n");
  }
  return text;
}

}  // namespace msa::server
