// Filter::Parse on any bytes; what it takes must find the same documents one by one and through the
// index.
#include "engine/memory/documents/filter.h"

#include <string>
#include <vector>

#include "engine/memory/documents/metadata_index.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "tests/fuzz/fuzz_target.h"

namespace msa::engine {
namespace {

struct IndexedDocument {
  std::string id;
  Metadata metadata;
};

const std::vector<IndexedDocument>& Documents() {
  static const auto* const documents = new std::vector<IndexedDocument>{
      {"a", {}},
      {"doc-1", {{"lang", "en"}, {"year", 2021.0}, {"draft", false}}},
      {"doc-2", {{"lang", "de"}, {"year", -0.0}, {"draft", true}}},
      {"doc-3", {{"lang", ""}, {"year", "2021"}, {"two words", "x"}}},
      {"\xC3\xA9", {{"lang", "\xF0\x9F\x99\x82"}, {"year", 1e300}, {"a", 1.0}}},
      {"true", {{"draft", "true"}, {"a", 2.0}, {"", "empty key"}}},
  };
  return *documents;
}

const MetadataIndex& Index() {
  static const MetadataIndex* const index = [] {
    auto* made = new MetadataIndex;
    for (uint32_t i = 0; i < Documents().size(); ++i) {
      made->Add(i, Documents()[i].id, Documents()[i].metadata);
    }
    return made;
  }();
  return *index;
}

void Check(std::string_view text) {
  const auto filter = Filter::Parse(text);
  if (!filter.ok()) {
    MSA_CHECK(absl::IsInvalidArgument(filter.status()), "a refusal of the request");
    const std::string message(filter.status().message());
    MSA_CHECK(ReplaceInvalidUtf8(message) == message, "messages are UTF-8");
    return;
  }
  const DocumentSet selected = Index().Select(*filter);
  for (uint32_t i = 0; i < Documents().size(); ++i) {
    const bool matches = filter->Matches(Documents()[i].id, Documents()[i].metadata);
    MSA_CHECK(selected.Contains(i) == matches, "index and filter agree");
  }
}

}  // namespace
}  // namespace msa::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msa::engine::Check({reinterpret_cast<const char*>(data), size});
  return 0;
}
