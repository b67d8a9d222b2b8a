#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/scheduling/query_runner.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {

std::vector<RoutedDocument> UnionOfSelections(const ModelConfig& config,
                                              const std::vector<Selection>& selections) {
  std::map<uint32_t, RoutedDocument> by_number;
  for (size_t i = 0; i < selections.size(); ++i) {
    const Selection& selection = selections[i];
    for (size_t j = 0; j < selection.documents.size(); ++j) {
      const kernels::ScoredDocument& found = selection.documents[j];
      RoutedDocument& document = by_number[found.number];
      const bool first = document.layers.empty();
      document.number = found.number;
      document.shard = selection.owners[j];
      document.best_score = first ? found.score : std::max(document.best_score, found.score);
      document.layers.push_back({config.msa_layers[i], found.score, static_cast<int>(j) + 1});
    }
  }
  std::vector<RoutedDocument> documents;
  for (auto& [number, document] : by_number) documents.push_back(std::move(document));
  std::stable_sort(
      documents.begin(), documents.end(),
      [](const RoutedDocument& a, const RoutedDocument& b) { return a.best_score > b.best_score; });
  return documents;
}

std::vector<LayerSelection> LayersOf(const ModelConfig& config,
                                     const std::vector<Selection>& selections) {
  std::vector<LayerSelection> layers;
  for (size_t i = 0; i < selections.size(); ++i) {
    LayerSelection& layer = layers.emplace_back();
    layer.layer = config.msa_layers[i];
    for (const kernels::ScoredDocument& document : selections[i].documents) {
      layer.numbers.push_back(document.number);
      layer.scores.push_back(document.score);
    }
  }
  return layers;
}

absl::Status LookUpDocuments(const Bank& bank, const BankPin& pin, bool with_text,
                             std::vector<RoutedDocument>* documents) {
  std::vector<uint32_t> numbers;
  for (const RoutedDocument& document : *documents) numbers.push_back(document.number);
  MSA_ASSIGN_OR_RETURN(std::vector<DocumentInfo> found, bank.Read(numbers, pin, with_text));
  std::map<uint32_t, DocumentInfo> by_number;
  for (DocumentInfo& info : found) by_number[info.number] = std::move(info);
  for (RoutedDocument& document : *documents) {
    const auto row = by_number.find(document.number);
    if (row == by_number.end()) {
      // Its row is lost, or it was found damaged a moment ago and is being encoded again.
      return kernels::WithDetail(
          absl::DataLossError(absl::StrCat("document ", document.number, " of bank \"",
                                           bank.Info().name, "\" is damaged")),
          {.reason = "SEGMENT_DAMAGED",
           .field = "",
           .metadata = {{"document_number", absl::StrCat(document.number)}},
           .retry_after = {}});
    }
    document.id = std::move(row->second.id);
    document.text = std::move(row->second.text);
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
