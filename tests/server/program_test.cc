// The whole program as a process, on the in-memory engine.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "tests/server/server_fixture.h"

namespace msa::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class Program {
 public:
  explicit Program(std::vector<std::string> arguments,
                   const std::vector<std::string>& environment = {}) {
    static int count = 0;
    prefix_ = absl::StrCat(::testing::TempDir(), "/program.", getpid(), ".", count++);
    arguments.insert(arguments.begin(), MSA_FAKE_SERVER);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ < 0) ADD_FAILURE() << "cannot start a process";
    if (pid_ == 0) {
      dup2(open((prefix_ + ".out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
      dup2(open((prefix_ + ".err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
      for (const std::string& entry : environment) {
        putenv(const_cast<char*>(entry.c_str()));
      }
      execv(argv[0], argv.data());
      _exit(99);
    }
  }
  ~Program() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  void Signal(int signal) {
    if (pid_ > 0) kill(pid_, signal);  // others would be process groups
  }

  int Wait() {
    if (pid_ <= 0) return -1;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string out() const { return ReadFile(prefix_ + ".out"); }
  std::string err() const { return ReadFile(prefix_ + ".err"); }

 private:
  std::string prefix_;
  pid_t pid_ = 0;
};

class ProgramTest : public ::testing::Test {
 protected:
  std::vector<std::string> Arguments(const std::string& model, std::vector<std::string> more = {}) {
    port_file_ = absl::StrCat(::testing::TempDir(), "/ports.", getpid());
    std::filesystem::remove(port_file_);
    std::vector<std::string> arguments = {"--model", model, "--data-dir",  "data",
                                          "--port",  "0",   "--port-file", port_file_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  // Waits until the program serves; gives its port.
  int Port(const std::string& name = "grpc") {
    for (int i = 0; i < 1000; ++i) {
      std::ifstream file(port_file_);
      std::string word;
      int port = 0;
      while (file >> word >> port) {
        if (word == name) return port;
      }
      absl::SleepFor(absl::Milliseconds(10));
    }
    ADD_FAILURE() << "the program does not serve";
    return 0;
  }

  std::unique_ptr<v1::QueryService::Stub> Connect() {
    return v1::QueryService::NewStub(grpc::CreateChannel(absl::StrCat("127.0.0.1:", Port()),
                                                         grpc::InsecureChannelCredentials()));
  }

  void ExpectOneLine(const std::string& text, const std::string& part) {
    EXPECT_THAT(text, AllOf(::testing::StartsWith("msa-server: "), HasSubstr(part)));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  }

  std::string port_file_;
};

TEST_F(ProgramTest, HelpVersionAndConfigPrintAndExit) {
  Program help({"--help"});
  EXPECT_EQ(help.Wait(), 0);
  EXPECT_THAT(help.out(), HasSubstr("--data-dir"));
  Program version({"--version"});
  EXPECT_EQ(version.Wait(), 0);
  EXPECT_THAT(version.out(), ::testing::StartsWith("msa-server "));
  Program config({"--print-config", "--port", "5"}, {"MSA_MEMORY__SHARDS=6"});
  EXPECT_EQ(config.Wait(), 0);
  EXPECT_THAT(config.out(),
              AllOf(HasSubstr("port: 5  # flag"), HasSubstr("shards: 6  # environment")));
}

TEST_F(ProgramTest, UsageErrorsAreOneLineAndExitTwo) {
  Program flag({"--modle", "x"});
  EXPECT_EQ(flag.Wait(), 2);
  ExpectOneLine(flag.err(), "did you mean --model?");
  Program missing({});
  EXPECT_EQ(missing.Wait(), 2);
  ExpectOneLine(missing.err(), "model.dir is missing");
  Program remote(Arguments("m", {"--host", "0.0.0.0"}));
  EXPECT_EQ(remote.Wait(), 2);
  ExpectOneLine(remote.err(), "--allow-insecure-remote");
  Program instruction_set(Arguments("m", {"--instruction-set", "avx9"}));
  EXPECT_EQ(instruction_set.Wait(), 2);
  ExpectOneLine(instruction_set.err(), "avx9");
}

TEST_F(ProgramTest, StartUpErrorsAreOneLineAndExitOne) {
  Program model(Arguments("broken"));
  EXPECT_EQ(model.Wait(), 1);
  ExpectOneLine(model.err(), "hidden_size is -1; allowed: 1 and more");

  Program first(Arguments("m", {"--no-metrics"}));
  const int port = Port();
  Program second(Arguments("m", {"--no-metrics", "--port", absl::StrCat(port)}));
  EXPECT_EQ(second.Wait(), 1);
  ExpectOneLine(second.err(), absl::StrCat("127.0.0.1:", port, ": Address already in use"));

  Program unwritable({"--model", "m", "--data-dir", "d", "--port", "0", "--no-metrics",
                      "--port-file", "/nonexistent/x"});
  EXPECT_EQ(unwritable.Wait(), 1);
  EXPECT_THAT(unwritable.err(), HasSubstr("cannot write the port file /nonexistent/x"));
}

TEST_F(ProgramTest, CheckConfigExitsWithoutServing) {
  Program good(Arguments("m", {"--check-config"}));
  EXPECT_EQ(good.Wait(), 0);
  EXPECT_THAT(good.out(), HasSubstr("valid"));
  EXPECT_FALSE(std::filesystem::exists(port_file_));
  Program bad(Arguments("broken", {"--check-config"}));
  EXPECT_EQ(bad.Wait(), 1);
  ExpectOneLine(bad.err(), "config.json");
}

TEST_F(ProgramTest, SigtermDrainsAndExitsZeroWithMetricsServed) {
  Program program(Arguments("m", {"--metrics-port", "0"}));
  auto stub = Connect();
  EXPECT_GT(Port("metrics"), 0);
  v1::CountTokensRequest request;
  request.set_text("abc");
  v1::CountTokensResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub->CountTokens(&context, request, &response).ok());
  EXPECT_EQ(response.tokens(), 3);
  program.Signal(SIGTERM);
  EXPECT_EQ(program.Wait(), 0);
  EXPECT_THAT(program.err(), AllOf(HasSubstr("serving"), HasSubstr("instruction_set=avx2"),
                                   HasSubstr("model=fake"), HasSubstr("shards=2"),
                                   HasSubstr("draining"), HasSubstr("stopped")));
}

TEST_F(ProgramTest, SignalWhileTheModelLoadsExitsAtOnceWithZero) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Program program(Arguments("large", {"--no-metrics"}));
    for (int i = 0; i < 1000 && program.err().empty(); ++i) absl::SleepFor(absl::Milliseconds(10));
    ASSERT_EQ(program.err(), "loading\n");
    const absl::Time start = absl::Now();
    program.Signal(signal);
    EXPECT_EQ(program.Wait(), 0);
    EXPECT_LT(absl::Now() - start, absl::Seconds(5));
    EXPECT_THAT(program.err(), HasSubstr("stopped while starting"));
    EXPECT_FALSE(std::filesystem::exists(port_file_));
  }
}

TEST_F(ProgramTest, SecondSignalExitsAtOnce) {
  Program program(Arguments("slow", {"--no-metrics", "--drain-grace", "1h"}));
  const int port = Port();
  auto channel =
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
  auto memory = v1::MemoryService::NewStub(channel);
  v1::CreateBankRequest create;
  create.set_bank("b");
  v1::CreateBankResponse created;
  grpc::ClientContext create_context;
  ASSERT_TRUE(memory->CreateBank(&create_context, create, &created).ok());
  auto stub = v1::QueryService::NewStub(channel);
  v1::GenerateRequest request;
  request.set_bank("b");
  request.set_question("q");
  grpc::ClientContext context;
  auto reader = stub->Generate(&context, request);
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  program.Signal(SIGINT);
  absl::SleepFor(absl::Milliseconds(300));
  program.Signal(SIGINT);
  EXPECT_EQ(program.Wait(), 128 + SIGINT);
  EXPECT_THAT(program.err(), HasSubstr("signal while draining, quitting at once"));
  reader->Finish();
}

TEST_F(ProgramTest, FailedEngineEndsTheProcessWithThree) {
  Program program(Arguments("failing", {"--no-metrics", "--log-format", "json"}));
  auto stub = Connect();
  v1::GenerateRequest request;
  request.set_bank("b");
  request.set_question("q");
  grpc::ClientContext context;
  auto reader = stub->Generate(&context, request);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(program.Wait(), 3);
  EXPECT_THAT(program.err(), AllOf(HasSubstr("\"message\":\"the engine failed; exiting\""),
                                   Not(HasSubstr("\n\n"))));
}

}  // namespace
}  // namespace msa::server
