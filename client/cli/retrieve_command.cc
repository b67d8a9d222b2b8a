#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/number_format.h"
#include "client/cli/routed_documents.h"
#include "client/cli/scope_options.h"

namespace msa::client {
namespace {

ExitCode Retrieve(v1::RetrieveRequest request, CommandContext* context) {
  request.set_bank(context->options.bank);
  const absl::StatusOr<v1::RetrieveResponse> response = context->client().Retrieve(request);
  if (!response.ok()) return context->Report(response.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*response));
    return kExitOk;
  }
  RoutedDocumentsView view;
  view.with_layers = request.explain_layers();
  view.with_text = request.with_text();
  PrintRoutedDocuments(response->hits(), view, context->out());
  context->Remark(absl::StrCat(FormatNoun(response->hits_size(), "document", "documents"), " in ",
                               DescribeTimings(response->timings())));
  return kExitOk;
}

}  // namespace

void AddRetrieveCommand(CLI::App* app, CommandContext* context) {
  CLI::App* retrieve = app->add_subcommand(
      "retrieve", "the documents that the model's layers select for a question");
  auto request = std::make_shared<v1::RetrieveRequest>();
  retrieve
      ->add_option_function<std::string>(
          "QUESTION", [request](const std::string& question) { request->set_question(question); },
          "the question")
      ->required();
  retrieve->add_option_function<int32_t>(
      "-n,--limit", [request](const int32_t& limit) { request->set_limit(limit); },
      "at most this many; 0: all");
  AddScopeOptions(retrieve, request.get());
  retrieve->add_flag_callback(
      "--layers", [request] { request->set_explain_layers(true); },
      "with every layer's score and rank");
  retrieve->add_flag_callback(
      "--text", [request] { request->set_with_text(true); }, "with the texts");
  SetCommand(retrieve, context, /*needs_bank=*/true, [=] { return Retrieve(*request, context); });
}

}  // namespace msa::client
