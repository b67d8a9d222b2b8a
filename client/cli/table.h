#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

namespace msa::client {

// Rows in aligned columns, two spaces apart, without rules. Cells are UTF-8; line breaks in them
// become spaces.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns);

  // Missing cells are empty, surplus ones are dropped.
  void AddRow(std::vector<std::string> cells);

  // Each line starts with `indent` spaces. No titles line when all titles are empty.
  void Print(std::ostream& out, size_t indent = 0) const;

 private:
  void PrintRow(std::ostream& out, const std::vector<std::string>& cells,
                const std::vector<size_t>& widths, size_t indent) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace msa::client
