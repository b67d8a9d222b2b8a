// msactl on a server with the in-memory engine: changing, exporting, checking and keeping banks.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/client/cli/tool_run.h"
#include "tests/server/server_fixture.h"

namespace msa::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Json = nlohmann::json;

class BankCareTest : public server::ServerFixture {
 protected:
  void SetUp() override {
    server::ServerOptions options = TestOptions();
    options.memory.backup_dir = "/backups";
    options.limits.max_document_bytes = 4 << 20;
    StartServer(options);
  }

  Outcome Tool(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.push_back(absl::StrCat("--server=127.0.0.1:", server().port()));
    return RunTool(arguments, input);
  }
  // What a run that must be done prints, one value per line.
  std::vector<Json> Lines(std::vector<std::string> arguments, const std::string& input = "",
                          ExitCode code = kExitOk) {
    arguments.insert(arguments.begin(), {"--format", "json"});
    const Outcome outcome = Tool(arguments, input);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    std::vector<Json> lines;
    for (const auto& line : absl::StrSplit(outcome.out, '\n', absl::SkipEmpty()))
      lines.push_back(Json::parse(std::string(line)));
    return lines;
  }
};

TEST_F(BankCareTest, SettingsChangeOneByOneAndLimitsAreMerged) {
  EXPECT_EQ(Lines({"bank", "update", "b", "--display-name", "Notes", "--max-rounds",
                   "3"})[0]["settings"]["display_name"],
            "Notes");
  const Json settings =
      Lines({"bank", "update", "b", "--max-tokens", "50", "--token-budget", "1000"})[0]["settings"];
  EXPECT_EQ(settings["display_name"], "Notes");
  EXPECT_EQ(settings["token_budget"], 1000);
  EXPECT_EQ(settings["default_limits"]["max_rounds"], 3);
  EXPECT_EQ(settings["default_limits"]["max_answer_tokens"], 50);
  EXPECT_THAT(Tool({"bank", "get", "b"}).out, HasSubstr("answer tokens  50"));
  EXPECT_TRUE(
      Lines({"bank", "update", "b", "--clear-limits"})[0]["settings"]["default_limits"].is_null());
  const Outcome refused = Tool({"bank", "update", "b", "--max-rounds", "11"});
  EXPECT_EQ(refused.code, kExitFailed);
  EXPECT_THAT(refused.err, HasSubstr("settings.default_limits.max_rounds is 11"));
  EXPECT_EQ(
      Lines({"bank", "update", "b", "--router-key-scan", "int8"})[0]["settings"]["router_key_scan"],
      "int8");
  EXPECT_THAT(Tool({"bank", "get", "b"}).out, HasSubstr("int8, then exact"));
  EXPECT_THAT(Tool({"bank", "create", "c", "--router-key-scan", "int4"}).err,
              HasSubstr("int4 not in {exact,int8}"));
  EXPECT_EQ(Tool({"bank", "update", "b"}).code, kExitUsage);
  EXPECT_EQ(Tool({"bank", "update", "absent", "--max-rounds", "1"}).code, kExitFailed);
}

