#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace msa::engine {

// The document numbers that `text` cites, as every "[digits]" in it (ASCII digits, leading zeros
// allowed), unique and ascending. Numbers that no document can have (above uint32) are dropped.
// Where there are more than `max_citations`, those that were written first remain.
std::vector<uint32_t> FindCitations(std::string_view text, size_t max_citations);

}  // namespace msa::engine
