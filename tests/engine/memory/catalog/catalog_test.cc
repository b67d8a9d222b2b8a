#include "engine/memory/catalog/catalog.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;

class CatalogTest : public ::testing::Test {
 protected:
  CatalogTest()
      : vfs_(PosixFileSystem(), directory_.path()), path_(directory_.path() + "/catalog.sqlite") {
    settings_.name = "a";
    settings_.bank = {.display_name = "The bank",
                      .token_budget = 77,
                      .default_limits = {.max_rounds = 3,
                                         .max_citations = {},
                                         .max_retrieval_tokens = {},
                                         .max_answer_tokens = 9,
                                         .max_expansion_bytes = {}}};
    settings_.create_time = absl::FromUnixMicros(1'700'000'000'123'456);
    settings_.geometry = SmallGeometry();
    const auto status = Catalog::Create(vfs_, path_, settings_);
    EXPECT_TRUE(status.ok()) << status;
  }

  std::unique_ptr<Catalog> Open() {
    auto catalog = Catalog::Open(vfs_, path_);
    EXPECT_TRUE(catalog.ok()) << catalog.status();
    return *std::move(catalog);
  }

  static DocumentRow Row(uint32_t number, const std::string& id, const std::string& text) {
    DocumentRow row;
    row.number = number;
    row.id = id;
    row.metadata_json = R"({"k":"v"})";
    row.num_tokens = 5;
    row.num_chunks = 1;
    row.text_bytes = static_cast<int64_t>(text.size());
    row.text_hash = Checksum(text);
    row.create_time = absl::FromUnixMicros(42);
    return row;
  }

  static void Insert(Catalog& catalog, const DocumentRow& row, const std::string& text) {
    ASSERT_TRUE(catalog.Begin().ok());
    ASSERT_TRUE(catalog.Insert(row, text).ok());
    ASSERT_TRUE(catalog.Commit().ok());
  }

  // With SQLite's own files, as the sqlite3 shell does. Returns its error.
  std::string Execute(const std::string& sql) {
    sqlite3* database = nullptr;
    sqlite3_open(path_.c_str(), &database);
    sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr);
    const std::string message =
        sqlite3_errcode(database) == SQLITE_OK ? "" : sqlite3_errmsg(database);
    sqlite3_close(database);
    return message;
  }

  TemporaryDirectory directory_;
  CatalogVfs vfs_;
  const std::string path_;
  CatalogSettings settings_;
};

TEST_F(CatalogTest, SettingsAndCountersComeBack) {
  {
    const auto catalog = Open();
    EXPECT_EQ(catalog->settings().name, "a");
    EXPECT_EQ(catalog->settings().bank.display_name, "The bank");
    EXPECT_EQ(catalog->settings().bank.token_budget, 77);
    EXPECT_EQ(catalog->settings().create_time, settings_.create_time);
    EXPECT_EQ(catalog->settings().geometry.model_fingerprint, "test-model");
    EXPECT_EQ(catalog->settings().geometry.kv_width, 4);
    EXPECT_EQ(catalog->settings().geometry.dtype, kernels::DType::kBF16);
    ASSERT_TRUE(catalog->Begin().ok());
    ASSERT_TRUE(catalog->PutCounters(5'000'000'000, ~uint64_t{0}).ok());
    ASSERT_TRUE(catalog->Commit().ok());
  }
  EXPECT_EQ(Open()->settings().next_number, 5'000'000'000u);
  EXPECT_EQ(Open()->settings().revision, ~uint64_t{0});
}

TEST_F(CatalogTest, RowsComeBackAsTheyWereWritten) {
  const auto catalog = Open();
  DocumentRow row = Row(4'000'000'000u, "id ü", std::string("text\0with zero", 14));
  row.state = DocumentState::kFailed;
  row.from_revision = 3;
  row.to_revision = ~uint64_t{0};
  row.failure = absl::InternalError("why");
  Insert(*catalog, row, std::string("text\0with zero", 14));
  const auto found = catalog->Find(row.number).value();
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->id, row.id);
  EXPECT_EQ(found->state, row.state);
  EXPECT_EQ(found->to_revision, row.to_revision);
  EXPECT_EQ(found->failure, row.failure);
  EXPECT_EQ(found->create_time, row.create_time);
  EXPECT_EQ(RowHash(*found), RowHash(row));
  EXPECT_EQ(catalog->TextOf(*found).value(), std::string("text\0with zero", 14));
}

TEST_F(CatalogTest, RollbackLeavesNothing) {
  const auto catalog = Open();
  ASSERT_TRUE(catalog->Begin().ok());
  ASSERT_TRUE(catalog->Insert(Row(1, "a", "x"), "x").ok());
  catalog->Rollback();
  EXPECT_FALSE(catalog->Find(1).value().has_value());
}

TEST_F(CatalogTest, ReadersSeeCommittedStatesOnlyAndDoNotWait) {
  const auto catalog = Open();
  Insert(*catalog, Row(1, "a", "x"), "x");
  ASSERT_TRUE(catalog->Begin().ok());
  ASSERT_TRUE(catalog->Insert(Row(2, "b", "y"), "y").ok());
  std::thread reader([&] {
    EXPECT_TRUE(catalog->FindNewest("a", true).ok());
    EXPECT_TRUE(absl::IsNotFound(catalog->FindNewest("b", true).status()));
  });
  reader.join();
  ASSERT_TRUE(catalog->Commit().ok());
  EXPECT_EQ(catalog->FindNewest("b", true)->text, "y");
}

TEST_F(CatalogTest, ManyReadersAndAWriterAtTheSameTime) {
  const auto catalog = Open();
  std::vector<std::thread> readers;
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto page = catalog->ListAfter("", 1000, true, nullptr);
        ASSERT_TRUE(page.ok()) << page.status();
        for (const DocumentInfo& info : page->documents) ASSERT_EQ(info.text, "text of " + info.id);
      }
    });
  }
  for (uint32_t i = 1; i <= 300; ++i) {
    const std::string id = absl::StrCat("d", i);
    Insert(*catalog, Row(i, id, "text of " + id), "text of " + id);
  }
  for (std::thread& reader : readers) reader.join();
}

