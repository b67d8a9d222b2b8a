#include "server/status_conversion.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "kernels/core/error_detail.h"
#include "msa/v1/error.pb.h"
#include "tests/server/server_fixture.h"
#include "tests/server/words.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StatusConversion, OkStaysOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus(), "test").ok());
  EXPECT_EQ(ToRpcStatus(absl::OkStatus(), "test").code(), 0);
}

TEST(StatusConversion, EveryCanonicalCodeKeepsItsNumberAndGetsAReason) {
  for (int code = 1; code <= 16; ++code) {
    const auto absl_code = static_cast<absl::StatusCode>(code);
    const CallError error = ErrorOf(ToGrpcStatus(absl::Status(absl_code, "why"), "test"));
    const bool hidden =
        absl_code == absl::StatusCode::kUnknown || absl_code == absl::StatusCode::kInternal;
    EXPECT_EQ(static_cast<int>(error.code), hidden ? 13 : code);
    EXPECT_FALSE(error.reason.empty());
    EXPECT_EQ(error.domain, "msa.dev");
    EXPECT_EQ(error.message == "why", !hidden);
  }
}

TEST(StatusConversion, DetailBecomesErrorInfoBadRequestAndRetryInfo) {
  const absl::Status status = kernels::WithDetail(absl::ResourceExhaustedError("full"),
                                                  {.reason = "QUEUE_FULL",
                                                   .field = "question",
                                                   .metadata = {{"limit", "3"}, {"actual", "4"}},
                                                   .retry_after = absl::Milliseconds(1500)});
  const CallError error = ErrorOf(ToGrpcStatus(status, "test"));
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.reason, "QUEUE_FULL");
  EXPECT_EQ(error.metadata.at("limit"), "3");
  EXPECT_EQ(error.metadata.at("actual"), "4");
  EXPECT_EQ(error.field, "question");
  EXPECT_EQ(error.description, "full");
  EXPECT_DOUBLE_EQ(error.retry_seconds, 1.5);
}

TEST(StatusConversion, EnginesFieldNamesBecomeTheRequests) {
  const absl::Status status = kernels::WithDetail(
      absl::InvalidArgumentError("too long"),
      {.reason = "X", .field = "documents.id", .metadata = {}, .retry_after = {}});
  EXPECT_EQ(ErrorOf(ToGrpcStatus(status, "test")).field, "document.document_id");
}

TEST(StatusConversion, NoRetryInfoWhereWaitingDoesNotHelp) {
  EXPECT_EQ(ErrorOf(ToGrpcStatus(absl::ResourceExhaustedError("never fits"), "test")).retry_seconds,
            -1);
}

TEST(StatusConversion, InternalErrorsHideTheirCauseBehindAnIncidentThatTheLogHasToo) {
  ::testing::internal::CaptureStderr();
  const CallError error =
      ErrorOf(ToGrpcStatus(absl::InternalError("password 1234 in row 7"), "Some/Method"));
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(error.code, grpc::StatusCode::INTERNAL);
  EXPECT_EQ(error.reason, "INTERNAL");
  EXPECT_THAT(error.message, Not(HasSubstr("1234")));
  ASSERT_EQ(error.metadata.at("incident").size(), 16U);
  EXPECT_THAT(error.message, HasSubstr(error.metadata.at("incident")));
  EXPECT_THAT(log, HasSubstr("incident=" + error.metadata.at("incident")));
  EXPECT_THAT(log, HasSubstr("password 1234 in row 7"));
  EXPECT_THAT(log, HasSubstr("Some/Method"));
}

TEST(StatusConversion, TwoInternalErrorsHaveDifferentIncidents) {
  const auto incident = [] {
    return ErrorOf(ToGrpcStatus(absl::UnknownError("x"), "test")).metadata.at("incident");
  };
  EXPECT_NE(incident(), incident());
}

TEST(StatusConversion, LongAndBrokenTextsAreCutToSafeUtf8) {
  const absl::Status status =
      kernels::WithDetail(absl::NotFoundError(absl::StrCat("no \xff", std::string(100'000, 'a'))),
                          {.reason = "BANK_NOT_FOUND",
                           .field = "",
                           .metadata = {{"bank", std::string(100'000, '\xfe')}},
                           .retry_after = {}});
  const grpc::Status converted = ToGrpcStatus(status, "test");
  EXPECT_EQ(converted.error_message(), absl::StrCat("no \uFFFD", std::string(503, 'a'), "…"));
  EXPECT_EQ(ErrorOf(converted).metadata.at("bank").substr(0, 6), "\uFFFD\uFFFD");
  EXPECT_LE(ErrorOf(converted).metadata.at("bank").size(), 256U);
}

TEST(StatusConversion, CutFallsBetweenCharacters) {
  const auto message = [](const std::string& text) {
    return ToGrpcStatus(absl::NotFoundError(text), "test").error_message();
  };
  const std::string full(512, 'a');
  EXPECT_EQ(message(full), full);
  EXPECT_EQ(message(full + "a"), full.substr(0, 509) + "…");
  EXPECT_EQ(message(full.substr(0, 508) + "ääää"), full.substr(0, 508) + "…");
  EXPECT_EQ(message(full.substr(0, 507) + "ääää"), full.substr(0, 507) + "ä…");
  EXPECT_EQ(message(full.substr(0, 506) + "😀😀😀"), full.substr(0, 506) + "…");
}

// The reasons in the sources are those of error.proto: clients compare them.
TEST(StatusConversion, EveryReasonInTheSourcesIsDocumented) {
  std::set<std::string> documented;
  const auto* descriptor = v1::ErrorReason_descriptor();
  for (int i = 0; i < descriptor->value_count(); ++i) {
    documented.insert(descriptor->value(i)->name().substr(std::string("ERROR_REASON_").size()));
  }
  // Only seen when the server starts.
  documented.insert({"DATA_DIRECTORY_IN_USE", "FILE_LOCKED"});
  int num_found = 0;
  for (const char* folder : {"server", "engine"}) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(absl::StrCat(MSA_SOURCE_DIR, "/", folder))) {
      if (entry.path().extension() != ".cc" && entry.path().extension() != ".h") continue;
      std::ifstream in(entry.path());
      std::stringstream text;
      text << in.rdbuf();
      const std::string source = text.str();
      for (const Word& word : WordsOf(source)) {
        const bool is_reason =
            word.quoted && word.text.size() > 4 && word.text.find('_') != std::string::npos &&
            std::all_of(word.text.begin(), word.text.end(),
                        [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; });
        if (!is_reason) continue;
        EXPECT_TRUE(documented.contains(word.text)) << word.text << " in " << entry.path();
        ++num_found;
      }
    }
  }
  EXPECT_GT(num_found, 30);
}

}  // namespace
}  // namespace msa::server
