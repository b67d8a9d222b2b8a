#include <cstdint>
#include <memory>
#include <string>

#include "client/cli/answer_printer.h"
#include "client/cli/commands.h"
#include "client/cli/limit_options.h"
#include "client/cli/message_json.h"
#include "client/cli/option_checks.h"
#include "client/cli/scope_options.h"
#include "client/cli/utf8.h"

namespace msa::client {
namespace {

struct AskOptions {
  v1::GenerateRequest request;  // without bank and question
  bool explain = false;
  int64_t explain_limit = 8;  // documents shown per round; 0: all
};

ExitCode AskOnce(const AskOptions& options, const std::string& question, CommandContext* context) {
  v1::GenerateRequest request = options.request;
  request.set_bank(context->options.bank);
  request.set_question(question);
  request.set_explain_layers(options.explain);
  AnswerPrinter printer(&context->out(), options.explain, options.explain_limit);
  const absl::StatusOr<v1::GenerateFinished> finished =
      context->client().Generate(request, [&](const v1::GenerateResponse& event) {
        if (context->json()) {
          context->PrintJson(MessageToJson(event));
        } else {
          printer.Print(event);
        }
      });
  if (!finished.ok()) {
    if (!context->json()) printer.EndLine();
    return context->Report(finished.status());
  }
  if (!context->json()) context->Remark(DescribeAnswer(*finished));
  return kExitOk;
}

// A question per line of standard input, until its end.
ExitCode AskLines(const AskOptions& options, CommandContext* context) {
  const bool prompts = context->terminal().in_is_tty && !context->options.quiet;
  int64_t num_answered = 0;
  ExitCode last_failure = kExitOk;
  std::string line;
  while (!context->interrupted()) {
    if (prompts) context->err() << "\n" << context->options.bank << "> " << std::flush;
    if (!std::getline(context->in(), line)) break;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    const size_t invalid = FirstInvalidUtf8Byte(line);
    const ExitCode code =
        invalid == std::string::npos
            ? AskOnce(options, line, context)
            : context->Report(absl::InvalidArgumentError("the question is not UTF-8"));
    if (code == kExitOk) ++num_answered;
    if (code != kExitOk) last_failure = code;
  }
  if (prompts) context->err() << std::endl;
  if (context->interrupted()) return kExitInterrupted;
  return last_failure != kExitOk && num_answered > 0 ? kExitPartial : last_failure;
}

void AddSamplingOptions(CLI::App* ask, v1::GenerateRequest* request) {
  const std::string group = "How tokens are chosen";
  ask->add_option_function<float>(
         "--temperature", [=](const float& v) { request->mutable_sampling()->set_temperature(v); },
         "0 (always the likeliest token, the default) to 10")
      ->group(group);
  ask->add_option_function<float>(
         "--top-p", [=](const float& v) { request->mutable_sampling()->set_top_p(v); },
         "only the likeliest tokens with this probability together; above 0, at most 1 (the "
         "default)")
      ->group(group);
  ask->add_option_function<uint64_t>(
         "--seed", [=](const uint64_t& v) { request->mutable_sampling()->set_seed(v); },
         "the same seed and question give the same answer (default 0)")
      ->check(AtLeast(0))
      ->group(group);
  ask->add_flag_callback(
         "--no-constrain", [=] { request->set_constrain_citations(false); },
         "let the model cite numbers that routing did not select")
      ->group(group);
}

void AddBounds(CLI::App* ask, v1::GenerateRequest* request) {
  const std::string group = "Bounds";
  AddLimitOptions(ask, group, "the bank's, or ", [request] { return request->mutable_limits(); });
  ask->add_option_function<std::vector<std::string>>(
         "--stop",
         [=](const std::vector<std::string>& strings) {
           for (const std::string& text : strings) request->add_stop(text);
         },
         "ends the answer; may be given several times")
      ->allow_extra_args(false)
      ->group(group);
}

}  // namespace

void AddAskCommand(CLI::App* app, CommandContext* context) {
  CLI::App* ask = app->add_subcommand("ask",
                                      "answer a question from a bank, with its sources; without a "
                                      "question, one per line of standard input");
  auto options = std::make_shared<AskOptions>();
  auto question = std::make_shared<std::string>();
  CLI::Option* given = ask->add_option("QUESTION", *question, "the question");
  ask->add_flag("--explain", options->explain,
                "show each round: the documents that were routed, with scores, and cited");
  ask->add_option("--explain-limit", options->explain_limit, "documents shown per round; 0: all")
      ->check(AtLeast(0))
      ->capture_default_str();
  AddScopeOptions(ask, &options->request);
  AddSamplingOptions(ask, &options->request);
  AddBounds(ask, &options->request);
  SetCommand(ask, context, /*needs_bank=*/true, [=] {
    return given->empty() ? AskLines(*options, context) : AskOnce(*options, *question, context);
  });
}

}  // namespace msa::client
