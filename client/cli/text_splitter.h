#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/source_document.h"

namespace msa::client {

// Cuts a text into pieces of at most `max_tokens` tokens each: at empty lines; a paragraph that is
// too long by itself at line breaks, then after sentences, then between words, then between
// characters. A piece takes parts in order as long as it stays within the limit. The pieces hold
// the whole text in order; only white space at their ends is dropped. `count` gives the tokens of a
// document with the text that it is given; an error of it ends the work. INVALID_ARGUMENT when not
// even one character fits: a document has tokens of its own besides its text.
using TokenCounter = std::function<absl::StatusOr<int64_t>(const std::string& text)>;
absl::StatusOr<std::vector<std::string>> SplitText(std::string_view text, int64_t max_tokens,
                                                   const TokenCounter& count);

// The document itself when it has at most `max_tokens` tokens. Otherwise its pieces: ids `id#0`,
// `id#1`, …, its metadata and `parent` with its id.
absl::StatusOr<std::vector<SourceDocument>> SplitDocument(SourceDocument document,
                                                          int64_t max_tokens,
                                                          const TokenCounter& count);

}  // namespace msa::client
