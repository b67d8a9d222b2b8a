#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/document_reader.h"
#include "client/cli/ingest_dry_run.h"
#include "client/cli/ingest_run.h"
#include "client/cli/option_checks.h"

namespace msa::client {

void AddIngestCommand(CLI::App* app, CommandContext* context) {
  CLI::App* ingest = app->add_subcommand("ingest", "add documents to a bank");
  ingest->footer(
      "FILE  JSON Lines: {\"id\": …, \"text\": …, \"metadata\": {strings, numbers, booleans}}\n"
      "      .txt and .md files: one document each, with the path as its id\n"
      "DIR   its .jsonl, .txt and .md files, recursively, ids relative to it\n"
      "-     JSON Lines from standard input");
  auto paths = std::make_shared<std::vector<std::string>>();
  auto options = std::make_shared<IngestRunOptions>();
  auto dry_run = std::make_shared<bool>(false);

  ingest->add_option("FILE|DIR|-", *paths, "what to read")->required()->type_name("");
  ingest
      ->add_option("--mode", options->mode,
                   "an id that is there with other content is an error, or replaced; update-only: "
                   "one that is not there is an error")
      ->transform(OneOf({{"insert", v1::INGEST_MODE_INSERT},
                         {"upsert", v1::INGEST_MODE_UPSERT},
                         {"update-only", v1::INGEST_MODE_UPDATE_ONLY}}))
      ->type_name("insert|upsert|update-only")
      ->default_str("insert");
  ingest
      ->add_option("--ack", options->acknowledge_at,
                   "a document counts when it is stored, or when queries see it")
      ->transform(
          OneOf({{"accepted", v1::ACKNOWLEDGE_AT_ACCEPTED}, {"active", v1::ACKNOWLEDGE_AT_ACTIVE}}))
      ->type_name("accepted|active")
      ->default_str("active");
  ingest
      ->add_option("--split", options->split_tokens,
                   "cut documents of more than TOKENS tokens at paragraphs into ID#0, ID#1, … with "
                   "ID as metadata \"parent\"; "
                   "pieces of an earlier, longer version stay")
      ->check(AtLeast(1))
      ->type_name("TOKENS");
  ingest
      ->add_option(
          "--on-error", options->stop_on_error,
          "after a document that is refused: go on, or read no more; what was sent is finished")
      ->transform(OneOf({{"skip", 0}, {"stop", 1}}))
      ->type_name("skip|stop")
      ->default_str("skip");
  ingest
      ->add_option("--rejects", options->rejects_path,
                   "write refused documents to FILE, which ingest can read again; with --session "
                   "they are appended to it")
      ->type_name("FILE");
  ingest
      ->add_option(
          "--session", options->session,
          absl::StrCat("a name for this ingest, at most ", kMaxSessionNameBytes,
                       " bytes: run again with the same name and the same input files (paths, "
                       "sizes and modification times; of standard input nothing is compared), it "
                       "passes over what has had its result, until the server restarts"))
      ->check(AtMostBytes(kMaxSessionNameBytes))
      ->type_name("NAME");
  ingest->add_flag("--dry-run", *dry_run, "only read, split and count");
  SetCommand(ingest, context, /*needs_bank=*/false, [=]() -> ExitCode {
    if (!*dry_run && context->options.bank.empty()) {
      context->err() << "msactl: --bank is required" << std::endl;
      return kExitUsage;
    }
    absl::StatusOr<std::unique_ptr<DocumentReader>> reader =
        DocumentReader::Open(*paths, &context->in());
    if (!reader.ok()) return context->Report(reader.status());
    if (!options->rejects_path.empty() && (*reader)->Reads(options->rejects_path)) {
      context->err() << "msactl: --rejects: " << options->rejects_path
                     << " is also an input; name another file, or rename this one first"
                     << std::endl;
      return kExitUsage;
    }
    return *dry_run ? RunIngestDry(*options, reader->get(), context)
                    : RunIngest(*options, reader->get(), context);
  });
}

}  // namespace msa::client
