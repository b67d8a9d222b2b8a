#include "client/cli/answer_printer.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/number_format.h"
#include "client/cli/routed_documents.h"

namespace msa::client {
namespace {

std::string CitationText(const v1::Citation& citation) {
  return absl::StrCat("[", citation.number(), "] ", citation.document_id());
}

// "" for the model's own end.
std::string WhyCut(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      return "";
    case v1::FINISH_REASON_STOP_STRING:
      return "ended by a stop string";
    case v1::FINISH_REASON_MAX_ANSWER_TOKENS:
      return "cut at --max-tokens";
    case v1::FINISH_REASON_NO_ANSWER:
      return "the model gave no answer";
    case v1::FINISH_REASON_MAX_RETRIEVAL_TOKENS:
      return "no answer: a round reached --max-retrieval-tokens";
    case v1::FINISH_REASON_MAX_ROUNDS:
      return "no answer: the model wanted more rounds than --max-rounds";
    case v1::FINISH_REASON_MAX_EXPANSION:
      return "no answer: the cited texts reached --max-expansion-bytes";
    default:
      return absl::StrCat("finish reason ", static_cast<int>(reason));
  }
}

}  // namespace

AnswerPrinter::AnswerPrinter(std::ostream* out, bool explains, int64_t explain_limit)
    : out_(*out), explains_(explains), explain_limit_(explain_limit) {}

void AnswerPrinter::Print(const v1::GenerateResponse& event) {
  if (event.has_round()) PrintRound(event.round());
  if (event.has_citations()) PrintCitations(event.citations());
  if (event.has_token() && event.token().phase() == v1::GENERATION_PHASE_ANSWER) {
    PrintAnswerText(event.token().text());
  }
  if (event.has_finished()) PrintFinished(event.finished());
  out_.flush();
}

void AnswerPrinter::EndLine() {
  if (!answer_.empty()) out_ << std::endl;
}

void AnswerPrinter::PrintRound(const v1::GenerateRound& round) {
  if (!explains_) return;
  round_is_open_ = true;
  out_ << "Round " << round.round() + 1 << ": "
       << FormatNoun(round.documents_size(), "document", "documents") << " routed, prompt of "
       << FormatNoun(round.prompt_tokens(), "token", "tokens") << '\n';
  RoutedDocumentsView view;
  view.limit = explain_limit_;
  view.with_layers = true;
  view.indent = 2;
  if (round.documents_size() > 0) PrintRoutedDocuments(round.documents(), view, out_);
}

void AnswerPrinter::PrintCitations(const v1::GenerateCitations& citations) {
  if (!explains_) return;
  round_is_open_ = false;
  std::string text;
  for (const v1::Citation& citation : citations.documents()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", CitationText(citation));
  }
  for (const uint32_t number : citations.unknown_numbers()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", "[", number, "] unknown");
  }
  out_ << "  Cited: " << (text.empty() ? "nothing" : text) << '\n';
}

void AnswerPrinter::PrintAnswerText(const std::string& text) {
  const size_t begin = answer_.empty() ? text.find_first_not_of(" \n") : 0;
  if (begin == std::string::npos) return;
  if (answer_.empty() && explains_) {
    if (round_is_open_) out_ << "  Cited: nothing more\n";
    out_ << "Answer: ";
  }
  out_ << text.substr(begin);
  answer_ += text.substr(begin);
}

void AnswerPrinter::PrintFinished(const v1::GenerateFinished& finished) {
  EndLine();
  if (finished.without_memory()) out_ << "No document could be found: the answer rests on none.\n";
  if (finished.sources().empty()) return;
  out_ << "Sources:\n";
  for (const v1::Citation& source : finished.sources()) {
    out_ << "  " << CitationText(source) << ", cited in round " << source.round() + 1 << '\n';
  }
}

std::string DescribeAnswer(const v1::GenerateFinished& finished) {
  const std::string cut = WhyCut(finished.reason());
  const v1::StageTimings& timings = finished.timings();
  std::string text = absl::StrCat(cut, cut.empty() ? "" : "; ",
                                  FormatNoun(finished.usage().rounds(), "round", "rounds"), ", ",
                                  FormatCount(finished.usage().prompt_tokens()), " prompt and ",
                                  FormatCount(finished.usage().generated_tokens()),
                                  " generated tokens in ", DescribeTimings(timings));
  if (timings.has_time_to_first_token()) {
    const auto& first = timings.time_to_first_token();
    absl::StrAppend(
        &text, ", first token after ",
        FormatSeconds(absl::Seconds(first.seconds()) + absl::Nanoseconds(first.nanos())));
  }
  return text;
}

}  // namespace msa::client
