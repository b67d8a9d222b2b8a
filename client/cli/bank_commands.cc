#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/number_format.h"
#include "client/cli/table.h"
#include "client/cpp/error_details.h"

namespace msa::client {
namespace {

// "2026-01-31 12:00:00", local time.
std::string FormatDate(const google::protobuf::Timestamp& timestamp) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(timestamp.seconds()),
                          absl::LocalTimeZone());
}

std::string FormatBudget(int64_t tokens) { return tokens == 0 ? "none" : FormatCount(tokens); }

void PrintBank(const v1::Bank& bank, CommandContext* context) {
  if (context->json()) {
    context->PrintJson(MessageToJson(bank));
    return;
  }
  Table table({{""}, {""}});
  table.AddRow({"bank", bank.name()});
  if (!bank.settings().display_name().empty())
    table.AddRow({"display name", bank.settings().display_name()});
  table.AddRow({"token budget", FormatBudget(bank.settings().token_budget())});
  table.AddRow({"revision", absl::StrCat(bank.revision())});
  table.AddRow({"created", FormatDate(bank.create_time())});
  table.AddRow({"stored as", bank.dtype()});
  table.AddRow({"model", bank.model_fingerprint()});
  table.Print(context->out());
}

ExitCode CreateBank(const v1::BankSettings& settings, CommandContext* context) {
  const absl::StatusOr<v1::Bank> bank =
      context->client().CreateBank(context->options.bank, settings);
  if (!bank.ok()) return context->Report(bank.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*bank));
  } else {
    context->Remark(absl::StrCat("Created bank ", bank->name(), "."));
  }
  return kExitOk;
}

ExitCode ListBanks(CommandContext* context) {
  const absl::StatusOr<std::vector<v1::Bank>> banks = context->client().ListBanks();
  if (!banks.ok()) return context->Report(banks.status());
  using Align = Table::Align;
  Table table({{"bank"},
               {"revision", Align::kRight},
               {"token budget", Align::kRight},
               {"created"},
               {"display name"}});
  for (const v1::Bank& bank : *banks) {
    if (context->json()) context->PrintJson(MessageToJson(bank));
    table.AddRow({bank.name(), absl::StrCat(bank.revision()),
                  FormatBudget(bank.settings().token_budget()), FormatDate(bank.create_time()),
                  bank.settings().display_name()});
  }
  if (!context->json()) table.Print(context->out());
  return kExitOk;
}

ExitCode GetBank(CommandContext* context) {
  const absl::StatusOr<v1::Bank> bank = context->client().GetBank(context->options.bank);
  if (!bank.ok()) return context->Report(bank.status());
  PrintBank(*bank, context);
  return kExitOk;
}

// Asks on a terminal, when a bank is not empty; the answer is `no` elsewhere.
bool ConfirmDelete(const absl::Status& refusal, CommandContext* context) {
  if (refusal.code() != absl::StatusCode::kFailedPrecondition || !context->terminal().in_is_tty)
    return false;
  context->err() << refusal.message() << "\nDelete the bank with its documents? [y/N] "
                 << std::flush;
  std::string answer;
  std::getline(context->in(), answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

ExitCode DeleteBank(bool force, CommandContext* context) {
  const std::string& bank = context->options.bank;
  absl::Status status = context->client().DeleteBank(bank, force);
  if (!status.ok() && !force && ConfirmDelete(status, context)) {
    status = context->client().DeleteBank(bank, /*force=*/true);
  }
  if (!status.ok()) {
    const ExitCode code = context->Report(status);
    if (DetailsOf(status).reason == "BANK_NOT_EMPTY")
      context->Remark("--force deletes the bank with its documents.");
    return code;
  }
  if (context->json()) {
    context->PrintJson({{"deleted", bank}});
  } else {
    context->Remark(absl::StrCat("Deleted bank ", bank, "."));
  }
  return kExitOk;
}

ExitCode GetStats(CommandContext* context) {
  const absl::StatusOr<v1::BankStats> stats = context->client().GetBankStats(context->options.bank);
  if (!stats.ok()) return context->Report(stats.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*stats));
    return kExitOk;
  }
  Table table({{""}, {"", Table::Align::kRight}});
  table.AddRow({"documents", FormatCount(stats->documents())});
  table.AddRow({"  waiting to be encoded", FormatCount(stats->accepted_documents())});
  table.AddRow({"  failed", FormatCount(stats->failed_documents())});
  table.AddRow({"  deleted, not yet compacted", FormatCount(stats->tombstones())});
  table.AddRow({"tokens", FormatCount(stats->tokens())});
  table.AddRow({"  reserved", FormatCount(stats->reserved_tokens())});
  table.AddRow({"chunks", FormatCount(stats->chunks())});
  table.AddRow({"routing keys in memory", FormatBytes(stats->router_key_bytes())});
  table.AddRow({"ids and metadata in memory", FormatBytes(stats->index_bytes())});
  table.AddRow({"keys and values on disk", FormatBytes(stats->content_bytes())});
  table.AddRow({"texts on disk", FormatBytes(stats->text_bytes())});
  table.AddRow({"segments", FormatCount(stats->segments())});
  table.AddRow({"revision", absl::StrCat(stats->revision())});
  table.Print(context->out());
  context->out() << '\n';
  using Align = Table::Align;
  Table shards({{"shard", Align::kRight}, {"documents", Align::kRight}, {"chunks", Align::kRight}});
  for (const v1::ShardStats& shard : stats->shards()) {
    shards.AddRow(
        {absl::StrCat(shard.shard()), FormatCount(shard.documents()), FormatCount(shard.chunks())});
  }
  shards.Print(context->out());
  return kExitOk;
}

