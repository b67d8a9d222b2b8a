#pragma once

#include "CLI/CLI.hpp"
#include "client/cli/command_context.h"

// Each adds its part of the command line to `app`; parsing it sets `context->command`. Both must
// outlive the command.
namespace msa::client {

void AddBankCommands(CLI::App* app, CommandContext* context);   // bank create|list|get|delete|stats
void AddIngestCommand(CLI::App* app, CommandContext* context);  // ingest
void AddDocumentCommands(CLI::App* app, CommandContext* context);  // doc get|list|delete
void AddAskCommand(CLI::App* app, CommandContext* context);        // ask
void AddRetrieveCommand(CLI::App* app, CommandContext* context);   // retrieve
void AddServerCommands(CLI::App* app, CommandContext* context);  // server info|health, count-tokens

// A positional argument of this name stands for --bank.
inline constexpr char kBankArgument[] = "BANK";

// Makes `command` what `subcommand` does; `needs_bank`: without a bank it is a usage error.
void SetCommand(CLI::App* subcommand, CommandContext* context, bool needs_bank,
                std::function<ExitCode()> command);

}  // namespace msa::client