TEST_F(BankCareTest, MetadataOfADocumentAreSetByKeyOrAsAWhole) {
  Put("one", "text");
  const auto metadata_of = [this](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"doc", "update", "-b", "b", "one"});
    return Lines(arguments)[0]["metadata"];
  };
  EXPECT_EQ(metadata_of({"--metadata", "page=3", "--metadata", "lang=en", "--metadata", "old=true",
                         "--metadata", "code=\"7\"", "--metadata", "note=a=b"}),
            Json({{"page", 3}, {"lang", "en"}, {"old", true}, {"code", "7"}, {"note", "a=b"}}));
  EXPECT_EQ(metadata_of({"--metadata", "page=4.5"})["lang"], "en");
  EXPECT_EQ(metadata_of({"--metadata-json", R"({"only": 1})"}), Json({{"only", 1}}));
  EXPECT_EQ(bank().Get("one", true)->number, 1U);
  EXPECT_EQ(metadata_of({"--text", "new text"}), Json({{"only", 1}}));
  EXPECT_EQ(bank().Get("one", true)->text, "new text");
  EXPECT_EQ(bank().Get("one", true)->number, 2U);

  const std::string path = testing::TempDir() + "/new.txt";
  std::ofstream(path) << "from a file";
  EXPECT_THAT(Tool({"doc", "update", "-b", "b", "one", "--text-file", path}).err,
              HasSubstr("Updated document one, number 3."));
  EXPECT_EQ(bank().Get("one", true)->text, "from a file");

  EXPECT_EQ(Tool({"doc", "update", "-b", "b", "one"}).code, kExitUsage);
  EXPECT_EQ(Tool({"doc", "update", "-b", "b", "one", "--text", "a", "--text-file", path}).code,
            kExitUsage);
  const Outcome no_pair = Tool({"doc", "update", "-b", "b", "one", "--metadata", "page"});
  EXPECT_EQ(no_pair.code, kExitFailed);
  EXPECT_THAT(no_pair.err, HasSubstr("--metadata is page; allowed: KEY=VALUE"));
  EXPECT_THAT(Tool({"doc", "update", "-b", "b", "one", "--metadata-json", "[1]"}).err,
              HasSubstr("expected a JSON object of strings, numbers and booleans"));
  EXPECT_THAT(Tool({"doc", "update", "-b", "b", "absent", "--text", "x"}).err,
              HasSubstr("DOCUMENT_NOT_FOUND"));
}

TEST_F(BankCareTest, WhatIsExportedIsIngestedTheSame) {
  const std::vector<std::string> documents = {
      R"({"id":"1","text":"digits as an id","metadata":{"big":9007199254740993.0,"page":3}})",
      R"({"id":"a b","text":"line\nbreaks, \"quotes\" and caf\u00e9 \ud83d\ude00 \u0000"})",
      R"({"id":"c","text":"x","metadata":{"e":1e300,"f":false,"half":0.1,"m":-0.0,"n":-7,"s":"3","t":true}})"};
  std::string input;
  for (const std::string& document : documents) input += document + "\n";
  EXPECT_EQ(Tool({"ingest", "-b", "b", "-"}, input).code, kExitOk);
  const Outcome exported = Tool({"bank", "export", "b"});
  EXPECT_EQ(exported.code, kExitOk);
  EXPECT_EQ(exported.err, "Exported 3 documents.\n");
  EXPECT_THAT(exported.out, HasSubstr(R"("page":3})"));
  EXPECT_THAT(exported.out, HasSubstr(R"("m":-0.0,"n":-7,"s":"3","t":true)"));

  EXPECT_EQ(Tool({"bank", "create", "copy"}).code, kExitOk);
  EXPECT_EQ(Tool({"ingest", "-b", "copy", "-"}, exported.out).code, kExitOk);
  for (const char* id : {"1", "a b", "c"}) {
    EXPECT_EQ(engine().bank("copy")->Get(id, true)->text, bank().Get(id, true)->text);
    EXPECT_EQ(engine().bank("copy")->Get(id, true)->metadata, bank().Get(id, true)->metadata);
  }
  EXPECT_EQ(Tool({"bank", "export", "copy"}).out, exported.out);
}

TEST_F(BankCareTest, AnExportMayBeFilteredAndGoToAFile) {
  for (const char* id : {"one", "two", "three"}) Put(id, "text");
  const std::string path = testing::TempDir() + "/export.jsonl";
  const Outcome outcome =
      Tool({"-q", "bank", "export", "b", "--filter", "NOT id = \"two\"", "-o", path});
  EXPECT_EQ(outcome.code, kExitOk);
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, IsEmpty());
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(),
            "{\"id\":\"one\",\"text\":\"text\"}\n{\"id\":\"three\",\"text\":\"text\"}\n");
  const Outcome no_folder = Tool({"bank", "export", "b", "-o", "/nonexistent/x"});
  EXPECT_EQ(no_folder.code, kExitFailed);
  EXPECT_THAT(no_folder.err, HasSubstr("/nonexistent/x.part: cannot be written: No such file"));
  EXPECT_THAT(Tool({"bank", "export", "b", "--filter", "id = x"}).err, HasSubstr("INVALID_FILTER"));
  EXPECT_EQ(Tool({"bank", "export", "absent"}).code, kExitFailed);
}

