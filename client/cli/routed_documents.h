#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "google/protobuf/repeated_field.h"
#include "msa/v1/routing.pb.h"

namespace msa::client {

struct RoutedDocumentsView {
  int64_t limit = 0;         // rows; 0: all
  bool with_layers = false;  // every layer's score and rank
  bool with_text = false;    // the beginning of each text
  size_t indent = 0;         // columns
};

// Routed documents as a table: place, score, number, id, shard and what the view asks for. Layers
// have a column each as long as there are at most six; else one column says how many of them
// selected the document.
void PrintRoutedDocuments(const google::protobuf::RepeatedPtrField<v1::RoutedDocument>& documents,
                          const RoutedDocumentsView& view, std::ostream& out);

// "30.1 ms (prefill 12.0 ms, decode 17.9 ms)": the whole and the stages that took any time.
std::string DescribeTimings(const v1::StageTimings& timings);

}  // namespace msa::client
