#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/document_message.h"
#include "client/cli/message_json.h"
#include "client/cli/option_checks.h"
#include "client/cli/source_document.h"
#include "client/cli/text_file.h"
#include "nlohmann/json.hpp"

namespace msa::client {
namespace {

struct UpdateOptions {
  std::string id;
  std::string text;
  std::string text_file;
  std::vector<std::string> entries;  // KEY=VALUE
  std::string metadata_json;
  v1::AcknowledgeAt acknowledge_at = v1::ACKNOWLEDGE_AT_ACTIVE;
  bool has_text = false;
  bool has_metadata_json = false;
};

// A value that is a number, a boolean or a string of JSON is that, any other its own text.
MetadataValue ParseValue(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  return text;
}

// Given keys replace those of the document; with JSON, all of them go first.
absl::Status AddMetadata(const UpdateOptions& options, CommandContext* context,
                         v1::UpdateDocumentRequest* request) {
  request->mutable_update_mask()->add_paths("metadata");
  if (options.has_metadata_json) {
    const absl::StatusOr<Metadata> metadata =
        ParseMetadata(options.metadata_json, "--metadata-json");
    if (!metadata.ok()) return metadata.status();
    SetMetadata(*metadata, request->mutable_metadata());
    return absl::OkStatus();
  }
  Metadata given;
  for (const std::string& entry : options.entries) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--metadata is ", entry, "; allowed: KEY=VALUE"));
    }
    given[entry.substr(0, equals)] = ParseValue(entry.substr(equals + 1));
  }
  const absl::StatusOr<v1::Document> before =
      context->client().GetDocument(context->options.bank, options.id, /*with_text=*/false);
  if (!before.ok()) return before.status();
  *request->mutable_metadata() = before->metadata();
  SetMetadata(given, request->mutable_metadata());
  return absl::OkStatus();
}

ExitCode UpdateDocument(const UpdateOptions& options, CommandContext* context) {
  v1::UpdateDocumentRequest request;
  request.set_bank(context->options.bank);
  request.set_document_id(options.id);
  request.set_acknowledge_at(options.acknowledge_at);
  if (options.has_text || !options.text_file.empty()) {
    absl::StatusOr<std::string> text = options.text;
    if (!options.text_file.empty()) text = ReadTextFile(options.text_file);
    if (!text.ok()) return context->Report(text.status());
    request.set_text(*std::move(text));
    request.mutable_update_mask()->add_paths("text");
  }
  if (options.has_metadata_json || !options.entries.empty()) {
    const absl::Status status = AddMetadata(options, context, &request);
    if (!status.ok()) return context->Report(status);
  }
  if (request.update_mask().paths().empty()) {
    context->err() << "msactl: nothing to change; give --text, --text-file, --metadata or "
                      "--metadata-json"
                   << std::endl;
    return kExitUsage;
  }
  const absl::StatusOr<v1::Document> document = context->client().UpdateDocument(request);
  if (!document.ok()) return context->Report(document.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*document));
  } else {
    context->Remark(
        absl::StrCat("Updated document ", document->id(), ", number ", document->number(), "."));
  }
  return kExitOk;
}

}  // namespace

void AddDocumentUpdateCommand(CLI::App* doc, CommandContext* context) {
  CLI::App* update = doc->add_subcommand("update", "change a document's text, metadata or both");
  auto options = std::make_shared<UpdateOptions>();
  update->add_option("ID", options->id, "the document's id")->required();
  CLI::Option* text = update->add_option("--text", options->text, "the new text");
  update
      ->add_option("--text-file", options->text_file,
                   "the same from FILE; the old text is served until the new one is encoded")
      ->type_name("FILE")
      ->excludes(text);
  CLI::Option* entries =
      update
          ->add_option(
              "--metadata", options->entries,
              "set KEY; other keys stay. VALUE is a number, true, false or a string; may be "
              "given several times")
          ->type_name("KEY=VALUE")
          ->allow_extra_args(false);
  CLI::Option* json = update->add_option("--metadata-json", options->metadata_json,
                                         "all metadata as an object: what is not in it goes");
  json->type_name("JSON")->excludes(entries);
  update
      ->add_option("--ack", options->acknowledge_at,
                   "wait until a new text is stored, or until queries see it")
      ->transform(
          OneOf({{"accepted", v1::ACKNOWLEDGE_AT_ACCEPTED}, {"active", v1::ACKNOWLEDGE_AT_ACTIVE}}))
      ->type_name("accepted|active")
      ->default_str("active");
  SetCommand(update, context, /*needs_bank=*/true, [=] {
    options->has_text = !text->empty();
    options->has_metadata_json = !json->empty();
    return UpdateDocument(*options, context);
  });
}

}  // namespace msa::client
