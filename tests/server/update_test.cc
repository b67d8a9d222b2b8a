// Settings of banks and documents that are changed where they are.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "kernels/core/error_detail.h"
#include "tests/server/ingest_fixture.h"
#include "tests/server/query_fixture.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;

class UpdateTest : public QueryServiceTest {
 protected:
  CallError Update(const v1::UpdateBankRequest& request) {
    grpc::ClientContext context;
    v1::UpdateBankResponse response;
    const CallError error = ErrorOf(memory().UpdateBank(&context, request, &response));
    bank_message_ = response.bank();
    return error;
  }
  CallError Update(const v1::UpdateDocumentRequest& request) {
    grpc::ClientContext context;
    v1::UpdateDocumentResponse response;
    const CallError error = ErrorOf(memory().UpdateDocument(&context, request, &response));
    document_ = response.document();
    return error;
  }
  static v1::UpdateBankRequest BankUpdate(const std::vector<std::string>& paths) {
    v1::UpdateBankRequest request;
    request.set_bank("b");
    for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
    return request;
  }
  static v1::UpdateDocumentRequest DocumentUpdate(const std::vector<std::string>& paths) {
    v1::UpdateDocumentRequest request;
    request.set_bank("b");
    request.set_document_id("one");
    for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
    return request;
  }

  v1::Bank bank_message_;
  v1::Document document_;
};

TEST_F(UpdateTest, OnlyWhatTheMaskNamesChangesInABank) {
  v1::UpdateBankRequest request = BankUpdate({"display_name", "token_budget"});
  request.mutable_settings()->set_display_name("Notes");
  request.mutable_settings()->set_token_budget(5000);
  request.mutable_settings()->mutable_default_limits()->set_max_rounds(3);
  ASSERT_EQ(Update(request).code, grpc::StatusCode::OK);
  EXPECT_EQ(bank_message_.name(), "b");
  EXPECT_EQ(bank_message_.settings().display_name(), "Notes");
  EXPECT_EQ(bank_message_.settings().token_budget(), 5000);
  EXPECT_FALSE(bank_message_.settings().has_default_limits());

  request = BankUpdate({"default_limits"});
  request.mutable_settings()->mutable_default_limits()->set_max_rounds(3);
  request.mutable_settings()->mutable_default_limits()->set_max_expansion_bytes(1000);
  ASSERT_EQ(Update(request).code, grpc::StatusCode::OK);
  EXPECT_EQ(bank_message_.settings().display_name(), "Notes");
  EXPECT_EQ(bank_message_.settings().default_limits().max_rounds(), 3);
  EXPECT_EQ(bank_message_.settings().default_limits().max_expansion_bytes(), 1000);
  EXPECT_FALSE(bank_message_.settings().default_limits().has_max_citations());

  EXPECT_EQ(bank_message_.settings().router_key_scan(), v1::ROUTER_KEY_SCAN_EXACT);
  request = BankUpdate({"router_key_scan"});
  request.mutable_settings()->set_router_key_scan(v1::ROUTER_KEY_SCAN_INT8);
  ASSERT_EQ(Update(request).code, grpc::StatusCode::OK);
  EXPECT_EQ(bank_message_.settings().router_key_scan(), v1::ROUTER_KEY_SCAN_INT8);
  ASSERT_EQ(Update(BankUpdate({"default_limits", "display_name"})).code, grpc::StatusCode::OK);
  EXPECT_FALSE(bank_message_.settings().has_default_limits());
  EXPECT_EQ(bank_message_.settings().display_name(), "");
  EXPECT_EQ(bank_message_.settings().token_budget(), 5000);
}

