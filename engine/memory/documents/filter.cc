#include "engine/memory/documents/filter.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/text/utf8.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

using Node = Filter::Node;
using Operator = Filter::Operator;

struct Token {
  enum class Kind { kWord, kString, kNumber, kSymbol, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;  // as written; of a string, its value
  size_t at = 0;     // byte offset
};

absl::Status Invalid(size_t at, const std::string& what) {
  return kernels::Refusal(absl::StatusCode::kInvalidArgument,
                          absl::StrCat("filter, byte ", at, ": ", what), "INVALID_FILTER", "filter",
                          {{"byte", absl::StrCat(at)}});
}

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  absl::StatusOr<Token> Next() {
    while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    Token token{.kind = Token::Kind::kEnd, .text = "", .at = at_};
    if (at_ == text_.size()) return token;
    const char c = text_[at_];
    if (c == '"') return String(std::move(token));
    if (absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '-' || c == '+' || c == '.') {
      const bool is_dot =
          c == '.' && (at_ + 1 == text_.size() ||
                       !absl::ascii_isdigit(static_cast<unsigned char>(text_[at_ + 1])));
      if (!is_dot)
        return Take(std::move(token), Token::Kind::kNumber,
                    [](char next) { return IsWordByte(next) || next == '.' || next == '+'; });
    }
    if (IsWordByte(c)) return Take(std::move(token), Token::Kind::kWord, IsWordByte);
    token.kind = Token::Kind::kSymbol;
    for (const std::string_view symbol : {"!=", "<=", ">=", ":*", "=", "<", ">", "(", ")", "."}) {
      if (text_.substr(at_, symbol.size()) != symbol) continue;
      token.text = std::string(symbol);
      at_ += symbol.size();
      return token;
    }
    const size_t length = FirstUtf8Sequence(text_.substr(at_)).length;
    return Invalid(at_, absl::StrCat("\"", ReplaceInvalidUtf8(text_.substr(at_, length)),
                                     "\" has no meaning here"));
  }

 private:
  template <class IsPart>
  Token Take(Token token, Token::Kind kind, IsPart is_part) {
    token.kind = kind;
    while (at_ < text_.size() && is_part(text_[at_])) token.text += text_[at_++];
    return token;
  }

  absl::StatusOr<Token> String(Token token) {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return Invalid(at_, "the string has no closing quote");
    const std::string_view quoted = text_.substr(at_, end + 1 - at_);
    const nlohmann::json value = nlohmann::json::parse(quoted, nullptr, /*allow_exceptions=*/false);
    if (!value.is_string()) {
      return Invalid(at_, "the string is no JSON string (escapes, control characters, UTF-8)");
    }
    token.kind = Token::Kind::kString;
    token.text = value.get<std::string>();
    at_ = end + 1;
    return token;
  }

  std::string_view text_;
  size_t at_ = 0;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  absl::StatusOr<Node> Run() {
    MSA_RETURN_IF_ERROR(Advance());
    MSA_ASSIGN_OR_RETURN(Node root, ParseFilter(0));
    if (token_.kind != Token::Kind::kEnd) return Expected("AND, OR or the end");
    return root;
  }

 private:
  absl::Status Advance() {
    MSA_ASSIGN_OR_RETURN(token_, lexer_.Next());
    return absl::OkStatus();
  }

  absl::Status Expected(std::string_view what) const {
    return Invalid(token_.at, absl::StrCat(kernels::ToAbsl(what), " expected, found ",
                                           token_.kind == Token::Kind::kEnd
                                               ? "the end"
                                               : absl::StrCat("\"", token_.text, "\"")));
  }

  bool IsSymbol(std::string_view text) const {
    return token_.kind == Token::Kind::kSymbol && token_.text == text;
  }
  bool IsWord(std::string_view text) const {
    return token_.kind == Token::Kind::kWord && token_.text == text;
  }

  absl::StatusOr<Node> ParseFilter(int depth) {
    MSA_ASSIGN_OR_RETURN(Node first, ParseTerm(depth));
    if (!IsWord("AND") && !IsWord("OR")) return first;
    const std::string connective = token_.text;
    Node node;
    node.kind = connective == "AND" ? Node::Kind::kAnd : Node::Kind::kOr;
    node.children.push_back(std::move(first));
    while (IsWord("AND") || IsWord("OR")) {
      if (token_.text != connective) {
        return Invalid(token_.at, "AND and OR side by side need parentheses");
      }
      MSA_RETURN_IF_ERROR(Advance());
      MSA_ASSIGN_OR_RETURN(Node next, ParseTerm(depth));
      node.children.push_back(std::move(next));
    }
    return node;
  }

  absl::StatusOr<Node> ParseTerm(int depth) {
    if (depth >= kMaxFilterDepth) {
      return Invalid(token_.at,
                     absl::StrCat("NOT and parentheses nest deeper than ", kMaxFilterDepth));
    }
    if (IsWord("NOT")) {
      MSA_RETURN_IF_ERROR(Advance());
      Node node;
      node.kind = Node::Kind::kNot;
      MSA_ASSIGN_OR_RETURN(Node child, ParseTerm(depth + 1));
      node.children.push_back(std::move(child));
      return node;
    }
    if (IsSymbol("(")) {
      MSA_RETURN_IF_ERROR(Advance());
      MSA_ASSIGN_OR_RETURN(Node node, ParseFilter(depth + 1));
      if (!IsSymbol(")")) return Expected("\")\"");
      MSA_RETURN_IF_ERROR(Advance());
      return node;
    }
    return ParseComparison();
  }

