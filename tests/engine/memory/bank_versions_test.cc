#include <cstdlib>
#include <filesystem>

#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

// Banks that earlier versions wrote, one directory each in tests/data/banks. A new one is made with
// MSA_WRITE_BANK=DIRECTORY and this test's "WritesABank".
class BankVersionsTest : public BankTest {
 protected:
  static DocumentInput Document(const std::string& id, const std::string& text) {
    DocumentInput document;
    document.id = id;
    document.text = text;
    document.metadata = {{"text bytes", static_cast<double>(text.size())},
                         {"kind", id.substr(0, 3)},
                         {"short", text.size() < 40}};
    return document;
  }

  void Fill() {
    for (const auto& [id, text] :
         std::map<std::string, std::string>{{"first", "a text"},
                                            {"long", std::string(150, 'x')},
                                            {"ünï", "täxt"},
                                            {"replaced", "an old text"},
                                            {"deleted", "a text that goes"}}) {
      ASSERT_TRUE(Ingest(*bank_, Document(id, text)).status.ok());
    }
    const IngestResult replaced =
        Ingest(*bank_, Document("replaced", "a new text"), IngestMode::kUpsert);
    ASSERT_TRUE(replaced.status.ok()) << replaced.status;
    ASSERT_EQ(Delete(*bank_, {"deleted"}).num_deleted, 1);
    encoder_->HoldEncoding(true);
    const IngestResult accepted = Ingest(*bank_, Document("accepted", "not encoded yet"),
                                         IngestMode::kInsert, AcknowledgeAt::kAccepted);
    ASSERT_TRUE(accepted.status.ok()) << accepted.status;
  }

  void ExpectIsWhatFillMade(Bank& bank, RouterKeyScan scan) {
    const std::map<std::string, std::pair<uint32_t, std::string>> expected = {
        {"accepted", {7, "not encoded yet"}},
        {"first", {2, "a text"}},
        {"long", {3, std::string(150, 'x')}},
        {"replaced", {6, "a new text"}},
        {"ünï", {5, "täxt"}}};
    const auto page = bank.List("", 100, /*with_text=*/true, nullptr);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_EQ(page->documents.size(), expected.size());
    for (const DocumentInfo& info : page->documents) {
      ASSERT_TRUE(expected.contains(info.id)) << info.id;
      EXPECT_EQ(info.number, expected.at(info.id).first) << info.id;
      EXPECT_EQ(info.text, expected.at(info.id).second);
      EXPECT_EQ(info.metadata, Document(info.id, info.text).metadata);
    }
    EXPECT_EQ(bank.Info().settings.display_name, "a bank to keep");
    EXPECT_EQ(bank.Info().settings.token_budget, 12345);
    EXPECT_EQ(bank.Info().settings.router_key_scan, scan);
    ExpectServesExactlyWhatIsActive(bank);
  }
};

TEST_F(BankVersionsTest, WritesABank) {
  MakeBank({.display_name = "a bank to keep",
            .token_budget = 12345,
            .router_key_scan = RouterKeyScan::kInt8});
  Fill();
  CloseStore();
  encoder_->HoldEncoding(false);
  if (const char* directory = std::getenv("MSA_WRITE_BANK"); directory != nullptr) {
    std::filesystem::copy(BankDirectory(), directory, std::filesystem::copy_options::recursive);
  }
  Reopen();
  ASSERT_TRUE(Settles(*bank_));
  ExpectIsWhatFillMade(*bank_, RouterKeyScan::kInt8);
}

TEST_F(BankVersionsTest, EveryVersionOpensServesAndTakesMore) {
  int num_versions = 0;
  const std::filesystem::path banks = std::string(MSA_TEST_DATA) + "/banks";
  for (const auto& version : std::filesystem::directory_iterator(banks)) {
    SCOPED_TRACE(version.path());
    num_versions += 1;
    std::filesystem::remove_all(BankDirectory());
    std::filesystem::create_directories(options_.data_dir + "/banks");
    std::filesystem::copy(version.path(), BankDirectory(),
                          std::filesystem::copy_options::recursive);
    Reopen();
    ASSERT_TRUE(Settles(*bank_));
    // Catalogs of versions 1 and 2 have no such setting.
    const bool is_old = version.path().filename().string() < "catalog-3";
    ExpectIsWhatFillMade(*bank_, is_old ? RouterKeyScan::kExact : RouterKeyScan::kInt8);
    const IngestResult more = Ingest(*bank_, "more", "text");
    ASSERT_TRUE(more.status.ok()) << more.status;
    EXPECT_EQ(more.number, 8u);
    Reopen();
    ExpectServesExactlyWhatIsActive(*bank_);
    EXPECT_THAT(observer_.problems(), ::testing::IsEmpty());
    CloseStore();
  }
  EXPECT_GE(num_versions, 1);
}

}  // namespace
}  // namespace msa::engine
