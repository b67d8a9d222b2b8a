#include "server/command_line.h"

#include <cstdlib>
#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/option_table.h"
#include "server/option_value.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;
using ::testing::TempDir;

std::string WriteFile(const std::string& name, const std::string& text) {
  const std::string path = TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

std::string ErrorOf(const std::vector<std::string>& arguments,
                    const std::vector<std::string>& environment = {}) {
  const auto parsed = ParseCommandLine(arguments, environment);
  EXPECT_FALSE(parsed.ok());
  const std::string message(parsed.status().message());
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  return message;
}

TEST(CommandLine, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::string file = WriteFile(
      "precedence.yaml", "listen:\n  port: 1001\n  host: 127.0.0.9\nmemory:\n  shards: 3\n");
  const std::vector<std::string> environment = {"MSA_LISTEN__PORT=1002", "MSA_MEMORY__SHARDS=4",
                                                "OTHER=1"};

  const auto defaults = ParseCommandLine({}, {});
  ASSERT_TRUE(defaults.ok());
  EXPECT_EQ(defaults->options.listen.port, 7411);

  const auto from_file = ParseCommandLine({"--config", file}, {});
  ASSERT_TRUE(from_file.ok()) << from_file.status();
  EXPECT_EQ(from_file->options.listen.port, 1001);

  const auto from_environment = ParseCommandLine({"--config", file}, environment);
  ASSERT_TRUE(from_environment.ok());
  EXPECT_EQ(from_environment->options.listen.port, 1002);

  const auto from_flag = ParseCommandLine({"--port", "1003", "--config=" + file}, environment);
  ASSERT_TRUE(from_flag.ok());
  EXPECT_EQ(from_flag->options.listen.port, 1003);
  EXPECT_EQ(from_flag->options.memory.shards, 4);
  EXPECT_EQ(from_flag->options.listen.host, "127.0.0.9");
  EXPECT_EQ(from_flag->sources.at("listen.port"), "flag");
  EXPECT_EQ(from_flag->sources.at("memory.shards"), "environment");
  EXPECT_EQ(from_flag->sources.at("listen.host"), "file");
  EXPECT_FALSE(from_flag->sources.contains("memory.bank_dtype"));
}

TEST(CommandLine, EveryOptionCanBeSetInAllThreeWays) {
  std::set<std::string> flags;
  for (const Option& option : OptionTable()) {
    EXPECT_TRUE(flags.insert(option.flag).second) << option.flag;
    const std::string value = option.placeholder.empty() ? "true" : option.get(ServerOptions{});
    if (value.empty()) continue;
    const std::string file =
        WriteFile("one.yaml", absl::StrCat(option.section, ":\n  ", option.key, ": ", value, "\n"));
    const auto by_file = ParseCommandLine({"--config", file}, {});
    EXPECT_TRUE(by_file.ok()) << by_file.status();
    const auto by_environment =
        ParseCommandLine({}, {absl::StrCat(option.environment_name(), "=", value)});
    EXPECT_TRUE(by_environment.ok()) << by_environment.status();
    const auto by_flag = option.placeholder.empty() ? ParseCommandLine({option.flag}, {})
                                                    : ParseCommandLine({option.flag, value}, {});
    EXPECT_TRUE(by_flag.ok()) << by_flag.status();
    EXPECT_EQ(option.get(by_flag->options), value);
  }
}

TEST(CommandLine, UnknownNamesComeWithTheNearestKnownOne) {
  EXPECT_EQ(ErrorOf({"--prot", "1"}), "unknown flag --prot; did you mean --port?");
  EXPECT_EQ(ErrorOf({"--shard=2"}), "unknown flag --shard; did you mean --shards?");
  EXPECT_EQ(ErrorOf({"--xyzzyxyzzy"}), "unknown flag --xyzzyxyzzy");
  const std::string file = WriteFile("typo.yaml", "listen:\n  prot: 5\n");
  EXPECT_EQ(ErrorOf({"--config", file}),
            file + ": unknown key listen.prot; did you mean listen.port?");
  EXPECT_EQ(ErrorOf({}, {"MSA_LISTEN__PROT=5"}),
            "unknown environment variable MSA_LISTEN__PROT; did you mean MSA_LISTEN__PORT?");
}

TEST(CommandLine, VariablesOfOtherProgramsAreIgnored) {
  EXPECT_TRUE(
      ParseCommandLine({}, {"MSA_SERVER=localhost:1", "XMSA_LISTEN__PROT=1", "MSA_=", "PATH=/bin"})
          .ok());
}

TEST(CommandLine, WrongValuesSayWhatIsAllowed) {
  EXPECT_EQ(ErrorOf({"--port", "99999"}),
            "--port is \"99999\"; allowed: a whole number from 0 to 65535");
  EXPECT_EQ(ErrorOf({"--port", "-1"}), "--port is \"-1\"; allowed: a whole number from 0 to 65535");
  EXPECT_EQ(ErrorOf({"--shards", "0"}), "--shards is \"0\"; allowed: a whole number from 1 to 64");
  EXPECT_EQ(ErrorOf({"--compute-dtype", "f64"}), "--compute-dtype is \"f64\"; allowed: bf16, f32");
  EXPECT_THAT(ErrorOf({"--kv-bytes", "12QiB"}), HasSubstr("KiB, MiB, GiB, TiB"));
  EXPECT_THAT(ErrorOf({"--drain-grace", "soon"}), HasSubstr("such as 20ms, 30s or 1m30s"));
  EXPECT_EQ(ErrorOf({}, {"MSA_OBSERVABILITY__METRICS=maybe"}),
            "MSA_OBSERVABILITY__METRICS is \"maybe\"; allowed: true, false");
  EXPECT_THAT(ErrorOf({"--port"}), HasSubstr("--port"));
  EXPECT_THAT(ErrorOf({"serve"}), HasSubstr("unexpected argument \"serve\""));
}

TEST(CommandLine, FilesThatAreNotSectionsOfKeysAreRefusedByLine) {
  EXPECT_THAT(ErrorOf({"--config", "/nonexistent.yaml"}),
              HasSubstr("cannot read /nonexistent.yaml"));
  EXPECT_THAT(ErrorOf({"--config", WriteFile("a.yaml", "listen: 5\n")}),
              HasSubstr("a.yaml:1: listen must hold"));
  EXPECT_THAT(ErrorOf({"--config", WriteFile("b.yaml", "listen:\n  port: [1, 2]\n")}),
              HasSubstr("b.yaml:2: listen.port must have one value"));
  EXPECT_THAT(ErrorOf({"--config", WriteFile("c.yaml", "listen:\n  port: 1\n bad\n")}),
              HasSubstr("not YAML"));
  EXPECT_THAT(ErrorOf({"--config", WriteFile("d.yaml", "- 1\n")}), HasSubstr("sections"));
  EXPECT_TRUE(ParseCommandLine({"--config", WriteFile("e.yaml", "")}, {}).ok());
}

TEST(CommandLine, PrintedConfigurationReadsBackTheSame) {
  const auto first =
      ParseCommandLine({"--model", "a dir: #1", "--kv-bytes", "3MiB", "--drain-grace", "1m30s",
                        "--no-reflection", "--print-config"},
                       {});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->action, CommandLine::Action::kPrintConfig);
  const std::string text = FormatConfig(*first);
  EXPECT_THAT(text, HasSubstr("port: 7411  # default"));
  EXPECT_THAT(text, HasSubstr("kv_bytes: 3MiB  # flag"));
  const auto second = ParseCommandLine({"--config", WriteFile("printed.yaml", text)}, {});
  ASSERT_TRUE(second.ok()) << second.status();
  for (const Option& option : OptionTable()) {
    EXPECT_EQ(option.get(second->options), option.get(first->options)) << option.name();
  }
  EXPECT_FALSE(second->options.observability.reflection);
}

