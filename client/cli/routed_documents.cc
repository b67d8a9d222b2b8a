#include "client/cli/routed_documents.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/number_format.h"
#include "client/cli/table.h"
#include "client/cli/utf8.h"

namespace msa::client {
namespace {

constexpr size_t kMaxLayerColumns = 6;
constexpr size_t kShownIdCharacters = 48;
constexpr size_t kShownTextCharacters = 60;

using Documents = google::protobuf::RepeatedPtrField<v1::RoutedDocument>;

std::string LayerCell(const v1::RoutedDocument& document, int layer) {
  for (const v1::LayerScore& score : document.layers()) {
    if (score.layer() == layer) return absl::StrFormat("%.4f #%d", score.score(), score.rank());
  }
  return "-";
}

}  // namespace

void PrintRoutedDocuments(const Documents& documents, const RoutedDocumentsView& view,
                          std::ostream& out) {
  std::set<int> layers;
  for (const v1::RoutedDocument& document : documents) {
    for (const v1::LayerScore& score : document.layers()) layers.insert(score.layer());
  }
  const bool layer_columns = view.with_layers && layers.size() <= kMaxLayerColumns;
  using Align = Table::Align;
  std::vector<Table::Column> columns = {{"", Align::kRight},
                                        {"score"},
                                        {"number", Align::kRight},
                                        {"document"},
                                        {"shard", Align::kRight}};
  if (layer_columns) {
    for (const int layer : layers) columns.push_back({absl::StrCat("layer ", layer)});
  } else if (view.with_layers) {
    columns.push_back({"layers", Align::kRight});
  }
  if (view.with_text) columns.push_back({"text"});

  Table table(std::move(columns));
  int64_t place = 0;
  for (const v1::RoutedDocument& document : documents) {
    if (view.limit > 0 && place == view.limit) break;
    std::vector<std::string> cells = {
        absl::StrCat(++place), absl::StrFormat("%.4f", document.best_score()),
        absl::StrCat(document.number()), OneLine(document.document_id(), kShownIdCharacters),
        absl::StrCat(document.shard())};
    if (layer_columns) {
      for (const int layer : layers) cells.push_back(LayerCell(document, layer));
    } else if (view.with_layers) {
      cells.push_back(absl::StrCat(document.layers_size(), "/", layers.size()));
    }
    if (view.with_text) cells.push_back(OneLine(document.text(), kShownTextCharacters));
    table.AddRow(std::move(cells));
  }
  table.Print(out, view.indent);
  if (place < documents.size()) {
    out << std::string(view.indent, ' ') << "and " << FormatCount(documents.size() - place)
        << " more\n";
  }
}

std::string DescribeTimings(const v1::StageTimings& timings) {
  const std::pair<const char*, const google::protobuf::Duration*> stages[] = {
      {"queue", &timings.queue()},     {"tokenize", &timings.tokenize()},
      {"prefill", &timings.prefill()}, {"score", &timings.score()},
      {"fetch", &timings.fetch()},     {"decode", &timings.decode()}};
  std::string text;
  for (const auto& [name, duration] : stages) {
    const absl::Duration time =
        absl::Seconds(duration->seconds()) + absl::Nanoseconds(duration->nanos());
    if (time < absl::Microseconds(50)) continue;  // would be printed as 0.0 ms
    absl::StrAppend(&text, text.empty() ? "" : ", ", name, " ", FormatSeconds(time));
  }
  const absl::Duration total =
      absl::Seconds(timings.total().seconds()) + absl::Nanoseconds(timings.total().nanos());
  return absl::StrCat(FormatSeconds(total), text.empty() ? "" : " (", text,
                      text.empty() ? "" : ")");
}

}  // namespace msa::client
