#include "engine/text/tokenizer_file.h"

#include <functional>
#include <random>

#include "engine/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/text/tokenizer_vectors.h"

namespace msa::engine {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

json ExampleFile() { return json::parse(ReadTokenizerData("tokenizer.json")); }

struct Damage {
  const char* named;  // what the error must say
  std::function<void(json&)> change;
};

void ExpectRefused(const std::vector<Damage>& damages) {
  const json example = ExampleFile();
  for (const Damage& damage : damages) {
    json file = example;
    damage.change(file);
    const auto tokenizer = Tokenizer::Parse(file.dump());
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument) << damage.named;
    EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr(damage.named));
  }
}

TEST(TokenizerFile, UnsupportedComponentsAreNamed) {
  ExpectRefused({
      {"model is WordPiece; supported: BPE", [](json& f) { f["model"]["type"] = "WordPiece"; }},
      {"model is missing; supported: BPE", [](json& f) { f.erase("model"); }},
      {"normalizer is Lowercase; supported: NFC or null",
       [](json& f) {
         f["normalizer"] = {{"type", "Lowercase"}};
       }},
      {"normalizer is 3; supported", [](json& f) { f["normalizer"] = 3; }},
      {"pre_tokenizer is Whitespace; supported: Sequence of Split and ByteLevel",
       [](json& f) {
         f["pre_tokenizer"] = {{"type", "Whitespace"}};
       }},
      {"pre_tokenizer is null", [](json& f) { f["pre_tokenizer"] = nullptr; }},
      {"pre_tokenizer is an array of 1",
       [](json& f) { f["pre_tokenizer"]["pretokenizers"].erase(1); }},
      {"pre_tokenizer.pretokenizers[0] is Digits",
       [](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["type"] = "Digits"; }},
      {"pre_tokenizer.pretokenizers[0].behavior is \"Removed\"; supported: \"Isolated\"",
       [](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }},
      {"pre_tokenizer.pretokenizers[0].invert is true",
       [](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["invert"] = true; }},
      {"pre_tokenizer.pretokenizers[0].pattern.Regex is missing",
       [](json& f) {
         f["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"String", " "}};
       }},
      {"regular expression a(b does not compile",
       [](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a(b"; }},
      {"pre_tokenizer.pretokenizers[1] is Metaspace",
       [](json& f) { f["pre_tokenizer"]["pretokenizers"][1]["type"] = "Metaspace"; }},
      {"pre_tokenizer.pretokenizers[1].add_prefix_space is true",
       [](json& f) { f["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }},
      {"pre_tokenizer.pretokenizers[1].use_regex is missing",
       [](json& f) { f["pre_tokenizer"]["pretokenizers"][1].erase("use_regex"); }},
      {"post_processor is TemplateProcessing; supported: ByteLevel or null",
       [](json& f) { f["post_processor"]["type"] = "TemplateProcessing"; }},
      {"decoder is WordPiece; supported: ByteLevel",
       [](json& f) { f["decoder"]["type"] = "WordPiece"; }},
      {"decoder is null", [](json& f) { f["decoder"] = nullptr; }},
      {"truncation is",
       [](json& f) {
         f["truncation"] = {{"max_length", 10}};
       }},
      {"padding is",
       [](json& f) {
         f["padding"] = {{"strategy", "BatchLongest"}};
       }},
      {"model.dropout is 0.1; supported: null", [](json& f) { f["model"]["dropout"] = 0.1; }},
      {"model.unk_token is \"<unk>\"", [](json& f) { f["model"]["unk_token"] = "<unk>"; }},
      {"model.continuing_subword_prefix is \"##\"",
       [](json& f) { f["model"]["continuing_subword_prefix"] = "##"; }},
      {"model.end_of_word_suffix is \"</w>\"",
       [](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }},
      {"model.byte_fallback is true", [](json& f) { f["model"]["byte_fallback"] = true; }},
      {"model.ignore_merges is \"yes\"", [](json& f) { f["model"]["ignore_merges"] = "yes"; }},
  });
}

TEST(TokenizerFile, DamagedVocabulariesAreNamed) {
  ExpectRefused({
      {"model.vocab is missing", [](json& f) { f["model"].erase("vocab"); }},
      {"model.vocab is an array of 0", [](json& f) { f["model"]["vocab"] = json::array(); }},
      {"the id of model.vocab's \"!\" is -1", [](json& f) { f["model"]["vocab"]["!"] = -1; }},
      {"the id of model.vocab's \"!\" is 1.5", [](json& f) { f["model"]["vocab"]["!"] = 1.5; }},
      {"the id of model.vocab's \"!\" is \"1\"", [](json& f) { f["model"]["vocab"]["!"] = "1"; }},
      {"the id of model.vocab's \"!\" is 2097152; supported: an id from 0 to 2097151",
       [](json& f) { f["model"]["vocab"]["!"] = kMaxTokenIds; }},
      {"the id of model.vocab's \"!\" is 18446744073709551615",
       [](json& f) { f["model"]["vocab"]["!"] = ~uint64_t{0}; }},
      {"model.vocab gives id 1 to", [](json& f) { f["model"]["vocab"]["!"] = 1; }},
      {"model.vocab has the empty token", [](json& f) { f["model"]["vocab"][""] = 5000; }},
      {"model.vocab lacks the symbol \"Ġ\" of byte 0x20",
       [](json& f) { f["model"]["vocab"].erase("Ġ"); }},
  });
}

TEST(TokenizerFile, DamagedMergesAreNamed) {
  ExpectRefused({
      {"model.merges is missing", [](json& f) { f["model"].erase("merges"); }},
      {"model.merges is an object", [](json& f) { f["model"]["merges"] = json::object(); }},
      {"model.merges[3] is 7", [](json& f) { f["model"]["merges"][3] = 7; }},
      {"model.merges[3] is an array of 3",
       [](json& f) {
         f["model"]["merges"][3] = {"a", "b", "c"};
       }},
      {"model.merges[3] is an array of 2",
       [](json& f) {
         f["model"]["merges"][3] = {"a", 1};
       }},
      {"model.merges[3] is \"ab\"", [](json& f) { f["model"]["merges"][3] = "ab"; }},
      {"model.merges[3] is \"a b c\"", [](json& f) { f["model"]["merges"][3] = "a b c"; }},
      {"needs the token \"zzz\", which model.vocab lacks",
       [](json& f) {
         f["model"]["merges"][3] = {"zzz", "a"};
       }},
      {"needs the token \"~~~\"",
       [](json& f) {
         f["model"]["merges"][3] = {"a", "~~~"};
       }},
      {"needs the token \"~q\"",
       [](json& f) {
         f["model"]["merges"][3] = {"~", "q"};
       }},
      {"needs the token \"\"", [](json& f) { f["model"]["merges"][3] = "a "; }},
      {"model.merges[3] repeats the pair",
       [](json& f) { f["model"]["merges"][3] = f["model"]["merges"][2]; }},
  });
}

TEST(TokenizerFile, DamagedAddedTokensAreNamed) {
  ExpectRefused({
      {"added_tokens is 1", [](json& f) { f["added_tokens"] = 1; }},
      {"added_tokens[0] is \"x\"", [](json& f) { f["added_tokens"][0] = "x"; }},
      {"added_tokens[0].id is missing", [](json& f) { f["added_tokens"][0].erase("id"); }},
      {"added_tokens[0].content is \"\"", [](json& f) { f["added_tokens"][0]["content"] = ""; }},
      {"(1025 bytes); supported: a text of 1 to 1024 bytes",
       [](json& f) { f["added_tokens"][0]["content"] = std::string(1025, 'x'); }},
      {"added_tokens[0].special is missing",
       [](json& f) { f["added_tokens"][0].erase("special"); }},
      {"added_tokens[0].lstrip is 0", [](json& f) { f["added_tokens"][0]["lstrip"] = 0; }},
      {"has the content of an earlier added token",
       [](json& f) { f["added_tokens"][1]["content"] = f["added_tokens"][0]["content"]; }},
      {"has the id of an earlier added token",
       [](json& f) { f["added_tokens"][1]["id"] = f["added_tokens"][0]["id"]; }},
      {"has the id that model.vocab gives to", [](json& f) { f["added_tokens"][0]["id"] = 1; }},
      {"has the id 0 in model.vocab", [](json& f) { f["added_tokens"][0]["content"] = "!"; }},
  });
}

// Otherwise a user could write one.
TEST(TokenizerFile, SpecialTokensThatOrdinaryTextBecomesAreRefused) {
  const auto add_special = [](json& f, const std::string& content) {
    json token = f["added_tokens"][0];
    token["content"] = content;
    token["id"] = f["model"]["vocab"][content];
    f["added_tokens"].push_back(token);
  };
  ExpectRefused({
      {"is special and also what ordinary text becomes", [&](json& f) { add_special(f, "!"); }},
      {"is special and also what ordinary text becomes", [&](json& f) { add_special(f, "he"); }},
      {"spells other bytes", [&](json& f) { add_special(f, "Ġt"); }},
  });
}

TEST(TokenizerFile, JsonThatIsNotATokenizerIsRefused) {
  for (const char* const text : {"", " ", "{", "null", "[]", "3", "\"x\"", "{}", "{\"model\":",
                                 "{\"model\":{\"type\":\"BPE\"}} x", "\xFF", "{\"a\":1e999}"}) {
    EXPECT_EQ(Tokenizer::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(std::string(Tokenizer::Parse("{\"a\": [1,").status().message()),
              AllOf(HasSubstr("not valid JSON"), HasSubstr("line 1, column 10")));
  EXPECT_THAT(std::string(Tokenizer::Parse("{\"a\":{\"b\":1,\"b\":2}}").status().message()),
              HasSubstr("key \"b\" twice"));
}

TEST(TokenizerFile, DeeplyNestedValuesAreRefused) {
  constexpr size_t kDepth = 200000;
  const std::string nested = std::string(kDepth, '[') + std::string(kDepth, ']');
  json file = ExampleFile();
  file["normalizer"] = "NESTED";
  std::string text = file.dump();
  text.replace(text.find("\"NESTED\""), 8, nested);
  EXPECT_THAT(std::string(Tokenizer::Parse(text).status().message()),
              HasSubstr("normalizer is an array of 1"));
}

TEST(TokenizerFile, FilesThatCannotBeReadAreNamed) {
  const std::string missing = TokenizerDataPath("no-such-file.json");
  EXPECT_EQ(Tokenizer::Load(missing).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Tokenizer::Load(missing).status().message()), HasSubstr(missing));
  const std::string folder = TokenizerDataPath("");
  EXPECT_EQ(Tokenizer::Load(folder).status().code(), absl::StatusCode::kUnavailable);
  const std::string other = TokenizerDataPath("tokenizer_config.json");
  EXPECT_EQ(Tokenizer::Load(other).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Tokenizer::Load(other).status().message()), HasSubstr(other));
}

TEST(TokenizerFile, EveryTruncationIsRefused) {
  const std::string text = ReadTokenizerData("tokenizer-string-merges.json");
  const size_t end = text.rfind('}');
  for (size_t length = 0; length <= end; length += 1 + length / 20) {
    EXPECT_EQ(ParseTokenizerFile(text.substr(0, length)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << length;
  }
}

// A file with the 256 byte symbols, one token more, and every component.
json SmallFile() {
  json file = ExampleFile();
  json vocab = {{"he", 256}};
  for (const auto& [symbols, id] : file["model"]["vocab"].items()) {
    if (id < 256) vocab[symbols] = id;
  }
  file["model"]["vocab"] = vocab;
  file["model"]["merges"] = json::array({json::array({"h", "e"})});
  file["added_tokens"].erase(file["added_tokens"].begin() + 2, file["added_tokens"].end());
  return file;
}

// Any value anywhere becomes one of another type; whatever comes of it, nothing may crash.
TEST(TokenizerFile, WrongTypesAnywhereNeverCrash) {
  const json example = SmallFile();
  const json replacements[] = {nullptr,
                               true,
                               -1,
                               7u,
                               1e300,
                               "",
                               "Ġ",
                               "(",
                               json::array(),
                               json::object(),
                               json::array({json::object()}),
                               {{"type", 5}}};
  const json flat = example.flatten();
  int num_loaded = 0;
  int num_refused = 0;
  for (const auto& [pointer, value] : flat.items()) {
    if (pointer.rfind("/model/vocab/", 0) == 0 && value != 0) continue;
    for (json::json_pointer place(pointer); !place.empty(); place.pop_back()) {
      for (const json& replacement : replacements) {
        json file = example;
        file[place] = replacement;
        const auto tokenizer = Tokenizer::Parse(file.dump());
        num_loaded += tokenizer.ok() ? 1 : 0;
        num_refused += tokenizer.ok() ? 0 : 1;
        if (tokenizer.ok()) (*tokenizer)->EncodeTemplate("the <|im_start|> test");
      }
    }
  }
  EXPECT_GT(num_loaded, 50);
  EXPECT_GT(num_refused, 400);
}

TEST(TokenizerFile, DamagedBytesNeverCrash) {
  const std::string text = ReadTokenizerData("tokenizer-string-merges.json");
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    std::string damaged = text;
    for (int i = 0; i < 3; ++i) {
      const size_t place = random() % damaged.size();
      damaged[place] = round % 2 == 0 ? static_cast<char>(random()) : text[random() % text.size()];
    }
    const auto tokenizer = Tokenizer::Parse(damaged);
    if (tokenizer.ok()) (*tokenizer)->EncodeText("It's 1 test.");
  }
}

}  // namespace
}  // namespace msa::engine