ExitCode CompactBank(CommandContext* context) {
  const auto response = context->client().CompactBank(context->options.bank);
  if (!response.ok()) return context->Report(response.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*response));
    return kExitOk;
  }
  context->Remark(absl::StrCat("Dropped ",
                               FormatNoun(response->dropped_documents(), "document", "documents"),
                               ", ", FormatBytes(response->freed_bytes()), "; ",
                               FormatNoun(response->segments(), "segment", "segments"), " now."));
  if (response->pinned_documents() > 0) {
    context->Remark(absl::StrCat(
        FormatNoun(response->pinned_documents(), "deleted document", "deleted documents"),
        " still seen by running queries; compact again later."));
  }
  return kExitOk;
}

// The bank is named by the first argument, as in `bank get notes`, or by --bank.
CLI::App* AddVerb(CLI::App* group, const std::string& name, const std::string& help) {
  CLI::App* verb = group->add_subcommand(name, help);
  verb->add_option(kBankArgument, "the bank; also --bank")->type_name("");
  return verb;
}

}  // namespace

void AddBankCommands(CLI::App* app, CommandContext* context) {
  CLI::App* group = app->add_subcommand("bank", "create, list, inspect, compact and delete banks");
  group->require_subcommand(1);

  CLI::App* create =
      AddVerb(group, "create", "create a bank; names have 1 to 64 characters of a-z 0-9 _ -");
  auto settings = std::make_shared<v1::BankSettings>();
  create->add_option_function<int64_t>(
      "--token-budget", [settings](const int64_t& tokens) { settings->set_token_budget(tokens); },
      "the most tokens that the bank may hold; 0: no limit");
  create->add_option_function<std::string>(
      "--display-name", [settings](const std::string& name) { settings->set_display_name(name); },
      "for people");
  SetCommand(create, context, /*needs_bank=*/true, [=] { return CreateBank(*settings, context); });

  CLI::App* list = group->add_subcommand("list", "all banks");
  SetCommand(list, context, /*needs_bank=*/false, [=] { return ListBanks(context); });

  CLI::App* get = AddVerb(group, "get", "a bank's settings");
  SetCommand(get, context, /*needs_bank=*/true, [=] { return GetBank(context); });

  CLI::App* remove =
      AddVerb(group, "delete", "delete a bank; asks on a terminal when it has documents");
  auto force = std::make_shared<bool>(false);
  remove->add_flag("--force", *force, "delete it with its documents, without asking");
  SetCommand(remove, context, /*needs_bank=*/true, [=] { return DeleteBank(*force, context); });

  CLI::App* stats =
      AddVerb(group, "stats", "documents, tokens, chunks, bytes and how they lie on the shards");
  SetCommand(stats, context, /*needs_bank=*/true, [=] { return GetStats(context); });

  CLI::App* compact = AddVerb(group, "compact",
                              "drop what was deleted from memory and disk, and wait for it");
  SetCommand(compact, context, /*needs_bank=*/true, [=] { return CompactBank(context); });
}

}  // namespace msa::client