TEST_F(BankCareTest, AnExportThatFailsLeavesItsFileAsItWas) {
  Put("one", "text");
  const std::string path = testing::TempDir() + "/kept.jsonl";
  std::ofstream(path) << "before";
  const auto content = [&path] {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_EQ(Tool({"bank", "export", "absent", "-o", path}).code, kExitFailed);
  EXPECT_EQ(content(), "before");
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  EXPECT_EQ(Tool({"bank", "export", "b", "-o", path}).code, kExitOk);
  EXPECT_EQ(content(), "{\"id\":\"one\",\"text\":\"text\"}\n");
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  EXPECT_EQ(Tool({"bank", "export", "b", "-o", "-"}).out, content());
  EXPECT_EQ(Tool({"bank", "export", "b", "-o", "/dev/null"}).code, kExitOk);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST_F(BankCareTest, VerifyIsExitCode1WithDamages) {
  const Outcome sound = Tool({"bank", "verify", "b"});
  EXPECT_EQ(sound.code, kExitOk);
  EXPECT_THAT(sound.out, IsEmpty());
  EXPECT_EQ(sound.err, "Checked 0 documents in 1 segment, 4.0 KiB: no damage.\n");
  bank().verify =
      [](engine::JobMonitor*,
         engine::Bank::OnDamage on_damage) -> absl::StatusOr<engine::Bank::VerifyResult> {
    on_damage({.file = "segments/3.seg", .document_id = "", .message = "cut off"});
    on_damage({.file = "segments/4.seg", .document_id = "one", .message = "checksum"});
    return engine::Bank::VerifyResult{
        .num_documents = 9, .num_segments = 2, .checked_bytes = 1, .num_damages = 2};
  };
  const Outcome damaged = Tool({"bank", "verify", "b"});
  EXPECT_EQ(damaged.code, kExitFailed);
  EXPECT_EQ(damaged.out, "segments/3.seg: cut off\nsegments/4.seg: document one: checksum\n");
  EXPECT_THAT(damaged.err, HasSubstr("2 places are damaged."));
  const std::vector<Json> lines = Lines({"bank", "verify", "b"}, "", kExitFailed);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[1]["damage"]["document_id"], "one");
  EXPECT_EQ(lines[2]["result"]["damages"], 2);
}

TEST_F(BankCareTest, BanksAreBackedUpRestoredUnderAnotherNameAndBackupsDeleted) {
  Put("one", "text");
  EXPECT_EQ(Lines({"bank", "backup", "b", "--name", "monday"})[0]["documents"], 1);
  const Outcome dated = Tool({"bank", "backup", "b"});
  EXPECT_EQ(dated.code, kExitOk);
  EXPECT_THAT(dated.out, StartsWith("b-20"));
  EXPECT_THAT(dated.err, HasSubstr("Backed up 1 document, 12.1 KiB, revision 1."));
  EXPECT_EQ(Lines({"bank", "backups"}).size(), 2U);
  EXPECT_THAT(Tool({"bank", "backups"}).out, HasSubstr("monday"));
  EXPECT_EQ(Tool({"bank", "restore", "monday"}).code, kExitFailed);  // the bank is there
  EXPECT_EQ(Lines({"bank", "restore", "monday", "--as", "copy"})[0]["name"], "copy");
  EXPECT_EQ(engine().bank("copy")->Get("one", true)->text, "text");
  EXPECT_EQ(Tool({"bank", "delete-backup", "monday"}).code, kExitOk);
  EXPECT_THAT(Tool({"bank", "delete-backup", "monday"}).err, HasSubstr("BACKUP_NOT_FOUND"));
  EXPECT_EQ(Tool({"bank", "backup", "absent"}).code, kExitFailed);
}

TEST_F(BankCareTest, DatedBackupsOfLongNamesHaveRoomForTheDate) {
  const std::string name(60, 'n');
  EXPECT_EQ(Tool({"bank", "create", name}).code, kExitOk);
  const Outcome dated = Tool({"bank", "backup", name});
  EXPECT_EQ(dated.code, kExitOk) << dated.err;
  EXPECT_THAT(dated.out, StartsWith(std::string(48, 'n') + "-20"));
  EXPECT_EQ(dated.out.size(), 65U);  // with the line break
}

TEST_F(BankCareTest, CompactAndReencodePrintWhatBecameOfTheBank) {
  EXPECT_EQ(Lines({"bank", "compact", "b"})[0]["dropped_documents"], 5);
  EXPECT_THAT(Tool({"bank", "compact", "b"}).err, HasSubstr("Dropped 5 documents, 4.0 KiB"));
  EXPECT_EQ(Lines({"bank", "reencode", "b"})[0]["name"], "b");
  EXPECT_EQ(Tool({"bank", "reencode", "absent"}).code, kExitFailed);
}

TEST_F(BankCareTest, UpdateOnlyIngestsRefuseWhatIsNotThere) {
  Put("one", "old");
  const std::vector<Json> lines =
      Lines({"ingest", "-b", "b", "--mode", "update-only", "-"},
            "{\"id\":\"one\",\"text\":\"new\"}\n{\"id\":\"two\",\"text\":\"x\"}\n", kExitPartial);
  EXPECT_EQ(lines[0]["stored"], 1);
  EXPECT_EQ(lines[0]["rejected"], 1);
  EXPECT_EQ(bank().Get("one", true)->text, "new");
}

TEST_F(BankCareTest, ASessionPassesOverWhatAnEarlierRunGotDone) {
  std::string input;
  for (int i = 0; i < 10; ++i) input += absl::StrCat("{\"id\":\"d", i, "\",\"text\":\"x\"}\n");
  const auto run = [&](const std::string& lines) {
    return Lines({"ingest", "-b", "b", "--session", "nightly", "-"}, lines)[0];
  };
  EXPECT_EQ(run(input)["stored"], 10);
  const Json again = run(input + "{\"id\":\"d10\",\"text\":\"x\"}\n");
  EXPECT_EQ(again["passed_over"], 10);
  EXPECT_EQ(again["stored"], 1);
  EXPECT_EQ(again["unchanged"], 0);
  EXPECT_THAT(Tool({"ingest", "-b", "b", "--session", "nightly", "-"}, input).out,
              HasSubstr("10 passed over"));
  EXPECT_THAT(bank().accepted_ids(),
              ElementsAre("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10"));
}

TEST_F(BankCareTest, ASessionIsThatOfItsNameAndItsFilesAndContinuesItsRejects) {
  const std::string path = testing::TempDir() + "/session.jsonl";
  const std::string rejects = testing::TempDir() + "/session-rejects.jsonl";
  std::filesystem::remove(rejects);
  const auto run = [&](const std::string& name, ExitCode code) {
    return Lines({"ingest", "-b", "b", "--session", name, "--rejects", rejects, path}, "", code)[0];
  };
  const auto rejected_texts = [&rejects] {
    std::vector<std::string> texts;
    std::ifstream file(rejects);
    for (std::string line; std::getline(file, line);)
      texts.push_back(Json::parse(line)["text"].get<std::string>());
    return texts;
  };
  const std::string longest(111, 's');
  Put("old", "text");
  std::ofstream(path) << "{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"old\",\"text\":\"1\"}\n";
  EXPECT_EQ(run(longest, kExitPartial)["stored"], 1);
  EXPECT_EQ(run(longest, kExitOk)["passed_over"], 2);
  EXPECT_THAT(rejected_texts(), ElementsAre("1"));
  std::ofstream(path) << "{\"id\":\"b\",\"text\":\"x\"}\n{\"id\":\"old\",\"text\":\"2\"}\n\n";
  const Json other = run(longest, kExitPartial);
  EXPECT_EQ(other["stored"], 1);
  EXPECT_EQ(other["passed_over"], 0);
  EXPECT_THAT(rejected_texts(), ElementsAre("1", "2"));
}

TEST_F(BankCareTest, LongDocumentsGoInParts) {
  const std::string text(3'500'000, 'x');
  EXPECT_EQ(
      Lines({"ingest", "-b", "b", "-"}, absl::StrCat("{\"id\":\"long\",\"text\":\"", text,
                                                     "\",\"metadata\":{\"n\":1}}\n"))[0]["stored"],
      1);
  EXPECT_EQ(bank().Get("long", true)->text, text);
  EXPECT_EQ(std::get<double>(bank().Get("long", true)->metadata.at("n")), 1);
}

}  // namespace
}  // namespace msa::client
