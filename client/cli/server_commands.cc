#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/number_format.h"
#include "client/cli/option_checks.h"
#include "client/cli/table.h"
#include "client/cli/text_file.h"

namespace msa::client {
namespace {

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

void PrintInfo(const v1::GetServerInfoResponse& info, std::ostream& out) {
  const v1::ModelInfo& model = info.model();
  const v1::ServerLimits& limits = info.limits();
  const v1::ServerMemory& memory = info.memory();
  Table table({{""}, {""}});
  table.AddRow({"version", info.version()});
  table.AddRow({"state", MessageToJson(info)["state"].get<std::string>()});
  table.AddRow({"uptime", FormatSeconds(ToDuration(info.uptime()))});
  table.AddRow({"model", absl::StrCat(model.name(), " (fingerprint ", model.fingerprint(), ")")});
  table.AddRow(
      {"", absl::StrCat(model.layers(), " layers of width ", model.hidden_size(), "; heads ",
                        model.query_heads(), " + ", model.kv_heads(), " of ", model.head_dim(),
                        "; vocabulary ", FormatCount(model.vocab_size()))});
  table.AddRow({"", absl::StrCat("layers ", absl::StrJoin(model.msa_layers(), ", "),
                                 " each select ", model.doc_top_k(), " documents; chunks of ",
                                 model.tokens_per_chunk(), " tokens")});
  table.AddRow(
      {"computes",
       absl::StrCat(info.compute_dtype(), " on ", FormatNoun(info.threads(), "thread", "threads"),
                    ", ", info.instruction_set(), "; new banks in ", info.bank_dtype())});
  table.AddRow({"a document", absl::StrCat("at most ", FormatCount(limits.max_document_tokens()),
                                           " tokens, ", FormatBytes(limits.max_document_bytes()))});
  table.AddRow({"a question", absl::StrCat("at most ", FormatCount(limits.max_question_tokens()),
                                           " tokens, ", FormatBytes(limits.max_question_bytes()))});
  table.AddRow(
      {"queries", absl::StrCat("at most ", FormatCount(limits.max_running()), " at a time, ",
                               FormatCount(limits.max_queued_requests()), " waiting")});
  table.AddRow({"memory", absl::StrCat("weights ", FormatBytes(memory.weights_bytes()),
                                       ", routing keys ", FormatBytes(memory.router_key_bytes()),
                                       ", query pages ", FormatBytes(memory.kv_page_bytes()),
                                       " of ", FormatBytes(memory.kv_page_limit_bytes()),
                                       ", process ", FormatBytes(memory.resident_bytes()))});
  table.Print(out);
  out << '\n';
  using Align = Table::Align;
  Table shards({{"shard", Align::kRight},
                {"device"},
                {"documents", Align::kRight},
                {"chunks", Align::kRight}});
  for (const v1::ShardInfo& shard : info.shards()) {
    shards.AddRow({absl::StrCat(shard.shard()), shard.device(), FormatCount(shard.documents()),
                   FormatCount(shard.chunks())});
  }
  shards.Print(out);
}

ExitCode ServerInfo(CommandContext* context) {
  const absl::StatusOr<v1::GetServerInfoResponse> info = context->client().GetServerInfo();
  if (!info.ok()) return context->Report(info.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*info));
  } else {
    PrintInfo(*info, context->out());
  }
  return kExitOk;
}

ExitCode ServerHealth(const std::string& service, double wait_seconds, CommandContext* context) {
  const absl::Time give_up = absl::Now() + absl::Seconds(wait_seconds);
  absl::StatusOr<bool> serving = context->client().CheckHealth(service);
  while ((!serving.ok() || !*serving) && absl::Now() < give_up && !context->interrupted()) {
    absl::SleepFor(absl::Milliseconds(50));
    serving = context->client().CheckHealth(service);
  }
  if (!serving.ok()) return context->Report(serving.status());
  if (context->json()) {
    context->PrintJson({{"serving", *serving}});
  } else {
    context->out() << (*serving ? "SERVING" : "NOT_SERVING") << std::endl;
  }
  return *serving ? kExitOk : kExitUnavailable;
}

ExitCode CountTokens(std::string text, const std::string& file, CommandContext* context) {
  if (!file.empty()) {
    absl::StatusOr<std::string> read = ReadTextFile(file);
    if (!read.ok()) return context->Report(read.status());
    text = *std::move(read);
  }
  const absl::StatusOr<v1::CountTokensResponse> count = context->client().CountTokens(text);
  if (!count.ok()) return context->Report(count.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*count));
    return kExitOk;
  }
  Table table({{""}, {"", Table::Align::kRight}});
  table.AddRow({"tokens", FormatCount(count->tokens())});
  table.AddRow({"chunks", FormatCount(count->chunks())});
  table.AddRow(
      {"routing keys in memory, without int8 copies", FormatBytes(count->router_key_bytes())});
  table.AddRow({"keys and values on disk", FormatBytes(count->content_bytes())});
  table.Print(context->out());
  return kExitOk;
}

}  // namespace

void AddServerCommands(CLI::App* app, CommandContext* context) {
  CLI::App* group = app->add_subcommand("server", "the server itself");
  group->require_subcommand(1);
  CLI::App* info = group->add_subcommand("info", "version, model, limits, memory and shards");
  SetCommand(info, context, /*needs_bank=*/false, [=] { return ServerInfo(context); });

  CLI::App* health =
      group->add_subcommand("health", "whether the server takes requests (exit code 0 or 4)");
  auto service = std::make_shared<std::string>();
  auto wait_seconds = std::make_shared<double>(0);
  health->add_option("--service", *service, "of one service, such as msa.v1.QueryService");
  health->add_option("--wait", *wait_seconds, "SECONDS to wait for it")->check(AtLeast(0));
  SetCommand(health, context, /*needs_bank=*/false,
             [=] { return ServerHealth(*service, *wait_seconds, context); });

  CLI::App* count = app->add_subcommand(
      "count-tokens", "what a document with a text would cost, without storing it");
  auto text = std::make_shared<std::string>();
  auto file = std::make_shared<std::string>();
  CLI::Option_group* source = count->add_option_group("source");
  source->add_option("TEXT", *text, "the text");
  source->add_option("-f,--file", *file, "a file with the text");
  source->require_option(1);
  SetCommand(count, context, /*needs_bank=*/false,
             [=] { return CountTokens(*text, *file, context); });
}

}  // namespace msa::client
