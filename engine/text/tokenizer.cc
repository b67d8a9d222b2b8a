#include "engine/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/text/added_token_matcher.h"
#include "engine/text/byte_pair_encoder.h"
#include "engine/text/byte_symbols.h"
#include "engine/text/nfc.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/tokenizer_file.h"
#include "engine/text/utf8.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const std::string message = absl::StrCat(path, ": cannot be opened: ", std::strerror(errno));
    return errno == ENOENT ? absl::NotFoundError(message) : absl::UnavailableError(message);
  }
  std::ostringstream content;
  content << file.rdbuf();
  // Inserting an empty file sets failbit on `content` too; the parser has the better message for
  // that.
  if (file.bad() || errno == EISDIR) {
    return absl::UnavailableError(absl::StrCat(path, ": cannot be read: ", std::strerror(errno)));
  }
  return std::move(content).str();
}

}  // namespace

struct Tokenizer::Segment {
  int32_t id = AddedTokenMatcher::Piece::kNoToken;
  std::string text;  // normalised; of an added token, its content
};

Tokenizer::Tokenizer() = default;
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Parse(json);
  if (tokenizer.ok()) return tokenizer;
  return absl::Status(tokenizer.status().code(),
                      absl::StrCat(path, ": ", tokenizer.status().message()));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view json) {
  MSA_ASSIGN_OR_RETURN(const TokenizerFile file, ParseTokenizerFile(json));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer());
  MSA_RETURN_IF_ERROR(tokenizer->Build(file));
  return tokenizer;
}

absl::Status Tokenizer::Build(const TokenizerFile& file) {
  normalize_nfc_ = file.normalize_nfc;

  absl::StatusOr<PreTokenizer> pre_tokenizer = PreTokenizer::Create(file.split_regex);
  if (!pre_tokenizer.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("pre_tokenizer.pretokenizers[0] (Split): ", pre_tokenizer.status().message()));
  }
  pre_tokenizer_ = std::make_unique<PreTokenizer>(*std::move(pre_tokenizer));

  int32_t highest_id = -1;
  for (const auto& entry : file.vocab) highest_id = std::max(highest_id, entry.id);
  for (const AddedToken& token : file.added_tokens) highest_id = std::max(highest_id, token.id);
  tokens_.resize(static_cast<size_t>(highest_id) + 1);

  std::array<int32_t, 256> byte_ids{};
  std::vector<int32_t> spelled_ids;  // tokens that spell bytes
  for (const auto& entry : file.vocab) {
    // A token that holds other characters than byte symbols is never encoded; Hugging Face decodes
    // it as it stands.
    std::optional<std::string> bytes = BytesOfSymbols(entry.symbols);
    if (bytes.has_value()) {
      spelled_ids.push_back(entry.id);
      if (bytes->size() == 1) byte_ids[static_cast<uint8_t>((*bytes)[0])] = entry.id;
    }
    tokens_[static_cast<size_t>(entry.id)].bytes = std::move(bytes).value_or(entry.symbols);
  }

  raw_matcher_ = std::make_unique<AddedTokenMatcher>();
  normalized_matcher_ = std::make_unique<AddedTokenMatcher>();
  for (const AddedToken& token : file.added_tokens) {
    tokens_[static_cast<size_t>(token.id)] = {token.content, token.special};
    if (token.special) special_ids_.push_back(token.id);
    if (token.normalized) {
      normalized_matcher_->Add(normalize_nfc_ ? ToNfc(token.content) : token.content, token);
    } else {
      raw_matcher_->Add(token.content, token);
    }
  }

  BytePairEncoder::WholePieces whole_pieces;
  if (file.ignore_merges) {
    for (const int32_t id : spelled_ids) {
      const Token& token = tokens_[static_cast<size_t>(id)];
      if (!token.special && !token.bytes.empty()) whole_pieces.emplace(token.bytes, id);
    }
  }
  std::vector<BytePairEncoder::Merge> merges;
  merges.reserve(file.merges.size());
  for (const auto& merge : file.merges) merges.push_back({merge.left, merge.right, merge.result});
  encoder_ = std::make_unique<BytePairEncoder>(byte_ids, merges, std::move(whole_pieces));
  return absl::OkStatus();
}

std::vector<Tokenizer::Segment> Tokenizer::Segments(std::string_view text,
                                                    bool match_special) const {
  using Piece = AddedTokenMatcher::Piece;
  std::vector<Segment> segments;
  const auto add_token = [&](int32_t id) { segments.push_back({id, std::string(TokenBytes(id))}); };
  const std::string well_formed = ReplaceInvalidUtf8(text);
  for (const Piece& raw : raw_matcher_->Split(well_formed, match_special)) {
    if (raw.id != Piece::kNoToken) {
      add_token(raw.id);
      continue;
    }
    const std::string normalized = normalize_nfc_ ? ToNfc(raw.text) : std::string(raw.text);
    for (const Piece& piece : normalized_matcher_->Split(normalized, match_special)) {
      if (piece.id != Piece::kNoToken) {
        add_token(piece.id);
      } else {
        segments.push_back({Piece::kNoToken, std::string(piece.text)});
      }
    }
  }
  return segments;
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text, bool match_special) const {
  std::vector<int32_t> ids;
  for (const Segment& segment : Segments(text, match_special)) {
    if (segment.id != AddedTokenMatcher::Piece::kNoToken) {
      ids.push_back(segment.id);
    } else {
      encoder_->Encode(pre_tokenizer_->Split(segment.text), &ids);
    }
  }
  return ids;
}

std::vector<int32_t> Tokenizer::EncodeText(std::string_view text) const {
  return Encode(text, false);
}

std::vector<int32_t> Tokenizer::EncodeTemplate(std::string_view text) const {
  return Encode(text, true);
}

std::string Tokenizer::Normalize(std::string_view text) const {
  std::string normalized;
  for (const Segment& segment : Segments(text, false)) normalized += segment.text;
  return normalized;
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!skip_special || !IsSpecial(id)) bytes += TokenBytes(id);
  }
  return ReplaceInvalidUtf8(bytes);
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return tokens_[static_cast<size_t>(id)].bytes;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && tokens_[static_cast<size_t>(id)].special;
}

std::optional<int32_t> Tokenizer::SpecialTokenId(std::string_view content) const {
  for (const int32_t id : special_ids_) {
    if (TokenBytes(id) == content) return id;
  }
  return std::nullopt;
}

}  // namespace msa::engine
