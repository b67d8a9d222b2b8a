#include "client/cli/msactl.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/tool_run.h"

namespace msa::client {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Nothing listens there; the address cannot be resolved to another machine.
const char kNoServer[] = "--server=unix:/nonexistent/msa.sock";

TEST(Msactl, HelpAndVersionGoToStandardOutput) {
  const Outcome help = RunTool({"--help"});
  EXPECT_EQ(help.code, kExitOk);
  EXPECT_THAT(help.out, HasSubstr("ingest"));
  EXPECT_THAT(help.err, IsEmpty());
  const Outcome version = RunTool({"--version"});
  EXPECT_EQ(version.code, kExitOk);
  std::ifstream file(std::string(MSA_SOURCE_DIR) + "/VERSION");
  std::string expected;
  std::getline(file, expected);
  EXPECT_EQ(version.out, "msactl " + expected + "\n");
}

TEST(Msactl, WrongUsageIsExitCode2WithOneReason) {
  EXPECT_EQ(RunTool({}).code, kExitUsage);
  EXPECT_THAT(RunTool({"frobnicate"}).err, HasSubstr("msactl: unknown argument: frobnicate\n"));
  EXPECT_THAT(RunTool({"bank", "list", "--format", "xml"}).err,
              HasSubstr("--format: is xml; allowed: table, json\n"));
  EXPECT_THAT(RunTool({"bank", "list", "--timeout", "-1"}).err,
              HasSubstr("is -1; allowed: a number, at least 0\n"));
  EXPECT_THAT(RunTool({"ingest", "-", "-b", "x", "--mode", "replace"}).err,
              HasSubstr("--mode: is replace; allowed: insert, upsert, update-only\n"));
  EXPECT_THAT(RunTool({"ask", "why?", kNoServer}).err,
              HasSubstr("--bank (or the environment variable MSA_BANK) is required"));
  EXPECT_THAT(RunTool({"ask", "\xFF", "-b", "x"}).err,
              HasSubstr("msactl: argument 2 is not UTF-8"));
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"frobnicate"},
                                             {"bank", "list", "--format", "xml"},
                                             {"ask", "why?"},
                                             {"ask", "\xFF"},
                                             {"count-tokens"}}) {
    const Outcome outcome = RunTool(arguments);
    EXPECT_EQ(outcome.code, kExitUsage);
    EXPECT_THAT(outcome.out, IsEmpty());
  }
}

TEST(Msactl, NoServerIsExitCode4WithOneLine) {
  for (const auto& command : std::vector<std::vector<std::string>>{{"server", "info"},
                                                                   {"server", "health"},
                                                                   {"bank", "list"},
                                                                   {"bank", "get", "x"},
                                                                   {"bank", "verify", "x"},
                                                                   {"bank", "backup", "x"},
                                                                   {"bank", "backups"},
                                                                   {"bank", "restore", "x"},
                                                                   {"bank", "export", "x"},
                                                                   {"doc", "get", "a", "-b", "x"},
                                                                   {"ask", "why?", "-b", "x"},
                                                                   {"retrieve", "why?", "-b", "x"},
                                                                   {"count-tokens", "text"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back(kNoServer);
    const Outcome outcome = RunTool(arguments);
    EXPECT_EQ(outcome.code, kExitUnavailable) << command[0];
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_THAT(outcome.err, testing::StartsWith("msactl: UNAVAILABLE: "));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_THAT(outcome.err,
                HasSubstr("(server unix:/nonexistent/msa.sock; --server names another)"));
  }
}

TEST(Msactl, IngestWithoutServerKeepsCountOfWhatHasNoResult) {
  const Outcome outcome = RunTool({"ingest", "-", "-b", "x", kNoServer, "--format", "json"},
                                  "{\"id\":\"a\",\"text\":\"t\"}\n");
  EXPECT_EQ(outcome.code, kExitUnavailable);
  // The refusal may come before or after the document was handed in; it has no result either way.
  EXPECT_THAT(
      outcome.out,
      AnyOf(HasSubstr(R"({"documents":1,"stored":0,"unchanged":0,"rejected":0,"unknown":1,)"),
            HasSubstr(R"({"documents":0,"stored":0,"unchanged":0,"rejected":0,"unknown":0,)")));
}

TEST(Msactl, UnreadableInputIsNamed) {
  const Outcome outcome = RunTool({"ingest", "/nonexistent/d.jsonl", "-b", "x", kNoServer});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_EQ(outcome.err, "msactl: NOT_FOUND: /nonexistent/d.jsonl: no such file or folder\n");
}

TEST(Msactl, RejectsThatAreAlsoAnInputAreWrongUsage) {
  const std::filesystem::path folder = testing::TempDir() + "/rejects_as_input";
  std::filesystem::create_directories(folder / "deep");
  const std::string path = folder / "deep/rows.jsonl";
  std::ofstream(path) << "not json\n";
  const std::string other_name = folder / "deep/../deep/rows.jsonl";
  for (const std::string& input : {path, other_name, folder.string()}) {
    for (const char* option : {"--dry-run", "--session=s"}) {
      const Outcome outcome =
          RunTool({"ingest", input, "-b", "x", kNoServer, "--rejects", path, option});
      EXPECT_EQ(outcome.code, kExitUsage);
      EXPECT_EQ(outcome.err, "msactl: --rejects: " + path +
                                 " is also an input; name another file, or rename this one "
                                 "first\n");
    }
  }
  EXPECT_EQ(std::filesystem::file_size(path), 9U);
}

TEST(Msactl, RejectsInAFolderThatIsMissingNameTheCause) {
  const Outcome outcome =
      RunTool({"ingest", "-", "-b", "x", kNoServer, "--rejects", "/nonexistent/x"});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/x: cannot be written: No such file"));
}

TEST(Msactl, SessionNamesLeaveRoomForTheFingerprint) {
  const Outcome outcome =
      RunTool({"ingest", "-", "-b", "x", kNoServer, "--session", std::string(112, 's')});
  EXPECT_EQ(outcome.code, kExitUsage);
  EXPECT_THAT(outcome.err, HasSubstr("--session: is 112 bytes long; allowed: at most 111\n"));
  EXPECT_EQ(RunTool({"ingest", "-", "-b", "x", kNoServer, "--session", std::string(111, 's')}).code,
            kExitUnavailable);
}

TEST(Msactl, PromptLoopAnswersEveryLineAndReportsFailures) {
  const Outcome outcome = RunTool({"ask", "-b", "x", kNoServer}, "one?\n\n  \ntwo?\r\n");
  EXPECT_EQ(outcome.code, kExitUnavailable);
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 2);
}

}  // namespace
}  // namespace msa::client
