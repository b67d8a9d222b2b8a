#include "client/cli/table.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "client/cli/utf8.h"

namespace msa::client {

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = OneLine(cell, std::numeric_limits<size_t>::max());
  rows_.push_back(std::move(cells));
}

void Table::Print(std::ostream& out, size_t indent) const {
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = NumCharacters(titles[i]);
    for (const auto& row : rows_) width = std::max(width, NumCharacters(row[i]));
    widths.push_back(width);
  }
  const bool has_titles =
      std::any_of(titles.begin(), titles.end(), [](const std::string& t) { return !t.empty(); });
  if (has_titles) PrintRow(out, titles, widths, indent);
  for (const auto& row : rows_) PrintRow(out, row, widths, indent);
}

void Table::PrintRow(std::ostream& out, const std::vector<std::string>& cells,
                     const std::vector<size_t>& widths, size_t indent) const {
  std::string line(indent, ' ');
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line += "  ";
    const std::string padding(widths[i] - NumCharacters(cells[i]), ' ');
    line += columns_[i].align == Align::kRight ? padding + cells[i] : cells[i] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out << line << '\n';
}

}  // namespace msa::client
