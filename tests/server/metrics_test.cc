#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "server/metrics_endpoint.h"
#include "server/process_collector.h"
#include "tests/server/server_fixture.h"
#include "tests/server/words.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public ServerFixture {
 protected:
  // Makes every metric have a series.
  void ReportEverything() {
    server();
    engine::StageTimings timings;
    timings.tokenize = timings.prefill = timings.score = timings.fetch = timings.decode =
        absl::Milliseconds(3);
    timings.total = absl::Seconds(1);
    metrics().DocumentAccepted();
    metrics().DocumentActive(12, absl::Milliseconds(30));
    metrics().DocumentFailed();
    metrics().DocumentDeduplicated();
    metrics().ChecksumFailed();
    metrics().RequestRejected(absl::UnavailableError("x"));
    metrics().RequestStarted(absl::Milliseconds(1));
    metrics().FirstToken(absl::Milliseconds(80));
    metrics().RequestFinished(absl::OkStatus(), timings, 2, 50, 9);
    metrics().Cited(3, 1);
    metrics().StepDone(4, 5, 6, absl::Milliseconds(2));
    metrics().ShardScored(0, 1000, absl::Microseconds(80));
    metrics().ShardScored(1, 900, absl::Microseconds(70));
    metrics().ShardScored(-1, 900, absl::Microseconds(70));
    metrics().FirstPassDone(70, 2);
    metrics().ContentFetched(4096, absl::Microseconds(100));
    metrics().DocumentEncoded(12, absl::Milliseconds(4));
    metrics().StreamOpened(RpcMethod::kGenerate);
    metrics().StreamClosed(RpcMethod::kGenerate);
    metrics().CallEnded(RpcMethod::kGetBank, absl::StatusCode::kNotFound, absl::Milliseconds(2));
  }

  std::string Value(const std::string& series) {
    for (const auto& line : absl::StrSplit(server().MetricsText(), '\n')) {
      const std::string text(line);
      if (text.starts_with(series + " ")) return text.substr(series.size() + 1);
    }
    return "absent";
  }
};

