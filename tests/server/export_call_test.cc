#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace msa::server {
namespace {

using ::testing::ElementsAre;

class ExportCallTest : public ServerFixture {
 protected:
  static v1::ExportDocumentsRequest Request(const std::string& filter = "") {
    v1::ExportDocumentsRequest request;
    request.set_bank("b");
    request.set_filter(filter);
    return request;
  }
  CallError Export(const v1::ExportDocumentsRequest& request) {
    grpc::ClientContext context;
    const auto reader = memory().ExportDocuments(&context, request);
    v1::ExportDocumentsResponse page;
    documents_.clear();
    while (reader->Read(&page)) {
      EXPECT_GT(page.documents_size(), 0);
      for (const v1::Document& document : page.documents()) documents_.push_back(document);
    }
    return ErrorOf(reader->Finish());
  }
  std::vector<std::string> Ids() const {
    std::vector<std::string> ids;
    for (const v1::Document& document : documents_) ids.push_back(document.id());
    return ids;
  }
  bool NoStreamIsOpen() {
    return WaitUntil([this] {
      return server().MetricsText().find(
                 "msa_grpc_streams{method=\"MemoryService/ExportDocuments\"} 0") !=
             std::string::npos;
    });
  }

  std::vector<v1::Document> documents_;
};

TEST_F(ExportCallTest, EveryDocumentComesOnceWithItsText) {
  for (int i = 0; i < 2500; ++i) Put(absl::StrCat("doc", 10'000 + i), absl::StrCat("text ", i));
  ASSERT_EQ(Export(Request()).code, grpc::StatusCode::OK);
  ASSERT_EQ(documents_.size(), 2500U);
  for (size_t i = 0; i < 2500; ++i) {
    EXPECT_EQ(documents_[i].id(), absl::StrCat("doc", 10'000 + i));
    EXPECT_EQ(documents_[i].text(), absl::StrCat("text ", i));
  }
}

TEST_F(ExportCallTest, AFilterKeepsWhatMatchesAlsoAfterLongGaps) {
  for (int i = 0; i < 100; ++i) Put(absl::StrCat("doc", 100 + i), "x");
  ASSERT_EQ(Export(Request("id = \"doc101\" OR id = \"doc190\"")).code, grpc::StatusCode::OK);
  EXPECT_THAT(Ids(), ElementsAre("doc101", "doc190"));
}

TEST_F(ExportCallTest, AnEmptyBankHasAnEmptyExport) {
  EXPECT_EQ(Export(Request()).code, grpc::StatusCode::OK);
  EXPECT_TRUE(documents_.empty());
}

TEST_F(ExportCallTest, WrongRequestsAreRefused) {
  EXPECT_EQ(Export(Request("id = x")).reason, "INVALID_FILTER");
  v1::ExportDocumentsRequest request = Request();
  request.set_bank("absent");
  EXPECT_EQ(Export(request).reason, "BANK_NOT_FOUND");
  request.set_bank("");
  EXPECT_EQ(Export(request).field, "bank");
}

// 64 MB: HTTP/2 takes a window of it, the server holds one page, the rest is not read from the bank.
TEST_F(ExportCallTest, ASlowReaderHoldsUpOnlyItsOwnExport) {
  const std::string text(64 << 10, 't');
  for (int i = 0; i < 1000; ++i) Put(absl::StrCat("doc", 1000 + i), text);
  const int64_t before = bank().num_read();
  grpc::ClientContext context;
  const auto reader = memory().ExportDocuments(&context, Request());
  ASSERT_TRUE(WaitUntil([&] { return bank().num_read() > before; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(bank().num_read() - before, 500);
  EXPECT_TRUE(GetBank().ok());
  int64_t num_documents = 0;
  v1::ExportDocumentsResponse page;
  while (reader->Read(&page)) num_documents += page.documents_size();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(num_documents, 1000);
  EXPECT_TRUE(NoStreamIsOpen());
}

TEST_F(ExportCallTest, AClientThatGoesEndsItsExport) {
  const std::string text(64 << 10, 't');
  for (int i = 0; i < 1000; ++i) Put(absl::StrCat("doc", 1000 + i), text);
  const int64_t before = bank().num_read();
  grpc::ClientContext context;
  const auto reader = memory().ExportDocuments(&context, Request());
  v1::ExportDocumentsResponse page;
  ASSERT_TRUE(reader->Read(&page));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(NoStreamIsOpen());
  EXPECT_LT(bank().num_read() - before, 1000);
}

TEST_F(ExportCallTest, DocumentsThatComeAndGoMeanwhileDoNotDisturbIt) {
  for (int i = 0; i < 300; ++i) Put(absl::StrCat("doc", 1000 + i), std::string(20'000, 'x'));
  grpc::ClientContext context;
  const auto reader = memory().ExportDocuments(&context, Request());
  v1::ExportDocumentsResponse page;
  ASSERT_TRUE(reader->Read(&page));
  bank().Delete({"doc1000", "doc1299"}, [](const engine::Bank::DeleteResult&) {});
  Put("aaa", "before the page that was read");
  int64_t num_documents = page.documents_size();
  while (reader->Read(&page)) {
    for (const v1::Document& document : page.documents()) EXPECT_NE(document.id(), "aaa");
    num_documents += page.documents_size();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_GE(num_documents, 299);
}

}  // namespace
}  // namespace msa::server
