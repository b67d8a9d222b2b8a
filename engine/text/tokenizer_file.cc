#include "engine/text/tokenizer_file.h"

#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/text/byte_symbols.h"
#include "engine/text/json_component.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"
#include "nlohmann/json.hpp"

namespace msa::engine {
namespace {

using kernels::ToAbsl;
using nlohmann::json;
using VocabIds = absl::flat_hash_map<std::string_view, int32_t>;  // by symbols

absl::StatusOr<int32_t> ReadId(const json* value, absl::string_view component) {
  // The parser makes every number that has no sign unsigned.
  if (value != nullptr && value->is_number_unsigned() && value->get<uint64_t>() < kMaxTokenIds) {
    return value->get<int32_t>();
  }
  return Unsupported(component, value, absl::StrCat("an id from 0 to ", kMaxTokenIds - 1));
}

absl::Status CheckSurroundings(const json& root) {
  for (const char* const key : {"truncation", "padding"}) {
    if (!IsAbsent(Find(root, key))) return Unsupported(key, Find(root, key), "null");
  }
  const json* const post_processor = Find(root, "post_processor");
  if (!IsAbsent(post_processor) && !IsType(post_processor, "ByteLevel")) {
    return Unsupported("post_processor", post_processor, "ByteLevel or null");
  }
  const json* const decoder = Find(root, "decoder");
  if (!IsType(decoder, "ByteLevel")) return Unsupported("decoder", decoder, "ByteLevel");
  return absl::OkStatus();
}

absl::Status ReadNormalizer(const json& root, TokenizerFile* file) {
  const json* const normalizer = Find(root, "normalizer");
  file->normalize_nfc = IsType(normalizer, "NFC");
  if (file->normalize_nfc || IsAbsent(normalizer)) return absl::OkStatus();
  return Unsupported("normalizer", normalizer, "NFC or null");
}

absl::Status ReadPreTokenizer(const json& root, TokenizerFile* file) {
  const json* const sequence = Find(root, "pre_tokenizer");
  const json* const steps =
      IsType(sequence, "Sequence") ? Find(*sequence, "pretokenizers") : nullptr;
  if (steps == nullptr || !steps->is_array() || steps->size() != 2) {
    return Unsupported("pre_tokenizer", steps == nullptr ? sequence : steps,
                       "Sequence of Split and ByteLevel");
  }
  const json& split = (*steps)[0];
  const std::string split_name = "pre_tokenizer.pretokenizers[0]";
  if (!IsType(&split, "Split")) return Unsupported(split_name, &split, "Split");
  const json* const behavior = Find(split, "behavior");
  if (behavior == nullptr || *behavior != "Isolated") {
    return Unsupported(split_name + ".behavior", behavior, "\"Isolated\"");
  }
  if (!IsFalse(Find(split, "invert")))
    return Unsupported(split_name + ".invert", Find(split, "invert"), "false");
  const json* const pattern = Find(split, "pattern");
  const json* const regex = pattern == nullptr ? nullptr : Find(*pattern, "Regex");
  if (regex == nullptr || !regex->is_string()) {
    return Unsupported(split_name + ".pattern.Regex", regex, "a regular expression");
  }
  file->split_regex = regex->get<std::string>();

  const json& byte_level = (*steps)[1];
  const std::string byte_level_name = "pre_tokenizer.pretokenizers[1]";
  if (!IsType(&byte_level, "ByteLevel"))
    return Unsupported(byte_level_name, &byte_level, "ByteLevel");
  for (const char* const key : {"add_prefix_space", "use_regex"}) {
    const json* const value = Find(byte_level, key);
    if (!IsFalse(value))
      return Unsupported(absl::StrCat(byte_level_name, ".", key), value, "false");
  }
  return absl::OkStatus();
}

absl::Status CheckModelOptions(const json& model) {
  if (const json* const dropout = Find(model, "dropout"); !IsAbsent(dropout) && *dropout != 0) {
    return Unsupported("model.dropout", dropout, "null");
  }
  if (!IsAbsent(Find(model, "unk_token")))
    return Unsupported("model.unk_token", Find(model, "unk_token"), "null");
  for (const char* const key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json* const value = Find(model, key);
    if (!IsAbsentOrEmpty(value))
      return Unsupported(absl::StrCat("model.", key), value, "null or \"\"");
  }
  const json* const byte_fallback = Find(model, "byte_fallback");
  if (!IsAbsent(byte_fallback) && !IsFalse(byte_fallback)) {
    return Unsupported("model.byte_fallback", byte_fallback, "false");
  }
  return absl::OkStatus();
}

absl::Status ReadVocab(const json& model, TokenizerFile* file) {
  const json* const vocab = Find(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) {
    return Unsupported("model.vocab", vocab, "an object of tokens and their ids");
  }
  file->vocab.reserve(vocab->size());
  absl::flat_hash_map<int32_t, std::string_view> symbols_of_id;
  absl::flat_hash_set<std::string_view> all_symbols;
  for (const auto& [symbols, value] : vocab->items()) {
    if (symbols.empty()) return absl::InvalidArgumentError("model.vocab has the empty token");
    MSA_ASSIGN_OR_RETURN(const int32_t id,
                         ReadId(&value, absl::StrCat("the id of model.vocab's ", Shown(symbols))));
    const auto [taken, is_new] = symbols_of_id.try_emplace(id, symbols);
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrFormat("model.vocab gives id %d to %s and to %s",
                                                        id, Shown(taken->second), Shown(symbols)));
    }
    all_symbols.insert(symbols);
    file->vocab.push_back({symbols, id});
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string symbol = ByteSymbol(static_cast<uint8_t>(byte));
    if (!all_symbols.contains(symbol)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "model.vocab lacks the symbol \"%s\" of byte 0x%02x; byte-level BPE needs all 256",
          symbol, byte));
    }
  }
  return absl::OkStatus();
}