std::string ReadFile(const std::string& path) {
  std::ifstream file(absl::StrCat(MSA_SOURCE_DIR, "/", path));
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string KindName(MetricKind kind) {
  return kind == MetricKind::kCounter ? "counter"
         : kind == MetricKind::kGauge ? "gauge"
                                      : "histogram";
}

TEST_F(MetricsTest, PageHoldsExactlyTheMetricsOfTheTable) {
  ReportEverything();
  std::map<std::string, std::string> types;
  for (const auto& line : absl::StrSplit(server().MetricsText(), '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() == 4 && words[1] == "TYPE") types[words[2]] = words[3];
  }
  for (const MetricSpec& spec : kMetricTable) {
    const std::string name(spec.name);
    EXPECT_EQ(types[name], KindName(spec.kind)) << name;
    EXPECT_NE(server().MetricsText().find("\n" + name), std::string::npos)
        << name << " has no series";
    types.erase(name);
  }
  for (const auto& [name, type] : types) ADD_FAILURE() << name << " is not in the metric table";
}

TEST_F(MetricsTest, SeriesHaveExactlyTheLabelsOfTheTable) {
  ReportEverything();
  std::map<std::string, const MetricSpec*> specs;
  for (const MetricSpec& spec : kMetricTable) specs[std::string(spec.name)] = &spec;
  int num_series = 0;
  for (const auto& line_view : absl::StrSplit(server().MetricsText(), '\n')) {
    const std::string line(line_view);
    if (line.empty() || line[0] == '#') continue;
    const size_t name_end = line.find_first_of("{ ");
    std::string name = line.substr(0, name_end);
    for (const char* suffix : {"_bucket", "_sum", "_count"}) {
      if (!specs.contains(name) && name.ends_with(suffix))
        name = name.substr(0, name.size() - std::string(suffix).size());
    }
    ASSERT_TRUE(specs.contains(name)) << line;
    std::set<std::string> labels;
    if (line[name_end] == '{') {
      const std::string inside = line.substr(name_end + 1, line.rfind('}') - name_end - 1);
      for (const auto& pair : absl::StrSplit(inside, ',', absl::SkipEmpty())) {
        const std::string label(pair.substr(0, pair.find('=')));
        if (label != "le") labels.insert(label);
      }
    }
    const std::set<std::string> expected =
        absl::StrSplit(std::string(specs[name]->labels), ", ", absl::SkipEmpty());
    EXPECT_EQ(labels, expected) << line;
    ++num_series;
  }
  EXPECT_GT(num_series, 100);
}

TEST_F(MetricsTest, DocumentShowsTheSameTable) {
  const std::string document = ReadFile("docs/metrics.md");
  std::string expected = "| name | type | labels | meaning |\n| --- | --- | --- | --- |\n";
  for (const MetricSpec& spec : kMetricTable) {
    absl::StrAppend(&expected, "| ", std::string(spec.name), " | ", KindName(spec.kind), " | ",
                    std::string(spec.labels), spec.labels.empty() ? "| " : " | ",
                    std::string(spec.help), " |\n");
  }
  EXPECT_THAT(document, HasSubstr(expected)) << "docs/metrics.md should hold:\n" << expected;
}

TEST_F(MetricsTest, RulesDashboardAndDocumentUseNoOtherNames) {
  std::set<std::string> known;
  for (const MetricSpec& spec : kMetricTable) known.insert(std::string(spec.name));
  for (const char* file : {"deploy/prometheus/rules.yml", "deploy/prometheus/rules_test.yml",
                           "deploy/grafana/dashboards/msa.json", "docs/metrics.md"}) {
    const std::string text = ReadFile(file);
    int num_found = 0;
    for (const Word& word : WordsOf(text)) {
      if (!word.text.starts_with("msa_")) continue;
      std::string name = word.text;
      for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
        if (!known.contains(name) && name.ends_with(suffix)) {
          name.resize(name.size() - suffix.size());
        }
      }
      EXPECT_TRUE(known.contains(name)) << word.text << " in " << file;
      ++num_found;
    }
    EXPECT_GT(num_found, 10) << file;
  }
}

TEST_F(MetricsTest, ReportsAreCounted) {
  ReportEverything();
  EXPECT_EQ(Value("msa_ingest_documents_total{result=\"active\"}"), "1");
  EXPECT_EQ(Value("msa_ingest_tokens_total"), "12");
  EXPECT_EQ(Value("msa_prompt_tokens_total"), "50");
  EXPECT_EQ(Value("msa_generated_tokens_total"), "9");
  EXPECT_EQ(Value("msa_citations_total{valid=\"true\"}"), "3");
  EXPECT_EQ(Value("msa_citations_total{valid=\"false\"}"), "1");
  EXPECT_EQ(Value("msa_scored_chunks_total{shard=\"0\"}"), "1000");
  EXPECT_EQ(Value("msa_rescored_documents_total"), "70");
  EXPECT_EQ(Value("msa_first_pass_fallbacks_total"), "2");
  EXPECT_EQ(Value("msa_kv_fetch_bytes_total"), "4096");
  EXPECT_EQ(Value("msa_step_rows_total{kind=\"encode\"}"), "6");
  EXPECT_EQ(Value("msa_stage_seconds_count{stage=\"decode\"}"), "1");
  EXPECT_EQ(Value("msa_admission_rejections_total{reason=\"unavailable\"}"), "1");
  EXPECT_EQ(Value("msa_checksum_failures_total"), "1");
}

TEST_F(MetricsTest, RejectionsAreCountedByWhatHelps) {
  server();
  metrics().RequestRejected(absl::ResourceExhaustedError("256 wait"));
  metrics().RequestRejected(absl::InvalidArgumentError("the question needs 9000 positions"));
  metrics().RequestRejected(absl::InvalidArgumentError("the question needs 9001 positions"));
  metrics().RequestRejected(absl::UnavailableError("draining"));
  EXPECT_EQ(Value("msa_admission_rejections_total{reason=\"queue_full\"}"), "1");
  EXPECT_EQ(Value("msa_admission_rejections_total{reason=\"too_long\"}"), "2");
  EXPECT_EQ(Value("msa_admission_rejections_total{reason=\"unavailable\"}"), "1");
}

TEST_F(MetricsTest, StagesThatAQueryDidNotHaveAreNotCounted) {
  engine::StageTimings timings;
  timings.score = absl::Milliseconds(1);
  server();
  metrics().RequestFinished(absl::OkStatus(), timings, 1, 10, 0);
  EXPECT_EQ(Value("msa_stage_seconds_count{stage=\"score\"}"), "1");
  EXPECT_EQ(Value("msa_stage_seconds_count{stage=\"decode\"}"), "0");
}

TEST_F(MetricsTest, QueryThatEndedInTheQueueHasNoRounds) {
  server();
  metrics().RequestFinished(absl::DeadlineExceededError("queued"), {}, 0, 0, 0);
  EXPECT_EQ(Value("msa_rounds_count"), "0");
  metrics().RequestFinished(absl::OkStatus(), {}, 2, 50, 9);
  EXPECT_EQ(Value("msa_rounds_count"), "1");
  EXPECT_EQ(Value("msa_rounds_sum"), "2");
}

TEST_F(MetricsTest, GaugesShowTheMomentOfTheScrape) {
  Put("one", std::string(100, 'x'));
  EXPECT_EQ(Value("msa_banks"), "1");
  EXPECT_EQ(Value("msa_bank_documents"), "1");
  EXPECT_EQ(Value("msa_bank_tokens"), "100");
  EXPECT_EQ(Value("msa_shard_chunks{shard=\"0\"}"), "2");
  EXPECT_EQ(Value("msa_shard_chunks{shard=\"1\"}"), "0");
  EXPECT_EQ(Value("msa_memory_bytes{tier=\"dram\",kind=\"weights\"}"), "1000");
  EXPECT_EQ(Value("msa_memory_bytes{tier=\"disk\",kind=\"text\"}"), "100");
  EXPECT_EQ(Value("msa_memory_limit_bytes{tier=\"dram\",kind=\"kv_pages\"}"), "4000");
  EXPECT_EQ(Value("msa_server_state{state=\"ready\"}"), "1");
  EXPECT_EQ(Value("msa_requests_running"), "0");
  server().Drain(absl::ZeroDuration());
  EXPECT_EQ(Value("msa_server_state{state=\"ready\"}"), "0");
  EXPECT_EQ(Value("msa_server_state{state=\"draining\"}"), "1");
}

TEST_F(MetricsTest, CallsAreCountedByMethodAndCode) {
  const auto get = [this](const std::string& name) {
    v1::GetBankRequest request;
    request.set_bank(name);
    v1::GetBankResponse response;
    grpc::ClientContext context;
    return memory().GetBank(&context, request, &response);
  };
  EXPECT_TRUE(get("b").ok());
  EXPECT_TRUE(get("b").ok());
  EXPECT_FALSE(get("absent").ok());
  const std::string page = server().MetricsText();
  EXPECT_EQ(Value("msa_grpc_requests_total{code=\"OK\",method=\"MemoryService/GetBank\"}"), "2");
  EXPECT_EQ(Value("msa_grpc_requests_total{code=\"NOT_FOUND\",method=\"MemoryService/GetBank\"}"),
            "1");
  EXPECT_EQ(Value("msa_grpc_request_duration_seconds_count{method=\"MemoryService/GetBank\"}"),
            "3");
  EXPECT_THAT(page, Not(HasSubstr("method=\"MemoryService/CreateBank\"")));
}

TEST_F(MetricsTest, ManyThreadsReportWithoutLosingCounts) {
  server();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      for (int n = 0; n < 1000; ++n) {
        metrics().ShardScored(n % 8, 1, absl::Microseconds(1));
        metrics().CallEnded(RpcMethod::kRetrieve, static_cast<absl::StatusCode>(i),
                            absl::Microseconds(1));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Value("msa_scored_chunks_total{shard=\"7\"}"), "500");
  EXPECT_EQ(Value("msa_grpc_requests_total{code=\"OK\",method=\"QueryService/Retrieve\"}"), "1000");
  EXPECT_EQ(Value("msa_grpc_request_duration_seconds_count{method=\"QueryService/Retrieve\"}"),
            "4000");
}

TEST(ProcessCollector, SeesThisProcess) {
  std::map<std::string, double> values;
  for (const auto& family : ProcessCollector().Collect()) {
    const auto& metric = family.metric.at(0);
    values[family.name] = metric.gauge.value;
  }
  EXPECT_GT(values["process_resident_memory_bytes"], 1 << 20);
  EXPECT_LT(values["process_resident_memory_bytes"], values["process_virtual_memory_bytes"]);
  EXPECT_GT(values["process_open_fds"], 2);
  EXPECT_GE(values["process_max_fds"], values["process_open_fds"]);
  EXPECT_GE(values["process_threads"], 1);
  EXPECT_GE(values["process_cpu_seconds_total"], 0);
  const double now = static_cast<double>(std::time(nullptr));
  EXPECT_NEAR(values["process_start_time_seconds"], now, 3600);
}

TEST(MetricsEndpoint, TakenPortIsAOneLineError) {
  auto first = MetricsEndpoint::Start("127.0.0.1", 0, {});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = MetricsEndpoint::Start("127.0.0.1", (*first)->port(), {});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("Address already in use"));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(absl::StrCat((*first)->port())));
}

}  // namespace
}  // namespace msa::server
