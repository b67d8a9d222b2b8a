#pragma once

#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/command_context.h"
#include "msa/v1/bank.pb.h"

// Each adds its part of the command line to `app`; parsing it sets `context->command`. Both must
// outlive the command.
namespace msa::client {

// bank create|list|get|update|delete|stats, and the next two groups
void AddBankCommands(CLI::App* app, CommandContext* context);
void AddBankJobCommands(CLI::App* bank, CommandContext* context);  // verify|compact|backup|…
void AddExportCommand(CLI::App* bank, CommandContext* context);    // bank export
void AddIngestCommand(CLI::App* app, CommandContext* context);     // ingest
void AddDocumentCommands(CLI::App* app, CommandContext* context);  // doc get|list|update|delete
void AddDocumentUpdateCommand(CLI::App* doc, CommandContext* context);
void AddAskCommand(CLI::App* app, CommandContext* context);       // ask
void AddRetrieveCommand(CLI::App* app, CommandContext* context);  // retrieve
void AddServerCommands(CLI::App* app, CommandContext* context);  // server info|health, count-tokens

// A positional argument of this name stands for --bank.
inline constexpr char kBankArgument[] = "BANK";

// A subcommand of `group` whose first argument names the bank, as in `bank get notes`.
CLI::App* AddBankVerb(CLI::App* group, const std::string& name, const std::string& help);

// A bank's settings, as a table or as JSON.
void PrintBank(const v1::Bank& bank, CommandContext* context);

// "2026-01-31 12:00:00", local time.
std::string FormatDate(const google::protobuf::Timestamp& timestamp);

// Makes `command` what `subcommand` does; `needs_bank`: without a bank it is a usage error.
void SetCommand(CLI::App* subcommand, CommandContext* context, bool needs_bank,
                std::function<ExitCode()> command);

}  // namespace msa::client
