#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/document_message.h"
#include "client/cli/number_format.h"
#include "client/cli/progress_bar.h"
#include "client/cli/source_document.h"

namespace msa::client {
namespace {

// The lines go to `path`, or to standard output where it is empty. What goes to a terminal shows by
// itself how far it has come.
ExitCode Export(const std::string& filter, const std::string& path, CommandContext* context) {
  std::ofstream file;
  if (!path.empty()) {
    file.open(path, std::ios::binary | std::ios::trunc);
    if (!file) {
      return context->Report(
          absl::PermissionDeniedError(absl::StrCat(path, ": cannot be written")));
    }
  }
  std::ostream& out = path.empty() ? context->out() : file;
  ProgressBar bar(&context->err(), context->shows_progress() && !path.empty());
  int64_t num_documents = 0;
  const absl::Status status = context->client().ExportDocuments(
      context->options.bank, filter, [&](const v1::Document& document) {
        out << DocumentLine(FromMessage(document)) << '\n';
        bar.Update(++num_documents, /*fraction=*/-1);
        return out.good() && !context->interrupted();
      });
  out.flush();
  bar.Clear();
  if (!out) {
    return context->Report(absl::DataLossError(
        absl::StrCat(path.empty() ? "standard output" : path, ": writing failed")));
  }
  if (!status.ok()) return context->Report(status);
  if (context->interrupted()) return kExitInterrupted;
  context->Remark(
      absl::StrCat("Exported ", FormatNoun(num_documents, "document", "documents"), "."));
  return kExitOk;
}

}  // namespace

void AddExportCommand(CLI::App* bank, CommandContext* context) {
  CLI::App* command = AddBankVerb(
      bank, "export", "all documents with their texts as JSON Lines, which ingest reads again");
  auto filter = std::make_shared<std::string>();
  auto path = std::make_shared<std::string>();
  command->add_option("--filter", *filter, "only what matches, as 'metadata.lang = \"en\"'");
  command->add_option("-o,--output", *path, "write to FILE instead of standard output")
      ->type_name("FILE");
  SetCommand(command, context, /*needs_bank=*/true,
             [=] { return Export(*filter, *path, context); });
}

}  // namespace msa::client