TEST(CommandLine, ShippedConfigurationIsValid) {
  const std::string file = absl::StrCat(MSA_SOURCE_DIR, "/deploy/systemd/server.yaml");
  const auto parsed = ParseCommandLine({"--config", file}, {});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(CheckOptions(parsed->options).ok());
}

TEST(CommandLine, HelpNamesEveryFlag) {
  const auto parsed = ParseCommandLine({"--help"}, {"MSA_LISTEN__PROT=1"});
  ASSERT_TRUE(parsed.ok());
  for (const Option& option : OptionTable()) EXPECT_THAT(parsed->help, HasSubstr(option.flag));
}

TEST(Options, ModelAndDataDirectoriesAreRequired) {
  ServerOptions options;
  EXPECT_THAT(std::string(CheckOptions(options).message()), HasSubstr("--model"));
  options.model.dir = "m";
  EXPECT_THAT(std::string(CheckOptions(options).message()), HasSubstr("--data-dir"));
  options.memory.data_dir = "d";
  EXPECT_TRUE(CheckOptions(options).ok());
}

TEST(Options, AddressesThatOthersReachNeedASwitch) {
  ServerOptions options;
  options.model.dir = "m";
  options.memory.data_dir = "d";
  for (const char* host : {"0.0.0.0", "::", "10.1.2.3"}) {
    options.listen.host = host;
    EXPECT_THAT(std::string(CheckOptions(options).message()), HasSubstr("--allow-insecure-remote"))
        << host;
  }
  options.listen.allow_insecure_remote = true;
  EXPECT_TRUE(CheckOptions(options).ok());
  options.listen.allow_insecure_remote = false;
  for (const char* host : {"127.0.0.1", "127.1.2.3", "localhost"}) {
    options.listen.host = host;
    EXPECT_TRUE(CheckOptions(options).ok()) << host;
  }
  options.observability.metrics_host = "0.0.0.0";
  EXPECT_THAT(std::string(CheckOptions(options).message()),
              HasSubstr("observability.metrics_host"));
  options.observability.metrics = false;
  EXPECT_TRUE(CheckOptions(options).ok());
}