TEST_F(UpdateTest, WrongChangesOfABankAreRefusedByField) {
  CallError error = Update(BankUpdate({}));
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.field, "update_mask");
  EXPECT_EQ(error.message,
            "update_mask is empty; allowed are display_name, token_budget, default_limits, "
            "router_key_scan");
  error = Update(BankUpdate({"token_budget", "name"}));
  EXPECT_EQ(error.field, "update_mask");
  EXPECT_THAT(error.message, HasSubstr("\"name\"; allowed are display_name, token_budget"));

  v1::UpdateBankRequest request = BankUpdate({"default_limits"});
  request.mutable_settings()->mutable_default_limits()->set_max_rounds(11);
  error = Update(request);
  EXPECT_EQ(error.field, "settings.default_limits.max_rounds");
  EXPECT_EQ(error.message, "settings.default_limits.max_rounds is 11; allowed are 1 to 10");
  request.mutable_settings()->mutable_default_limits()->set_max_rounds(0);
  EXPECT_EQ(Update(request).field, "settings.default_limits.max_rounds");
  request = BankUpdate({"token_budget"});
  request.mutable_settings()->set_token_budget(-1);
  EXPECT_EQ(Update(request).field, "settings.token_budget");
  request = BankUpdate({"router_key_scan"});
  request.mutable_settings()->set_router_key_scan(static_cast<v1::RouterKeyScan>(9));
  error = Update(request);
  EXPECT_EQ(error.field, "settings.router_key_scan");
  EXPECT_EQ(error.message, "settings.router_key_scan is 9; allowed are EXACT (1) and INT8 (2)");
  request = BankUpdate({"display_name"});
  request.mutable_settings()->set_display_name(std::string(257, 'x'));
  EXPECT_EQ(Update(request).field, "settings.display_name");
  request.set_bank("");
  EXPECT_EQ(Update(request).field, "bank");
  request = BankUpdate({"display_name"});
  request.set_bank("absent");
  EXPECT_EQ(Update(request).reason, "BANK_NOT_FOUND");
  EXPECT_EQ(bank().Info().settings.token_budget, 0);
}

TEST_F(UpdateTest, ABankIsMadeWithDefaultLimitsWithinTheServers) {
  v1::CreateBankRequest create;
  create.set_bank("limited");
  create.mutable_settings()->mutable_default_limits()->set_max_citations(2);
  v1::CreateBankResponse created;
  grpc::ClientContext context;
  ASSERT_TRUE(memory().CreateBank(&context, create, &created).ok());
  EXPECT_EQ(created.bank().settings().default_limits().max_citations(), 2);
  create.set_bank("unlimited");
  create.mutable_settings()->mutable_default_limits()->set_max_citations(1 << 30);
  grpc::ClientContext other;
  EXPECT_EQ(ErrorOf(memory().CreateBank(&other, create, &created)).field,
            "settings.default_limits.max_citations");
}

TEST_F(UpdateTest, ABanksLimitsCountWhereAQuestionLeavesThemUnset) {
  v1::UpdateBankRequest update = BankUpdate({"default_limits"});
  v1::GenerationLimits* limits = update.mutable_settings()->mutable_default_limits();
  limits->set_max_rounds(3);
  limits->set_max_answer_tokens(77);
  limits->set_max_expansion_bytes(1234);
  ASSERT_EQ(Update(update).code, grpc::StatusCode::OK);
  v1::GenerateRequest question = Question();
  question.mutable_limits()->set_max_answer_tokens(5);
  ASSERT_EQ(Generate(question).code, grpc::StatusCode::OK);
  const engine::GenerationParams params = engine().generate_requests().back().params;
  EXPECT_EQ(params.max_rounds, 3);
  EXPECT_EQ(params.max_answer_tokens, 5);
  EXPECT_EQ(params.max_expansion_bytes, 1234);
  EXPECT_EQ(params.max_citations, engine::GenerationParams{}.max_citations);
}

TEST_F(UpdateTest, ABanksLimitsAreCutToWhatTheServerAllowsNow) {
  engine::BankSettings settings;
  settings.default_limits.max_rounds = 500;  // from a time when the server allowed more
  ASSERT_TRUE(engine().banks().Create("old", settings).ok());
  v1::GenerateRequest question = Question();
  question.set_bank("old");
  ASSERT_EQ(Generate(question).code, grpc::StatusCode::OK);
  EXPECT_EQ(engine().generate_requests().back().params.max_rounds, 10);
}