TEST_F(CatalogTest, OtherProgramsAreKeptOutWhileItIsOpen) {
  auto catalog = Open();
  Insert(*catalog, Row(1, "a", "x"), "x");
  EXPECT_THAT(Execute("SELECT * FROM documents"), HasSubstr("locked"));
  catalog.reset();
  EXPECT_EQ(Execute("SELECT * FROM documents"), "");
  EXPECT_EQ(FilesIn(directory_.path()), std::vector<std::string>{"catalog.sqlite"})
      << "the write-ahead log is folded in when the catalog is closed";
}

TEST_F(CatalogTest, OtherProgramThatHasItOpenIsNamed) {
  sqlite3* database = nullptr;
  sqlite3_open(path_.c_str(), &database);
  ASSERT_EQ(sqlite3_exec(database, "BEGIN; SELECT * FROM documents", nullptr, nullptr, nullptr),
            SQLITE_OK);
  const auto status = Catalog::Open(vfs_, path_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  sqlite3_close(database);
  EXPECT_TRUE(Catalog::Open(vfs_, path_).ok());
}

TEST_F(CatalogTest, ChangedRowsAndTextsAreFound) {
  Insert(*Open(), Row(1, "a", "x"), "x");
  Insert(*Open(), Row(2, "b", "y"), "y");
  ASSERT_EQ(Execute("UPDATE documents SET tokens = 6 WHERE number = 1"), "");
  ASSERT_EQ(Execute("UPDATE texts SET text = 'z' WHERE number = 2"), "");
  const auto catalog = Open();
  auto status = catalog->FindNewest("a", false).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_EQ(kernels::DetailOf(status).metadata.at("document_number"), "1");
  EXPECT_TRUE(catalog->FindNewest("b", false).ok());
  status = catalog->FindNewest("b", true).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  int num_rows = 0;
  int num_damaged = 0;
  EXPECT_TRUE(catalog
                  ->ForEachDocument(
                      /*first=*/0, /*limit=*/0,
                      [&](DocumentRow) {
                        ++num_rows;
                        return absl::OkStatus();
                      },
                      [&](uint32_t, const absl::Status&) { ++num_damaged; })
                  .ok());
  EXPECT_EQ(num_rows, 1);
  EXPECT_EQ(num_damaged, 1);
}

TEST_F(CatalogTest, OtherFilesAndVersionsAreRefusedByName) {
  ASSERT_EQ(Execute("PRAGMA user_version = 9"), "");
  auto status = Catalog::Open(vfs_, path_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_ + ": catalog format version 9"));
  EXPECT_EQ(kernels::DetailOf(status).reason, "UNKNOWN_FORMAT_VERSION");
  ASSERT_EQ(Execute("PRAGMA user_version = 3; UPDATE settings SET token_budget = 1"), "");
  EXPECT_TRUE(absl::IsDataLoss(Catalog::Open(vfs_, path_).status()));
  ASSERT_EQ(Execute("PRAGMA application_id = 0"), "");
  EXPECT_TRUE(absl::IsDataLoss(Catalog::Open(vfs_, path_).status()));
  WriteFile(path_, "this is no database at all, only some text that is long enough");
  EXPECT_TRUE(absl::IsDataLoss(Catalog::Open(vfs_, path_).status()));
  EXPECT_TRUE(absl::IsNotFound(Catalog::Open(vfs_, path_ + "x").status()));
}

// The schema of docs/memory_bank_format.md.
TEST_F(CatalogTest, ThePageNamesEveryTable) {
  const std::string page = ReadFile(MSA_SOURCE_DIR "/docs/memory_bank_format.md");
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
  std::vector<std::string> statements;
  sqlite3_exec(
      database, "SELECT sql FROM sqlite_master",
      [](void* out, int, char** columns, char**) {
        static_cast<std::vector<std::string>*>(out)->push_back(columns[0]);
        return 0;
      },
      &statements, nullptr);
  sqlite3_close(database);
  EXPECT_EQ(statements.size(), 6u);
  for (const std::string& statement : statements) EXPECT_THAT(page, HasSubstr(statement));
}

}  // namespace
}  // namespace msa::engine
