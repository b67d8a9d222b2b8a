#include "client/cli/ingest_dry_run.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/number_format.h"
#include "client/cli/progress_bar.h"
#include "client/cli/rejects.h"
#include "client/cli/table.h"

namespace msa::client {
namespace {

struct DryTotals {
  int64_t documents = 0;
  int64_t tokens = 0;
  int64_t chunks = 0;
  int64_t router_key_bytes = 0;
  int64_t content_bytes = 0;
};

// Errors of one document, as opposed to those of the connection.
bool ConcernsDocument(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInvalidArgument;
}

absl::Status Count(const SourceDocument& document, int64_t max_tokens, CommandContext* context,
                   DryTotals* totals) {
  const absl::StatusOr<v1::CountTokensResponse> count =
      context->client().CountTokens(document.text);
  if (!count.ok()) return count.status();
  if (count->tokens() > max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("the document has ", count->tokens(), " tokens; allowed: ", max_tokens));
  }
  ++totals->documents;
  totals->tokens += count->tokens();
  totals->chunks += count->chunks();
  totals->router_key_bytes += count->router_key_bytes();
  totals->content_bytes += count->content_bytes();
  return absl::OkStatus();
}

// The error of the connection; what concerns the document becomes a reject.
absl::Status CountPieces(SourceDocument document, const IngestRunOptions& options,
                         int64_t max_tokens, CommandContext* context, Rejects* rejects,
                         DryTotals* totals) {
  const SourceDocument whole = document;
  std::vector<SourceDocument> pieces;
  if (options.split_tokens > 0) {
    absl::StatusOr<std::vector<SourceDocument>> split =
        SplitDocument(std::move(document), options.split_tokens, ServerTokenCounter(context));
    if (!split.ok() && !ConcernsDocument(split.status())) return split.status();
    if (!split.ok()) {
      rejects->Add(whole, split.status());
      return absl::OkStatus();
    }
    pieces = *std::move(split);
  } else {
    pieces.push_back(std::move(document));
  }
  for (const SourceDocument& piece : pieces) {
    const absl::Status status = Count(piece, max_tokens, context, totals);
    if (status.ok()) continue;
    if (!ConcernsDocument(status)) return status;
    rejects->Add(piece, status);
  }
  return absl::OkStatus();
}

void PrintTotals(const DryTotals& totals, int64_t rejected, CommandContext* context) {
  if (context->json()) {
    context->PrintJson({{"documents", totals.documents},
                        {"rejected", rejected},
                        {"tokens", totals.tokens},
                        {"chunks", totals.chunks},
                        {"router_key_bytes", totals.router_key_bytes},
                        {"content_bytes", totals.content_bytes}});
    return;
  }
  Table table({{""}, {"", Table::Align::kRight}});
  table.AddRow({"documents", FormatCount(totals.documents)});
  table.AddRow({"rejected", FormatCount(rejected)});
  table.AddRow({"tokens", FormatCount(totals.tokens)});
  table.AddRow({"chunks", FormatCount(totals.chunks)});
  table.AddRow(
      {"routing keys in memory, without int8 copies", FormatBytes(totals.router_key_bytes)});
  table.AddRow({"keys and values on disk", FormatBytes(totals.content_bytes)});
  table.Print(context->out());
}

}  // namespace

ExitCode RunIngestDry(const IngestRunOptions& options, DocumentReader* reader,
                      CommandContext* context) {
  const absl::StatusOr<v1::GetServerInfoResponse> info = context->client().GetServerInfo();
  if (!info.ok()) return context->Report(info.status());
  ProgressBar bar(&context->err(), context->shows_progress());
  Rejects rejects(context, &bar);
  if (!options.rejects_path.empty()) {
    const absl::Status opened =
        rejects.OpenFile(options.rejects_path, /*append=*/!options.session.empty());
    if (!opened.ok()) return context->Report(opened);
  }
  DryTotals totals;
  while (!context->interrupted() && !(options.stop_on_error && rejects.count() > 0)) {
    absl::StatusOr<std::optional<DocumentReader::Item>> item = reader->Next();
    if (!item.ok()) return context->Report(item.status());
    if (!item->has_value()) break;
    if (!(*item)->document.ok()) {
      rejects.AddLine((*item)->line, (*item)->where, (*item)->document.status());
      continue;
    }
    const absl::Status status =
        CountPieces(*std::move((*item)->document), options, info->limits().max_document_tokens(),
                    context, &rejects, &totals);
    if (!status.ok()) return context->Report(status);
    bar.Update(totals.documents, reader->num_bytes() > 0
                                     ? static_cast<double>(reader->num_bytes_read()) /
                                           static_cast<double>(reader->num_bytes())
                                     : -1.0);
  }
  bar.Clear();
  const absl::Status closed = rejects.Close();
  PrintTotals(totals, rejects.count(), context);
  if (context->interrupted()) return kExitInterrupted;
  if (!closed.ok()) return context->Report(closed);
  if (rejects.count() == 0) return kExitOk;
  return totals.documents > 0 ? kExitPartial : kExitFailed;
}

}  // namespace msa::client
