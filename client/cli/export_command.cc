#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/document_message.h"
#include "client/cli/number_format.h"
#include "client/cli/progress_bar.h"
#include "client/cli/source_document.h"

namespace msa::client {
namespace {

namespace fs = std::filesystem;

// A file that is written beside its path, as PATH.part, and takes its place with Commit; without it
// the part goes and the path stays as it was. Devices and pipes are written directly.
class ExportFile {
 public:
  ExportFile() = default;
  ExportFile(const ExportFile&) = delete;
  ExportFile& operator=(const ExportFile&) = delete;
  ~ExportFile() {
    std::error_code ignored;
    if (!part_.empty()) fs::remove(part_, ignored);
  }

  absl::Status Open(const std::string& path) {
    path_ = path;
    std::error_code error;
    const fs::file_status before = fs::status(path, error);
    const bool replaces = fs::is_regular_file(before);
    if (replaces) {
      const fs::path target = fs::canonical(path, error);  // a link goes on leading to it
      if (!error) path_ = target.string();
    }
    const bool in_parts = replaces || !fs::exists(before);
    const std::string opened = in_parts ? path_ + ".part" : path_;
    stream_.open(opened, std::ios::binary | std::ios::trunc);
    if (!stream_) return absl::ErrnoToStatus(errno, absl::StrCat(opened, ": cannot be written"));
    if (in_parts) part_ = opened;
    if (replaces) fs::permissions(part_, before.permissions(), error);
    return absl::OkStatus();
  }

  std::ostream& stream() { return stream_; }

  absl::Status Commit() {
    stream_.close();
    if (!stream_) return absl::DataLossError(absl::StrCat(path_, ": writing failed"));
    if (part_.empty()) return absl::OkStatus();
    if (std::rename(part_.c_str(), path_.c_str()) != 0)
      return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": cannot be replaced"));
    part_.clear();
    return absl::OkStatus();
  }

 private:
  std::string path_;
  std::string part_;  // empty: none to remove
  std::ofstream stream_;
};

// The lines go to `path`, or to standard output where it is empty or "-". What goes to a terminal
// shows by itself how far it has come.
ExitCode Export(const std::string& filter, const std::string& path, CommandContext* context) {
  const bool to_file = !path.empty() && path != "-";
  ExportFile file;
  if (to_file) {
    const absl::Status opened = file.Open(path);
    if (!opened.ok()) return context->Report(opened);
  }
  std::ostream& out = to_file ? file.stream() : context->out();
  ProgressBar bar(&context->err(), context->shows_progress() && to_file);
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
    return context->Report(
        absl::DataLossError(absl::StrCat(to_file ? path : "standard output", ": writing failed")));
  }
  if (!status.ok()) return context->Report(status);
  if (context->interrupted()) return kExitInterrupted;
  if (to_file) {
    const absl::Status committed = file.Commit();
    if (!committed.ok()) return context->Report(committed);
  }
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
  command
      ->add_option("-o,--output", *path,
                   "write to FILE instead of standard output: first to FILE.part, which takes "
                   "FILE's place when all is there; -: standard output")
      ->type_name("FILE");
  SetCommand(command, context, /*needs_bank=*/true,
             [=] { return Export(*filter, *path, context); });
}

}  // namespace msa::client
