#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/document_message.h"
#include "client/cli/message_json.h"
#include "client/cli/number_format.h"
#include "client/cli/option_checks.h"
#include "client/cli/table.h"
#include "client/cli/utf8.h"

namespace msa::client {
namespace {

constexpr size_t kShownIdCharacters = 48;
constexpr size_t kShownTextCharacters = 80;
constexpr size_t kRowsAtOnce =
    1000;  // columns are aligned within that many rows, so that long lists need no memory

std::string StateWord(const v1::Document& document) {
  return MessageToJson(document)["state"].get<std::string>();
}

std::string MetadataOf(const v1::Document& document) {
  return document.metadata().empty() ? "" : MetadataText(FromMessage(document).metadata);
}

ExitCode GetDocument(const std::string& id, CommandContext* context) {
  const absl::StatusOr<v1::Document> document =
      context->client().GetDocument(context->options.bank, id, /*with_text=*/true);
  if (!document.ok()) return context->Report(document.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*document));
    return kExitOk;
  }
  Table table({{""}, {""}});
  table.AddRow({"id", document->id()});
  table.AddRow({"number", absl::StrCat(document->number())});
  table.AddRow({"state", StateWord(*document)});
  if (document->has_failure()) table.AddRow({"failure", document->failure().message()});
  if (document->has_shard()) table.AddRow({"shard", absl::StrCat(document->shard())});
  table.AddRow({"tokens", FormatCount(document->tokens())});
  table.AddRow({"chunks", FormatCount(document->chunks())});
  table.AddRow({"visible from revision", absl::StrCat(document->revision())});
  if (!document->metadata().empty()) table.AddRow({"metadata", MetadataOf(*document)});
  table.Print(context->out());
  context->out() << '\n' << document->text() << '\n';
  return kExitOk;
}

Table DocumentTable(bool with_text) {
  using Align = Table::Align;
  std::vector<Table::Column> columns = {{"document"},
                                        {"number", Align::kRight},
                                        {"state"},
                                        {"tokens", Align::kRight},
                                        {"chunks", Align::kRight},
                                        {"shard", Align::kRight},
                                        {with_text ? "text" : "metadata"}};
  return Table(std::move(columns));
}

ExitCode ListDocuments(const std::string& filter, int64_t limit, bool with_text,
                       CommandContext* context) {
  Table table = DocumentTable(with_text);
  size_t num_rows = 0;
  int64_t left = limit > 0 ? limit : std::numeric_limits<int64_t>::max();
  const auto print_table = [&] {
    if (num_rows > 0) table.Print(context->out());
    table = DocumentTable(with_text);
    num_rows = 0;
  };
  const absl::Status status = context->client().ListDocuments(
      context->options.bank, filter, with_text, [&](const v1::Document& document) {
        if (context->json()) {
          context->PrintJson(MessageToJson(document));
        } else {
          table.AddRow(
              {OneLine(document.id(), kShownIdCharacters), absl::StrCat(document.number()),
               StateWord(document), FormatCount(document.tokens()), FormatCount(document.chunks()),
               document.has_shard() ? absl::StrCat(document.shard()) : "-",
               with_text ? OneLine(document.text(), kShownTextCharacters) : MetadataOf(document)});
          if (++num_rows == kRowsAtOnce) print_table();
        }
        return --left > 0 && !context->interrupted();
      });
  print_table();
  if (!status.ok()) return context->Report(status);
  return context->interrupted() ? kExitInterrupted : kExitOk;
}

ExitCode DeleteDocuments(const std::vector<std::string>& ids, const std::string& filter,
                         CommandContext* context) {
  const absl::StatusOr<v1::DeleteDocumentsResponse> response =
      filter.empty() ? context->client().DeleteDocuments(context->options.bank, ids)
                     : context->client().DeleteMatching(context->options.bank, filter);
  if (!response.ok()) return context->Report(response.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*response));
  } else {
    context->Remark(
        absl::StrCat("Deleted ", FormatNoun(response->deleted(), "document", "documents"), "."));
  }
  for (const std::string& id : response->unknown_document_ids()) {
    context->err() << "msactl: no document " << OneLine(id, 80) << '\n';
  }
  if (response->unknown_document_ids().empty()) return kExitOk;
  return response->deleted() > 0 ? kExitPartial : kExitFailed;
}

}  // namespace

void AddDocumentCommands(CLI::App* app, CommandContext* context) {
  CLI::App* group = app->add_subcommand("doc", "read, change and delete documents");
  group->require_subcommand(1);

  CLI::App* get = group->add_subcommand("get", "a document with its text");
  auto id = std::make_shared<std::string>();
  get->add_option("ID", *id, "the document's id")->required();
  SetCommand(get, context, /*needs_bank=*/true, [=] { return GetDocument(*id, context); });

  CLI::App* list = group->add_subcommand("list", "a bank's documents by id");
  auto limit = std::make_shared<int64_t>(0);
  auto with_text = std::make_shared<bool>(false);
  auto list_filter = std::make_shared<std::string>();
  list->add_option("--filter", *list_filter, "only what matches, as 'metadata.lang = \"en\"'");
  list->add_option("--limit", *limit, "at most this many; 0: all")->check(AtLeast(0));
  list->add_flag("--text", *with_text, "with the texts (on tables, their beginnings)");
  SetCommand(list, context, /*needs_bank=*/true,
             [=] { return ListDocuments(*list_filter, *limit, *with_text, context); });

  AddDocumentUpdateCommand(group, context);

  CLI::App* remove = group->add_subcommand(
      "delete", "delete documents; no query that starts afterwards sees them");
  auto ids = std::make_shared<std::vector<std::string>>();
  auto filter = std::make_shared<std::string>();
  remove->add_option("ID", *ids, "the documents' ids");
  remove->add_option("--filter", *filter, "all that match, instead of ids");
  remove->require_option(1);
  SetCommand(remove, context, /*needs_bank=*/true,
             [=] { return DeleteDocuments(*ids, *filter, context); });
}

}  // namespace msa::client
