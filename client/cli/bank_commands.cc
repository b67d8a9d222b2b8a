#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/limit_options.h"
#include "client/cli/message_json.h"
#include "client/cli/number_format.h"
#include "client/cli/table.h"
#include "client/cpp/error_details.h"

namespace msa::client {
namespace {

constexpr char kLimitGroup[] = "For questions that do not say otherwise";

std::string FormatBudget(int64_t tokens) { return tokens == 0 ? "none" : FormatCount(tokens); }

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
    if (!bank.problem().empty()) {
      table.AddRow({bank.name(), "unusable", "-", "-", bank.settings().display_name()});
      if (!context->json()) context->Remark(absl::StrCat(bank.name(), ": ", bank.problem()));
      continue;
    }
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

// What is stored counts from the next time that the bank is opened.
void AddRouterKeyScanOption(CLI::App* command, std::function<void(v1::RouterKeyScan)> set,
                            const std::string& when) {
  static const std::map<std::string, v1::RouterKeyScan> kScans = {
      {"exact", v1::ROUTER_KEY_SCAN_EXACT}, {"int8", v1::ROUTER_KEY_SCAN_INT8}};
  command
      ->add_option_function<std::string>(
          "--router-key-scan", [set](const std::string& name) { set(kScans.at(name)); },
          "exact, or int8: faster, with the same result, for half as much memory again" + when)
      ->check(CLI::IsMember(kScans));
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

// Read, changed and written, because default limits are set as a whole.
ExitCode UpdateBank(const v1::BankSettings& given, std::vector<std::string> paths,
                    bool clear_limits, CommandContext* context) {
  v1::BankSettings settings = given;
  if (given.has_default_limits() || clear_limits) {
    const absl::StatusOr<v1::Bank> before = context->client().GetBank(context->options.bank);
    if (!before.ok()) return context->Report(before.status());
    v1::GenerationLimits limits;
    if (!clear_limits) limits = before->settings().default_limits();
    limits.MergeFrom(given.default_limits());
    *settings.mutable_default_limits() = limits;
    paths.push_back("default_limits");
  }
  if (paths.empty()) {
    context->err() << "msactl: nothing to change; bank update --help lists what can be"
                   << std::endl;
    return kExitUsage;
  }
  const absl::StatusOr<v1::Bank> bank =
      context->client().UpdateBank(context->options.bank, settings, paths);
  if (!bank.ok()) return context->Report(bank.status());
  PrintBank(*bank, context);
  return kExitOk;
}

void AddUpdateCommand(CLI::App* group, CommandContext* context) {
  CLI::App* update = AddBankVerb(group, "update", "change a bank's settings, from now on");
  auto settings = std::make_shared<v1::BankSettings>();
  auto paths = std::make_shared<std::vector<std::string>>();
  auto clear_limits = std::make_shared<bool>(false);
  update->add_option_function<std::string>(
      "--display-name",
      [=](const std::string& name) {
        settings->set_display_name(name);
        paths->push_back("display_name");
      },
      "for people");
  update->add_option_function<int64_t>(
      "--token-budget",
      [=](const int64_t& tokens) {
        settings->set_token_budget(tokens);
        paths->push_back("token_budget");
      },
      "the most tokens that the bank may hold; 0: no limit. Less than it holds keeps new documents "
      "out");
  AddRouterKeyScanOption(
      update,
      [=](v1::RouterKeyScan scan) {
        settings->set_router_key_scan(scan);
        paths->push_back("router_key_scan");
      },
      "; from the next time that the bank is opened, as when the server starts");
  AddLimitOptions(update, kLimitGroup, "",
                  [settings] { return settings->mutable_default_limits(); });
  update->add_flag("--clear-limits", *clear_limits, "forget the bank's limits first")
      ->group(kLimitGroup);
  SetCommand(update, context, /*needs_bank=*/true,
             [=] { return UpdateBank(*settings, *paths, *clear_limits, context); });
}

}  // namespace

std::string FormatDate(const google::protobuf::Timestamp& timestamp) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(timestamp.seconds()),
                          absl::LocalTimeZone());
}

CLI::App* AddBankVerb(CLI::App* group, const std::string& name, const std::string& help) {
  CLI::App* verb = group->add_subcommand(name, help);
  verb->add_option(kBankArgument, "the bank; also --bank")->type_name("");
  return verb;
}

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
  const v1::GenerationLimits& limits = bank.settings().default_limits();
  const auto add_limit = [&table](const char* name, bool is_set, int64_t value) {
    if (is_set) table.AddRow({name, FormatCount(value)});
  };
  add_limit("  rounds", limits.has_max_rounds(), limits.max_rounds());
  add_limit("  citations", limits.has_max_citations(), limits.max_citations());
  add_limit("  retrieval tokens", limits.has_max_retrieval_tokens(), limits.max_retrieval_tokens());
  add_limit("  answer tokens", limits.has_max_answer_tokens(), limits.max_answer_tokens());
  add_limit("  expansion bytes", limits.has_max_expansion_bytes(), limits.max_expansion_bytes());
  const bool is_int8 = bank.settings().router_key_scan() == v1::ROUTER_KEY_SCAN_INT8;
  table.AddRow({"routing keys", is_int8 ? "int8, then exact" : "exact"});
  table.AddRow({"revision", absl::StrCat(bank.revision())});
  table.AddRow({"created", FormatDate(bank.create_time())});
  table.AddRow({"stored as", bank.dtype()});
  table.AddRow({"model", bank.model_fingerprint()});
  table.Print(context->out());
}

void AddBankCommands(CLI::App* app, CommandContext* context) {
  CLI::App* group = app->add_subcommand("bank", "create, inspect, change, keep and delete banks");
  group->require_subcommand(1);

  CLI::App* create =
      AddBankVerb(group, "create", "create a bank; names have 1 to 64 characters of a-z 0-9 _ -");
  auto settings = std::make_shared<v1::BankSettings>();
  create->add_option_function<int64_t>(
      "--token-budget", [settings](const int64_t& tokens) { settings->set_token_budget(tokens); },
      "the most tokens that the bank may hold; 0: no limit");
  create->add_option_function<std::string>(
      "--display-name", [settings](const std::string& name) { settings->set_display_name(name); },
      "for people");
  AddRouterKeyScanOption(
      create, [settings](v1::RouterKeyScan scan) { settings->set_router_key_scan(scan); }, "");
  AddLimitOptions(create, kLimitGroup, "",
                  [settings] { return settings->mutable_default_limits(); });
  SetCommand(create, context, /*needs_bank=*/true, [=] { return CreateBank(*settings, context); });

  CLI::App* list = group->add_subcommand("list", "all banks");
  SetCommand(list, context, /*needs_bank=*/false, [=] { return ListBanks(context); });

  CLI::App* get = AddBankVerb(group, "get", "a bank's settings");
  SetCommand(get, context, /*needs_bank=*/true, [=] { return GetBank(context); });

  CLI::App* remove =
      AddBankVerb(group, "delete", "delete a bank; asks on a terminal when it has documents");
  auto force = std::make_shared<bool>(false);
  remove->add_flag("--force", *force, "delete it with its documents, without asking");
  SetCommand(remove, context, /*needs_bank=*/true, [=] { return DeleteBank(*force, context); });

  CLI::App* stats = AddBankVerb(group, "stats",
                                "documents, tokens, chunks, bytes and how they lie on the shards");
  SetCommand(stats, context, /*needs_bank=*/true, [=] { return GetStats(context); });

  AddUpdateCommand(group, context);
  AddBankJobCommands(group, context);
  AddExportCommand(group, context);
}

}  // namespace msa::client