TEST_F(UpdateTest, MetadataChangeInPlaceAndATextGetsANewNumber) {
  Put("one", "first text");
  v1::UpdateDocumentRequest request = DocumentUpdate({"metadata"});
  request.set_text("not in the mask");
  (*request.mutable_metadata())["page"].set_number_value(3);
  ASSERT_EQ(Update(request).code, grpc::StatusCode::OK);
  EXPECT_EQ(document_.id(), "one");
  EXPECT_EQ(document_.number(), 1U);
  EXPECT_EQ(document_.metadata().at("page").number_value(), 3);
  EXPECT_EQ(document_.text(), "");
  EXPECT_EQ(bank().Get("one", true)->text, "first text");

  request = DocumentUpdate({"text"});
  request.set_text("second");
  ASSERT_EQ(Update(request).code, grpc::StatusCode::OK);
  EXPECT_EQ(document_.number(), 2U);
  EXPECT_EQ(document_.text_bytes(), 6);
  EXPECT_EQ(document_.metadata().at("page").number_value(), 3);

  request = DocumentUpdate({"text", "metadata"});
  request.set_text("third");
  ASSERT_EQ(Update(request).code, grpc::StatusCode::OK);
  EXPECT_TRUE(document_.metadata().empty());  // what is not in it goes
  EXPECT_EQ(bank().Get("one", true)->text, "third");
}

TEST_F(UpdateTest, WrongChangesOfADocumentAreRefusedByField) {
  Put("one", "text");
  CallError error = Update(DocumentUpdate({}));
  EXPECT_EQ(error.field, "update_mask");
  EXPECT_EQ(error.message, "update_mask is empty; allowed are text, metadata");
  EXPECT_EQ(Update(DocumentUpdate({"number"})).field, "update_mask");
  EXPECT_EQ(Update(DocumentUpdate({"text"})).reason, "MISSING_FIELD");
  v1::UpdateDocumentRequest request = DocumentUpdate({"text"});
  request.set_text(std::string((64 << 10) + 1, 'x'));
  error = Update(request);
  EXPECT_EQ(error.field, "text");
  EXPECT_EQ(error.reason, "DOCUMENT_TOO_LARGE");
  request = DocumentUpdate({"metadata"});
  (*request.mutable_metadata())["n"].set_number_value(std::numeric_limits<double>::infinity());
  EXPECT_EQ(Update(request).field, "metadata.n");
  request = DocumentUpdate({"metadata"});
  request.set_acknowledge_at(static_cast<v1::AcknowledgeAt>(9));
  EXPECT_EQ(Update(request).field, "acknowledge_at");
  request = DocumentUpdate({"metadata"});
  request.set_document_id("absent");
  EXPECT_EQ(Update(request).reason, "DOCUMENT_NOT_FOUND");
  request.set_document_id("");
  EXPECT_EQ(Update(request).field, "document_id");
  request.set_document_id("one");
  request.set_bank("absent");
  EXPECT_EQ(Update(request).reason, "BANK_NOT_FOUND");
}

TEST_F(UpdateTest, WhatTheEngineRefusesIsNamedByTheRequestsFields) {
  Put("one", "text");
  bank().check = [](const engine::DocumentInput&) {
    return kernels::WithDetail(
        absl::InvalidArgumentError("the document has 9 tokens; allowed are 8"),
        {.reason = "DOCUMENT_TOO_LARGE",
         .field = "documents.text",
         .metadata = {},
         .retry_after = {}});
  };
  v1::UpdateDocumentRequest request = DocumentUpdate({"text"});
  request.set_text("too many tokens");
  const CallError error = Update(request);
  EXPECT_EQ(error.reason, "DOCUMENT_TOO_LARGE");
  EXPECT_EQ(error.field, "text");
}

using UpdateOnlyTest = IngestStreamTest;

TEST_F(UpdateOnlyTest, OnlyDocumentsThatAreThereAreReplaced) {
  Put("one", "old");
  Open(v1::INGEST_MODE_UPDATE_ONLY);
  ASSERT_TRUE(Read().has_started());
  Send(1, "one", "new");
  EXPECT_FALSE(ReadResult().has_error());
  Send(2, "two", "new");
  const CallError error = ErrorOf(ReadResult().error());
  EXPECT_EQ(error.code, grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(error.reason, "DOCUMENT_NOT_FOUND");
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(bank().Get("one", true)->text, "new");
  EXPECT_EQ(bank().Stats().num_documents, 1);
}

}  // namespace
}  // namespace msa::server
