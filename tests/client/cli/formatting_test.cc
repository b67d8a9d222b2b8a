#include <algorithm>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/answer_printer.h"
#include "client/cli/message_json.h"
#include "client/cli/number_format.h"
#include "client/cli/progress_bar.h"
#include "client/cli/routed_documents.h"
#include "client/cli/table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "msa/v1/admin_service.pb.h"
#include "msa/v1/document.pb.h"
#include "msa/v1/query_service.pb.h"

namespace msa::client {
namespace {

using testing::HasSubstr;

TEST(NumberFormat, CountsHaveThousandsSeparators) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatCount(-123), "-123");
}

TEST(NumberFormat, BytesUseBinaryUnits) {
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes((int64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(FormatBytes(int64_t{3} << 30), "3.0 GiB");
}

TEST(NumberFormat, TimesUseTheUnitThatFits) {
  EXPECT_EQ(FormatSeconds(absl::Microseconds(420)), "0.4 ms");
  EXPECT_EQ(FormatSeconds(absl::Milliseconds(999.9)), "1.00 s");
  EXPECT_EQ(FormatSeconds(absl::Seconds(59.999)), "1 min 0 s");
  EXPECT_EQ(FormatSeconds(absl::Seconds(3725)), "1 h 2 min");
}

TEST(TablePrint, AlignsColumnsByCharacters) {
  Table table({{"name"}, {"n", Table::Align::kRight}, {"text"}});
  table.AddRow({"é", "1", "a\nb"});
  table.AddRow({"long", "1,000"});
  std::ostringstream out;
  table.Print(out, 1);
  EXPECT_EQ(out.str(),
            " name      n  text\n"
            " é         1  a b\n"
            " long  1,000\n");
}

TEST(MessageJson, HoldsRawNumbersWordsAndNulls) {
  v1::Document document;
  document.set_id("a");
  document.set_number(7);
  document.set_state(v1::DOCUMENT_STATE_ACTIVE);
  document.set_text_bytes(int64_t{1} << 40);
  document.mutable_create_time()->set_seconds(1700000000);
  (*document.mutable_metadata())["s"].set_string_value("x");
  (*document.mutable_metadata())["n"].set_number_value(2.5);
  (*document.mutable_metadata())["b"].set_bool_value(true);
  const nlohmann::ordered_json json = MessageToJson(document);
  EXPECT_EQ(json["number"], 7);
  EXPECT_EQ(json["state"], "active");
  EXPECT_EQ(json["text_bytes"], int64_t{1} << 40);
  EXPECT_EQ(json["create_time"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(json["metadata"].dump(), R"({"b":true,"n":2.5,"s":"x"})");
  EXPECT_TRUE(json["shard"].is_null());
  EXPECT_TRUE(json["failure"].is_null());
  EXPECT_EQ(json["chunks"], 0);
}

TEST(MessageJson, DurationsAreSecondsAndEventsAreTheOneThatIsSet) {
  v1::GenerateResponse event;
  event.mutable_finished()->set_reason(v1::FINISH_REASON_MAX_ANSWER_TOKENS);
  event.mutable_finished()->mutable_timings()->mutable_total()->set_nanos(1500000);
  const nlohmann::ordered_json json = MessageToJson(event);
  ASSERT_EQ(json.size(), 1u);
  EXPECT_EQ(json["finished"]["reason"], "max_answer_tokens");
  EXPECT_DOUBLE_EQ(json["finished"]["timings"]["total_seconds"].get<double>(), 0.0015);
  EXPECT_TRUE(json["finished"]["timings"]["time_to_first_token_seconds"].is_null());
}

TEST(ProgressLine, OfAJobHasItsPhaseAndUnit) {
  v1::JobProgress progress;
  progress.set_phase("segments");
  progress.set_unit("bytes");
  progress.set_done(1 << 20);
  progress.set_total(4 << 20);
  EXPECT_EQ(ProgressLine(progress, absl::Seconds(12)),
            "  segments  1.0 MiB of 4.0 MiB  [=======                       ]  25%  12.00 s");
  progress.set_unit("documents");
  progress.set_total(0);
  EXPECT_EQ(ProgressLine(progress, absl::Seconds(12)), "  segments  1,048,576 documents  12.00 s");
}

TEST(ProgressLine, ShowsFractionOnlyWhereItIsKnown) {
  EXPECT_EQ(ProgressLine(1234, -1, absl::Seconds(2)), "  1,234 documents  617/s");
  EXPECT_EQ(ProgressLine(50, 0.5, absl::Seconds(10)),
            "  50 documents  [===============               ]  50%  5/s  10.00 s left");
  EXPECT_THAT(ProgressLine(1, 1.5, absl::Seconds(1)), HasSubstr("]  100%"));
}

TEST(ProgressBar, WritesNothingWhenItIsNotEnabled) {
  std::ostringstream err;
  {
    ProgressBar bar(&err, /*enabled=*/false);
    bar.Update(1, 0.5);
    bar.Clear();
  }
  EXPECT_EQ(err.str(), "");
}

v1::RoutedDocument Routed(uint32_t number, const std::string& id,
                          std::vector<std::pair<int, float>> scores) {
  v1::RoutedDocument document;
  document.set_number(number);
  document.set_document_id(id);
  int rank = 0;
  for (const auto& [layer, score] : scores) {
    v1::LayerScore* entry = document.add_layers();
    entry->set_layer(layer);
    entry->set_score(score);
    entry->set_rank(++rank);
    document.set_best_score(std::max(document.best_score(), score));
  }
  return document;
}

TEST(RoutedDocuments, FewLayersHaveAColumnEach) {
  v1::RetrieveResponse response;
  *response.add_hits() = Routed(12, "doc-12", {{2, 0.5f}, {4, 0.75f}});
  *response.add_hits() = Routed(3, "doc-3", {{2, 0.25f}});
  *response.add_hits() = Routed(9, "doc-9", {{4, 0.125f}});
  RoutedDocumentsView view;
  view.with_layers = true;
  view.limit = 2;
  std::ostringstream out;
  PrintRoutedDocuments(response.hits(), view, out);
  EXPECT_EQ(out.str(),
            "   score   number  document  shard  layer 2    layer 4\n"
            "1  0.7500      12  doc-12        0  0.5000 #1  0.7500 #2\n"
            "2  0.2500       3  doc-3         0  0.2500 #1  -\n"
            "and 1 more\n");
}

TEST(RoutedDocuments, ManyLayersShareOneColumn) {
  v1::RetrieveResponse response;
  std::vector<std::pair<int, float>> scores;
  for (int layer = 18; layer < 36; ++layer) scores.emplace_back(layer, 0.5f);
  *response.add_hits() = Routed(1, "a", scores);
  *response.add_hits() = Routed(2, "b", {{20, 0.5f}});
  RoutedDocumentsView view;
  view.with_layers = true;
  std::ostringstream out;
  PrintRoutedDocuments(response.hits(), view, out);
  EXPECT_THAT(out.str(), HasSubstr("18/18"));
  EXPECT_THAT(out.str(), HasSubstr("1/18"));
}

void PrintAnswer(AnswerPrinter* printer) {
  v1::GenerateResponse event;
  *event.mutable_round()->add_documents() = Routed(12, "doc-12", {{2, 0.5f}});
  event.mutable_round()->set_prompt_tokens(40);
  printer->Print(event);
  event.mutable_token()->set_phase(v1::GENERATION_PHASE_RETRIEVAL);
  event.mutable_token()->set_text("[12]");
  printer->Print(event);
  v1::Citation* citation = event.mutable_citations()->add_documents();
  citation->set_number(12);
  citation->set_document_id("doc-12");
  printer->Print(event);
  for (const char* text : {" hea", "rt"}) {
    event.mutable_token()->set_phase(v1::GENERATION_PHASE_ANSWER);
    event.mutable_token()->set_text(text);
    printer->Print(event);
  }
  citation = event.mutable_finished()->add_sources();
  citation->set_number(12);
  citation->set_document_id("doc-12");
  printer->Print(event);
}

TEST(AnswerPrinter, PrintsAnswerThenSources) {
  std::ostringstream out;
  AnswerPrinter printer(&out, /*explains=*/false, 8);
  PrintAnswer(&printer);
  EXPECT_EQ(out.str(),
            "heart\n"
            "Sources:\n"
            "  [12] doc-12, cited in round 1\n");
}

TEST(AnswerPrinter, ExplainShowsRoundsAndCitations) {
  std::ostringstream out;
  AnswerPrinter printer(&out, /*explains=*/true, 8);
  PrintAnswer(&printer);
  EXPECT_EQ(out.str(),
            "Round 1: 1 document routed, prompt of 40 tokens\n"
            "     score   number  document  shard  layer 2\n"
            "  1  0.5000      12  doc-12        0  0.5000 #1\n"
            "  Cited: [12] doc-12\n"
            "Answer: heart\n"
            "Sources:\n"
            "  [12] doc-12, cited in round 1\n");
}

TEST(AnswerPrinter, RoundThatLeadsToTheAnswerCitesNothingMore) {
  std::ostringstream out;
  AnswerPrinter printer(&out, /*explains=*/true, 8);
  v1::GenerateResponse event;
  event.mutable_round()->set_round(1);
  printer.Print(event);
  event.mutable_token()->set_phase(v1::GENERATION_PHASE_ANSWER);
  event.mutable_token()->set_text("heart");
  printer.Print(event);
  printer.EndLine();
  EXPECT_EQ(out.str(),
            "Round 2: 0 documents routed, prompt of 0 tokens\n"
            "  Cited: nothing more\n"
            "Answer: heart\n");
}

TEST(DescribeAnswer, SaysWhyAnAnswerWasCut) {
  v1::GenerateFinished finished;
  finished.set_reason(v1::FINISH_REASON_MAX_ROUNDS);
  finished.mutable_usage()->set_rounds(1);
  EXPECT_THAT(DescribeAnswer(finished),
              HasSubstr("no answer: the model wanted more rounds than --max-rounds; 1 round, "));
}

}  // namespace
}  // namespace msa::client
