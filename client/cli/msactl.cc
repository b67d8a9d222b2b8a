#include "client/cli/msactl.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/option_checks.h"
#include "client/cli/utf8.h"

namespace msa::client {
namespace {

constexpr char kDescription[] =
    "Works with a memory bank server: banks, documents, questions.\n"
    "Data goes to stdout (with --format json one JSON value per line, numbers as they are), all "
    "else to stderr.\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part, 4 server unavailable or out of "
    "time, 130 interrupted.";

void AddGlobalOptions(CLI::App* app, GlobalOptions* options) {
  app->add_option("-s,--server", options->server, "host:port of the server")
      ->envname("MSA_SERVER")
      ->check(CLI::Validator(
          [](const std::string& value) {
            return value.empty() ? std::string("is empty; allowed: host:port or unix:PATH")
                                 : std::string();
          },
          ""))
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app->add_option("-b,--bank", options->bank, "the bank to work with")
      ->envname("MSA_BANK")
      ->type_name("BANK");
  app->add_option("--timeout", options->timeout_seconds,
                  "seconds for each call, for a whole answer, and for an ingest without progress; "
                  "0: no limit")
      ->check(AtLeast(0))
      ->type_name("SECONDS")
      ->capture_default_str();
  app->add_option("--format", options->format, "how results are printed: table or json")
      ->transform(OneOf({{"table", static_cast<int>(OutputFormat::kTable)},
                         {"json", static_cast<int>(OutputFormat::kJson)}}))
      ->type_name("table|json")
      ->default_str("table");
  app->add_flag("-q,--quiet", options->quiet,
                "only data and errors: no summaries, remarks and progress");
  app->add_flag("--no-progress", options->no_progress, "no progress bar");
}

}  // namespace

void SetCommand(CLI::App* subcommand, CommandContext* context, bool needs_bank,
                std::function<ExitCode()> command) {
  subcommand->callback([subcommand, context, needs_bank, command = std::move(command)] {
    const CLI::Option* name = subcommand->get_option_no_throw(kBankArgument);
    if (name != nullptr && !name->empty()) context->options.bank = name->as<std::string>();
    if (needs_bank && context->options.bank.empty()) {
      throw CLI::RequiredError("--bank (or the environment variable MSA_BANK)");
    }
    context->command = command;
  });
}

ExitCode RunMsactl(const std::vector<std::string>& arguments, CommandContext* context) {
  CLI::App app(kDescription, "msactl");
  app.fallthrough();  // global options may also follow the command
  app.require_subcommand(1);
  app.set_version_flag("--version", absl::StrCat("msactl ", MSA_VERSION),
                       "print the version and exit");
  AddGlobalOptions(&app, &context->options);
  AddBankCommands(&app, context);
  AddIngestCommand(&app, context);
  AddDocumentCommands(&app, context);
  AddAskCommand(&app, context);
  AddRetrieveCommand(&app, context);
  AddServerCommands(&app, context);

  for (size_t i = 0; i < arguments.size(); ++i) {
    if (FirstInvalidUtf8Byte(arguments[i]) == std::string::npos) continue;
    context->err() << "msactl: argument " << i + 1 << " is not UTF-8" << std::endl;
    return kExitUsage;
  }
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(),
                                       arguments.rend()));  // CLI11 takes them from the back
  } catch (const CLI::Success& wanted) {                    // --help, --version
    app.exit(wanted, context->out(), context->err());
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
    const std::string what =
        unknown.empty() ? error.what() : absl::StrCat("unknown argument: ", unknown.front());
    context->err() << "msactl: " << what << "\nTry: msactl --help" << std::endl;
    return kExitUsage;
  }
  return context->command();
}

}  // namespace msa::client
