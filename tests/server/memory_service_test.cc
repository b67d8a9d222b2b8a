#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace msa::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MemoryServiceTest : public ServerFixture {
 protected:
  // Calls a unary method of the stub.
  template <class Request, class Response>
  grpc::Status Call(grpc::Status (v1::MemoryService::Stub::*method)(grpc::ClientContext*,
                                                                    const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    return (memory().*method)(&context, request, response);
  }
  template <class Request, class Response>
  CallError Refused(grpc::Status (v1::MemoryService::Stub::*method)(grpc::ClientContext*,
                                                                    const Request&, Response*),
                    const Request& request) {
    Response response;
    const grpc::Status status = Call(method, request, &response);
    EXPECT_FALSE(status.ok());
    return ErrorOf(status);
  }
};

using Stub = v1::MemoryService::Stub;

TEST_F(MemoryServiceTest, CreatedBankIsFoundListedAndDeleted) {
  v1::CreateBankRequest create;
  create.set_bank("new-bank");
  create.mutable_settings()->set_display_name("New");
  create.mutable_settings()->set_token_budget(1000);
  v1::CreateBankResponse created;
  ASSERT_TRUE(Call(&Stub::CreateBank, create, &created).ok());
  EXPECT_EQ(created.bank().name(), "new-bank");
  EXPECT_EQ(created.bank().settings().display_name(), "New");
  EXPECT_EQ(created.bank().settings().token_budget(), 1000);
  EXPECT_EQ(created.bank().dtype(), "bf16");
  EXPECT_EQ(created.bank().create_time().seconds(), 1'700'000'000);

  v1::GetBankRequest get;
  get.set_bank("new-bank");
  v1::GetBankResponse got;
  ASSERT_TRUE(Call(&Stub::GetBank, get, &got).ok());
  EXPECT_EQ(got.bank().SerializeAsString(), created.bank().SerializeAsString());

  v1::ListBanksResponse listed;
  ASSERT_TRUE(Call(&Stub::ListBanks, v1::ListBanksRequest(), &listed).ok());
  ASSERT_EQ(listed.banks_size(), 2);
  EXPECT_EQ(listed.banks(0).name(), "b");
  EXPECT_EQ(listed.banks(1).name(), "new-bank");

  v1::DeleteBankRequest remove;
  remove.set_bank("new-bank");
  v1::DeleteBankResponse removed;
  ASSERT_TRUE(Call(&Stub::DeleteBank, remove, &removed).ok());
  EXPECT_EQ(Refused(&Stub::GetBank, get).reason, "BANK_NOT_FOUND");
}

TEST_F(MemoryServiceTest, BankRefusalsNameTheReason) {
  v1::CreateBankRequest create;
  CallError error = Refused(&Stub::CreateBank, create);
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.reason, "MISSING_FIELD");
  EXPECT_EQ(error.field, "bank");

  create.set_bank("b");
  error = Refused(&Stub::CreateBank, create);
  EXPECT_EQ(error.code, grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(error.reason, "BANK_EXISTS");
  EXPECT_EQ(error.metadata.at("bank"), "b");

  create.set_bank("other");
  create.mutable_settings()->set_token_budget(-5);
  error = Refused(&Stub::CreateBank, create);
  EXPECT_EQ(error.field, "settings.token_budget");
  EXPECT_EQ(error.metadata.at("actual"), "-5");

  create.mutable_settings()->set_token_budget(0);
  create.mutable_settings()->set_display_name(std::string(257, 'x'));
  error = Refused(&Stub::CreateBank, create);
  EXPECT_EQ(error.field, "settings.display_name");
  EXPECT_EQ(error.metadata.at("limit"), "256");
  EXPECT_EQ(error.metadata.at("actual"), "257");

  v1::GetBankRequest get;
  get.set_bank("absent");
  error = Refused(&Stub::GetBank, get);
  EXPECT_EQ(error.code, grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(error.message, HasSubstr("absent"));

  Put("one", "text");
  v1::DeleteBankRequest remove;
  remove.set_bank("b");
  error = Refused(&Stub::DeleteBank, remove);
  EXPECT_EQ(error.code, grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(error.reason, "BANK_NOT_EMPTY");
  remove.set_force(true);
  v1::DeleteBankResponse removed;
  EXPECT_TRUE(Call(&Stub::DeleteBank, remove, &removed).ok());
}

TEST_F(MemoryServiceTest, NameThatIsNotUtf8IsNamedAsSuch) {
  v1::GetBankRequest get;
  get.set_bank("\xff\xfe");
  const CallError error = Refused(&Stub::GetBank, get);
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.reason, "INVALID_UTF8");
  EXPECT_EQ(error.field, "bank");
}

TEST_F(MemoryServiceTest, DocumentComesWithItsTextOnlyWhenAsked) {
  Put("one", "the text");
  v1::GetDocumentRequest get;
  get.set_bank("b");
  get.set_document_id("one");
  v1::GetDocumentResponse got;
  ASSERT_TRUE(Call(&Stub::GetDocument, get, &got).ok());
  EXPECT_EQ(got.document().id(), "one");
  EXPECT_EQ(got.document().number(), 1U);
  EXPECT_EQ(got.document().state(), v1::DOCUMENT_STATE_ACTIVE);
  EXPECT_EQ(got.document().tokens(), 8);
  EXPECT_TRUE(got.document().has_shard());
  EXPECT_FALSE(got.document().has_failure());
  EXPECT_EQ(got.document().text(), "");
  get.set_with_text(true);
  ASSERT_TRUE(Call(&Stub::GetDocument, get, &got).ok());
  EXPECT_EQ(got.document().text(), "the text");

  get.set_document_id("two");
  EXPECT_EQ(Refused(&Stub::GetDocument, get).reason, "DOCUMENT_NOT_FOUND");
  get.set_document_id("");
  EXPECT_EQ(Refused(&Stub::GetDocument, get).field, "document_id");
}

TEST_F(MemoryServiceTest, PagesVisitEveryDocumentOnce) {
  for (int i = 0; i < 23; ++i) Put(absl::StrCat("doc", 100 + i), "text");
  for (const bool with_text : {false, true}) {
    for (const int page_size : {1, 5, 22, 23, 24, 1000}) {
      std::vector<std::string> ids;
      v1::ListDocumentsRequest list;
      list.set_bank("b");
      list.set_page_size(page_size);
      list.set_with_text(with_text);
      int num_pages = 0;
      do {
        v1::ListDocumentsResponse page;
        ASSERT_TRUE(Call(&Stub::ListDocuments, list, &page).ok());
        EXPECT_LE(page.documents_size(), page_size);
        for (const auto& document : page.documents()) {
          ids.push_back(document.id());
          EXPECT_EQ(document.text(), with_text ? "text" : "");
        }
        list.set_page_token(page.next_page_token());
        ++num_pages;
      } while (!list.page_token().empty());
      EXPECT_EQ(ids.size(), 23U);
      EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
      EXPECT_EQ(num_pages, (23 + page_size - 1) / page_size);
    }
  }
}

TEST_F(MemoryServiceTest, PagesWithLongTextsEndEarly) {
  for (int i = 0; i < 60; ++i) Put(absl::StrCat("doc", 100 + i), std::string(64 << 10, 'x'));
  v1::ListDocumentsRequest list;
  list.set_bank("b");
  list.set_page_size(1000);
  list.set_with_text(true);
  v1::ListDocumentsResponse page;
  ASSERT_TRUE(Call(&Stub::ListDocuments, list, &page).ok());
  EXPECT_EQ(page.documents_size(), 32);  // 2 MiB
  list.set_page_token(page.next_page_token());
  ASSERT_TRUE(Call(&Stub::ListDocuments, list, &page).ok());
  EXPECT_EQ(page.documents_size(), 28);
  EXPECT_EQ(page.next_page_token(), "");
}

TEST_F(MemoryServiceTest, PageSizeAndTokenAreChecked) {
  v1::ListDocumentsRequest list;
  list.set_bank("b");
  for (const int page_size : {-1, 1001}) {
    list.set_page_size(page_size);
    const CallError error = Refused(&Stub::ListDocuments, list);
    EXPECT_EQ(error.field, "page_size");
    EXPECT_EQ(error.metadata.at("limit"), "1000");
  }
  list.set_page_size(1);
  Put("one", "x");
  Put("two", "x");
  v1::ListDocumentsResponse page;
  ASSERT_TRUE(Call(&Stub::ListDocuments, list, &page).ok());
  const std::string token = page.next_page_token();
  for (const std::string& wrong : {std::string("nonsense"), token + "!", token.substr(0, 2)}) {
    list.set_page_token(wrong);
    EXPECT_EQ(Refused(&Stub::ListDocuments, list).reason, "INVALID_PAGE_TOKEN");
  }
  v1::CreateBankRequest create;
  create.set_bank("other");
  v1::CreateBankResponse created;
  ASSERT_TRUE(Call(&Stub::CreateBank, create, &created).ok());
  list.set_bank("other");
  list.set_page_token(token);
  EXPECT_EQ(Refused(&Stub::ListDocuments, list).reason, "INVALID_PAGE_TOKEN");
}

TEST_F(MemoryServiceTest, DeleteReportsUnknownIds) {
  Put("one", "x");
  Put("two", "x");
  v1::DeleteDocumentsRequest remove;
  remove.set_bank("b");
  remove.add_document_ids("one");
  remove.add_document_ids("absent");
  v1::DeleteDocumentsResponse removed;
  ASSERT_TRUE(Call(&Stub::DeleteDocuments, remove, &removed).ok());
  EXPECT_EQ(removed.deleted(), 1);
  EXPECT_THAT(removed.unknown_document_ids(), ElementsAre("absent"));
  EXPECT_EQ(removed.revision(), 3U);
}

TEST_F(MemoryServiceTest, DeleteChecksItsIds) {
  v1::DeleteDocumentsRequest remove;
  remove.set_bank("b");
  EXPECT_EQ(Refused(&Stub::DeleteDocuments, remove).field, "document_ids");
  remove.add_document_ids(std::string());
  EXPECT_EQ(Refused(&Stub::DeleteDocuments, remove).field, "document_ids[0]");
  remove.set_document_ids(0, std::string(513, 'x'));
  EXPECT_EQ(Refused(&Stub::DeleteDocuments, remove).metadata.at("limit"), "512");
  remove.clear_document_ids();
  for (int i = 0; i < 1001; ++i) remove.add_document_ids(std::string("x"));
  const CallError error = Refused(&Stub::DeleteDocuments, remove);
  EXPECT_EQ(error.metadata.at("actual"), "1001");
  EXPECT_EQ(error.metadata.at("limit"), "1000");
  remove.clear_document_ids();
  remove.add_document_ids(std::string("x"));
  remove.set_filter("id = \"x\"");
  EXPECT_EQ(Refused(&Stub::DeleteDocuments, remove).field, "filter");
  remove.clear_document_ids();
  remove.set_filter("id = x");
  EXPECT_EQ(Refused(&Stub::DeleteDocuments, remove).reason, "INVALID_FILTER");
  remove.set_filter("id = \"x\"");
  remove.set_bank("absent");
  EXPECT_EQ(Refused(&Stub::DeleteDocuments, remove).reason, "BANK_NOT_FOUND");
}

TEST_F(MemoryServiceTest, AFilterDeletesWhatMatches) {
  for (const char* const id : {"one", "two", "three"}) Put(id, "x");
  v1::DeleteDocumentsRequest remove;
  remove.set_bank("b");
  remove.set_filter("NOT id = \"two\"");
  v1::DeleteDocumentsResponse removed;
  ASSERT_TRUE(Call(&Stub::DeleteDocuments, remove, &removed).ok());
  EXPECT_EQ(removed.deleted(), 2);
  v1::ListDocumentsRequest list;
  list.set_bank("b");
  v1::ListDocumentsResponse page;
  ASSERT_TRUE(Call(&Stub::ListDocuments, list, &page).ok());
  ASSERT_EQ(page.documents_size(), 1);
  EXPECT_EQ(page.documents(0).id(), "two");
}

// Of 40 documents few match; pages that found nothing end too, so that no call reads the whole bank.
TEST_F(MemoryServiceTest, FilteredListsComeInPagesToo) {
  for (int i = 0; i < 40; ++i) Put(absl::StrCat("doc", 100 + i), "x");
  for (const bool with_text : {false, true}) {
    v1::ListDocumentsRequest list;
    list.set_bank("b");
    list.set_page_size(2);
    list.set_with_text(with_text);
    list.set_filter("id = \"doc101\" OR id = \"doc102\" OR id = \"doc137\"");
    std::vector<std::string> ids;
    int num_pages = 0;
    do {
      v1::ListDocumentsResponse page;
      ASSERT_TRUE(Call(&Stub::ListDocuments, list, &page).ok());
      EXPECT_LE(page.documents_size(), 2);
      for (const v1::Document& document : page.documents()) ids.push_back(document.id());
      list.set_page_token(page.next_page_token());
      ASSERT_LT(++num_pages, 20);
    } while (!list.page_token().empty());
    EXPECT_THAT(ids, ElementsAre("doc101", "doc102", "doc137"));
    EXPECT_GT(num_pages, 2);
  }
  v1::ListDocumentsRequest wrong;
  wrong.set_bank("b");
  wrong.set_filter("lang = \"en\"");
  EXPECT_EQ(Refused(&Stub::ListDocuments, wrong).reason, "INVALID_FILTER");
}

TEST_F(MemoryServiceTest, StatsCountDocumentsPerShard) {
  Put("one", std::string(100, 'x'));
  v1::GetBankStatsRequest request;
  request.set_bank("b");
  v1::GetBankStatsResponse response;
  ASSERT_TRUE(Call(&Stub::GetBankStats, request, &response).ok());
  EXPECT_EQ(response.stats().documents(), 1);
  EXPECT_EQ(response.stats().tokens(), 100);
  EXPECT_EQ(response.stats().chunks(), 2);
  ASSERT_EQ(response.stats().shards_size(), 2);
  EXPECT_EQ(response.stats().shards(0).documents(), 1);
  EXPECT_EQ(response.stats().shards(1).shard(), 1);
}

}  // namespace
}  // namespace msa::server