struct MergeParts {
  std::string_view left;
  std::string_view right;
};

// A merge in either form: ["left", "right"] or "left right".
absl::StatusOr<MergeParts> ReadMergeParts(const json& merge, absl::string_view name) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return MergeParts{merge[0].get_ref<const std::string&>(),
                      merge[1].get_ref<const std::string&>()};
  }
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      return MergeParts{text.substr(0, space), text.substr(space + 1)};
    }
  }
  return Unsupported(name, &merge, "[\"left\", \"right\"] or \"left right\"");
}

absl::Status ReadMerges(const json& model, const VocabIds& ids, TokenizerFile* file) {
  const json* const merges = Find(model, "merges");
  if (merges == nullptr || !merges->is_array())
    return Unsupported("model.merges", merges, "an array of merges");
  file->merges.reserve(merges->size());
  absl::flat_hash_set<std::pair<int32_t, int32_t>> pairs;
  for (size_t i = 0; i < merges->size(); ++i) {
    const json& merge = (*merges)[i];
    const std::string name = absl::StrCat("model.merges[", i, "]");
    // Older files keep the header of merges.txt; Hugging Face skips it, without counting a rank.
    if (merge.is_string() && merge.get_ref<const std::string&>().rfind("#version", 0) == 0)
      continue;
    MSA_ASSIGN_OR_RETURN(const MergeParts parts, ReadMergeParts(merge, name));
    const std::string joined = absl::StrCat(ToAbsl(parts.left), ToAbsl(parts.right));
    TokenizerFile::Merge entry;
    const std::pair<std::string_view, int32_t*> needed[] = {
        {parts.left, &entry.left}, {parts.right, &entry.right}, {joined, &entry.result}};
    for (const auto& [symbols, id] : needed) {
      const auto found = ids.find(symbols);
      if (found == ids.end()) {
        return absl::InvalidArgumentError(
            absl::StrFormat("%s (%s and %s) needs the token %s, which model.vocab lacks", name,
                            Shown(parts.left), Shown(parts.right), Shown(symbols)));
      }
      *id = found->second;
    }
    if (!pairs.emplace(entry.left, entry.right).second) {
      return absl::InvalidArgumentError(absl::StrFormat("%s repeats the pair %s and %s", name,
                                                        Shown(parts.left), Shown(parts.right)));
    }
    file->merges.push_back(entry);
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> ReadAddedToken(const json& value, const std::string& name) {
  if (!value.is_object()) return Unsupported(name, &value, "an object with id, content and flags");
  AddedToken token;
  MSA_ASSIGN_OR_RETURN(token.id, ReadId(Find(value, "id"), name + ".id"));
  const json* const content = Find(value, "content");
  if (content == nullptr || !content->is_string() ||
      content->get_ref<const std::string&>().empty() ||
      content->get_ref<const std::string&>().size() > kMaxAddedTokenBytes) {
    return Unsupported(name + ".content", content,
                       absl::StrCat("a text of 1 to ", kMaxAddedTokenBytes, " bytes"));
  }
  token.content = content->get<std::string>();
  MSA_ASSIGN_OR_RETURN(token.single_word, ReadBool(value, "single_word", name));
  MSA_ASSIGN_OR_RETURN(token.lstrip, ReadBool(value, "lstrip", name));
  MSA_ASSIGN_OR_RETURN(token.rstrip, ReadBool(value, "rstrip", name));
  MSA_ASSIGN_OR_RETURN(token.normalized, ReadBool(value, "normalized", name));
  MSA_ASSIGN_OR_RETURN(token.special, ReadBool(value, "special", name));
  return token;
}

absl::Status ReadAddedTokens(const json& root, TokenizerFile* file) {
  const json* const added = Find(root, "added_tokens");
  if (IsAbsent(added)) return absl::OkStatus();
  if (!added->is_array()) return Unsupported("added_tokens", added, "an array");
  for (size_t i = 0; i < added->size(); ++i) {
    MSA_ASSIGN_OR_RETURN(AddedToken token,
                         ReadAddedToken((*added)[i], absl::StrCat("added_tokens[", i, "]")));
    file->added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

// Added tokens against each other, the vocabulary and the merges.
absl::Status CheckAddedTokens(const TokenizerFile& file, const VocabIds& ids) {
  absl::flat_hash_map<int32_t, std::string_view> symbols_of_id;
  for (const auto& [symbols, id] : ids) symbols_of_id.emplace(id, symbols);
  absl::flat_hash_set<int32_t> merged_ids;
  for (const auto& merge : file.merges) merged_ids.insert(merge.result);
  absl::flat_hash_set<std::string_view> contents;
  absl::flat_hash_set<int32_t> added_ids;
  for (size_t i = 0; i < file.added_tokens.size(); ++i) {
    const AddedToken& token = file.added_tokens[i];
    const std::string name =
        absl::StrFormat("added_tokens[%d] (%s, id %d)", i, Shown(token.content), token.id);
    if (!contents.insert(token.content).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " has the content of an earlier added token"));
    }
    if (!added_ids.insert(token.id).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " has the id of an earlier added token"));
    }
    const auto in_vocab = ids.find(token.content);
    if (in_vocab != ids.end() && in_vocab->second != token.id) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " has the id ", in_vocab->second, " in model.vocab"));
    }
    const auto same_id = symbols_of_id.find(token.id);
    if (same_id != symbols_of_id.end() && same_id->second != token.content) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " has the id that model.vocab gives to ", Shown(same_id->second)));
    }
    if (in_vocab == ids.end()) continue;
    const std::optional<std::string> bytes = BytesOfSymbols(token.content);
    if (!bytes.has_value()) continue;
    if (*bytes != token.content) {
      return absl::InvalidArgumentError(
          absl::StrCat(name,
                       " is in model.vocab, where it spells other bytes; supported: added tokens "
                       "of ASCII, or not in the "
                       "vocabulary"));
    }
    // Otherwise users' text could make it.
    if (token.special && (bytes->size() == 1 || merged_ids.contains(token.id))) {
      return absl::InvalidArgumentError(
          absl::StrCat(name,
                       " is special and also what ordinary text becomes; supported: special tokens "
                       "that are neither a byte's "
                       "symbol nor the result of a merge"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerFile> ParseTokenizerFile(std::string_view text) {
  MSA_ASSIGN_OR_RETURN(const json root, ParseJsonObject(text));
  TokenizerFile file;
  const json* const model = Find(root, "model");
  if (!IsType(model, "BPE")) return Unsupported("model", model, "BPE");
  MSA_RETURN_IF_ERROR(CheckModelOptions(*model));
  MSA_RETURN_IF_ERROR(ReadNormalizer(root, &file));
  MSA_RETURN_IF_ERROR(ReadPreTokenizer(root, &file));
  MSA_RETURN_IF_ERROR(CheckSurroundings(root));
  if (const json* const ignore_merges = Find(*model, "ignore_merges"); !IsAbsent(ignore_merges)) {
    MSA_ASSIGN_OR_RETURN(file.ignore_merges, ReadBool(*model, "ignore_merges", "model"));
  }
  MSA_RETURN_IF_ERROR(ReadVocab(*model, &file));
  VocabIds ids;
  ids.reserve(file.vocab.size());
  for (const auto& entry : file.vocab) ids.emplace(entry.symbols, entry.id);
  MSA_RETURN_IF_ERROR(ReadMerges(*model, ids, &file));
  MSA_RETURN_IF_ERROR(ReadAddedTokens(root, &file));
  MSA_RETURN_IF_ERROR(CheckAddedTokens(file, ids));
  return file;
}

}  // namespace msa::engine
