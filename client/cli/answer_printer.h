#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "msa/v1/query_service.pb.h"

namespace msa::client {

// An answer on a terminal, as its events come: with `explains`, every round with its routed
// documents and citations; the answer's text while it is written; its sources. One answer per
// printer.
class AnswerPrinter {
 public:
  // `out` must outlive the printer. `explain_limit`: documents shown per round, 0: all.
  AnswerPrinter(std::ostream* out, bool explains, int64_t explain_limit);

  void Print(const v1::GenerateResponse& event);

  // Ends a line of the answer that was begun, where the answer breaks off.
  void EndLine();

 private:
  void PrintRound(const v1::GenerateRound& round);
  void PrintCitations(const v1::GenerateCitations& citations);
  void PrintAnswerText(const std::string& text);
  void PrintFinished(const v1::GenerateFinished& finished);

  std::ostream& out_;
  const bool explains_;
  const int64_t explain_limit_;
  bool round_is_open_ = false;  // its citations have not come
  std::string answer_;          // printed so far, without white space at its beginning
};

// One line about a finished answer: why it ended where that is not the model's own end, rounds,
// tokens and times.
std::string DescribeAnswer(const v1::GenerateFinished& finished);

}  // namespace msa::client