TEST(Options, EngineGetsWhatWasSet) {
  const auto parsed = ParseCommandLine({"--model",
                                        "m",
                                        "--data-dir",
                                        "d",
                                        "--shards",
                                        "3",
                                        "--compute-dtype",
                                        "f32",
                                        "--bank-dtype",
                                        "f32",
                                        "--max-document-bytes",
                                        "1MiB",
                                        "--device",
                                        "cuda",
                                        "--backup-dir",
                                        "backups",
                                        "--scrub-interval",
                                        "1h30m",
                                        "--scrub-bytes-per-second",
                                        "2MiB"},
                                       {});
  ASSERT_TRUE(parsed.ok());
  const engine::EngineOptions options = ToEngineOptions(parsed->options);
  EXPECT_EQ(options.model_dir, "m");
  EXPECT_EQ(options.data_dir, "d");
  EXPECT_EQ(options.num_shards, 3);
  EXPECT_EQ(options.compute_dtype, kernels::ComputeDType::kF32);
  EXPECT_EQ(options.bank_dtype, kernels::DType::kF32);
  EXPECT_EQ(options.device, kernels::DeviceKind::kCuda);
  EXPECT_EQ(options.max_document_bytes, 1 << 20);
  EXPECT_EQ(options.backup_dir, "backups");
  EXPECT_EQ(options.scrub_interval, absl::Minutes(90));
  EXPECT_EQ(options.scrub_bytes_per_second, 2 << 20);
}

TEST(Options, BanksAreScrubbedEveryDayAndNeverWithAnIntervalOfZero) {
  EXPECT_EQ(ToEngineOptions(ServerOptions()).scrub_interval, absl::Hours(24));
  EXPECT_EQ(ToEngineOptions(ServerOptions()).scrub_bytes_per_second, 16 << 20);
  EXPECT_EQ(ToEngineOptions(ServerOptions()).backup_dir, "");
  const auto parsed = ParseCommandLine({"--scrub-interval", "0"}, {});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(ToEngineOptions(parsed->options).scrub_interval, absl::InfiniteDuration());
}

TEST(OptionValue, BytesReadBackAsWritten) {
  for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{1023}, int64_t{1024},
                              int64_t{3} << 20, (int64_t{5} << 30) + 1}) {
    EXPECT_EQ(ParseBytes(FormatBytes(bytes), 0, INT64_MAX).value(), bytes);
  }
  EXPECT_FALSE(ParseBytes("9999999999TiB", 0, INT64_MAX).ok());
  EXPECT_FALSE(ParseBytes("-1KiB", INT64_MIN, INT64_MAX).ok());
  EXPECT_FALSE(ParseBytes("KiB", 0, INT64_MAX).ok());
}

}  // namespace
}  // namespace msa::server