  absl::StatusOr<Node> ParseComparison() {
    if (++num_comparisons_ > kMaxFilterComparisons) {
      return Invalid(token_.at, absl::StrCat("more than ", kMaxFilterComparisons, " comparisons"));
    }
    Node node;
    if (IsWord("id")) {
      node.kind = Node::Kind::kId;
      MSA_RETURN_IF_ERROR(Advance());
    } else if (IsWord("metadata")) {
      node.kind = Node::Kind::kMetadata;
      MSA_RETURN_IF_ERROR(Advance());
      if (!IsSymbol(".")) return Expected("\".\" and a metadata key");
      MSA_RETURN_IF_ERROR(Advance());
      if (token_.kind != Token::Kind::kWord && token_.kind != Token::Kind::kString) {
        return Expected("a metadata key (in double quotes unless it is a word)");
      }
      node.key = token_.text;
      MSA_RETURN_IF_ERROR(Advance());
    } else {
      return Expected("id, metadata.KEY, NOT or \"(\"");
    }
    const size_t at = token_.at;
    MSA_ASSIGN_OR_RETURN(node.op, ParseOperator());
    const bool is_order = node.op != Operator::kEqual && node.op != Operator::kNotEqual;
    if (node.kind == Node::Kind::kId && is_order) return Invalid(at, "id takes = and != only");
    if (node.op == Operator::kHas) return node;
    const size_t value_at = token_.at;
    MSA_ASSIGN_OR_RETURN(node.value, ParseValue());
    if (node.kind == Node::Kind::kId && !std::holds_alternative<std::string>(node.value)) {
      return Invalid(value_at, "an id is a string in double quotes");
    }
    if (std::holds_alternative<bool>(node.value) && is_order) {
      return Invalid(at, "true and false take = and != only");
    }
    return node;
  }

  absl::StatusOr<Operator> ParseOperator() {
    static constexpr std::pair<std::string_view, Operator> kOperators[] = {
        {"=", Operator::kEqual},   {"!=", Operator::kNotEqual},
        {"<", Operator::kLess},    {"<=", Operator::kLessOrEqual},
        {">", Operator::kGreater}, {">=", Operator::kGreaterOrEqual},
        {":*", Operator::kHas}};
    for (const auto& [symbol, op] : kOperators) {
      if (!IsSymbol(symbol)) continue;
      MSA_RETURN_IF_ERROR(Advance());
      return op;
    }
    return Expected("=, !=, <, <=, >, >= or :*");
  }

  absl::StatusOr<MetadataValue> ParseValue() {
    std::optional<MetadataValue> value;
    double number = 0;
    if (token_.kind == Token::Kind::kString) value = token_.text;
    if (IsWord("true")) value = true;
    if (IsWord("false")) value = false;
    if (token_.kind == Token::Kind::kNumber && absl::SimpleAtod(token_.text, &number) &&
        std::isfinite(number)) {
      value = number;
    }
    if (!value) return Expected("a string in double quotes, a number, true or false");
    MSA_RETURN_IF_ERROR(Advance());
    return *std::move(value);
  }

  Lexer lexer_;
  Token token_;
  int num_comparisons_ = 0;
};

bool Holds(const Node& node, std::string_view id, const Metadata& metadata) {
  const auto child_holds = [&](const Node& child) { return Holds(child, id, metadata); };
  switch (node.kind) {
    case Node::Kind::kAnd:
      return std::all_of(node.children.begin(), node.children.end(), child_holds);
    case Node::Kind::kOr:
      return std::any_of(node.children.begin(), node.children.end(), child_holds);
    case Node::Kind::kNot:
      return !child_holds(node.children[0]);
    case Node::Kind::kId:
      return (std::get<std::string>(node.value) == id) == (node.op == Operator::kEqual);
    case Node::Kind::kMetadata:
      const auto found = metadata.find(node.key);
      return found != metadata.end() && Compares(found->second, node.op, node.value);
  }
  return false;
}

}  // namespace

bool Compares(const MetadataValue& actual, Operator op, const MetadataValue& wanted) {
  if (op == Operator::kHas) return true;
  if (actual.index() != wanted.index()) return false;
  switch (op) {
    case Operator::kEqual:
      return actual == wanted;
    case Operator::kNotEqual:
      return actual != wanted;
    case Operator::kLess:
      return actual < wanted;
    case Operator::kLessOrEqual:
      return actual <= wanted;
    case Operator::kGreater:
      return actual > wanted;
    case Operator::kGreaterOrEqual:
      return actual >= wanted;
    case Operator::kHas:
      break;
  }
  return true;
}

absl::StatusOr<Filter> Filter::Parse(std::string_view text) {
  const auto bytes = static_cast<int64_t>(text.size());
  if (bytes > kMaxFilterBytes) {
    return kernels::Refusal(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat("filter has ", bytes, " bytes, the limit is ", kMaxFilterBytes),
        "INVALID_FILTER", "filter",
        {{"limit", absl::StrCat(kMaxFilterBytes)}, {"actual", absl::StrCat(bytes)}});
  }
  MSA_ASSIGN_OR_RETURN(Node root, Parser(text).Run());
  return Filter(std::move(root));
}

bool Filter::Matches(std::string_view id, const Metadata& metadata) const {
  return Holds(root_, id, metadata);
}

}  // namespace msa::engine
