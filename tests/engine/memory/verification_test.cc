#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/job_fixture.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class VerificationTest : public BankTest {
 protected:
  VerificationTest() { MakeBank(); }

  void IngestSome(int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(Ingest(*bank_, absl::StrCat("d", i), absl::StrCat("text ", i)).status.ok());
    }
  }

  Bank::VerifyResult Verify() {
    damages_.clear();
    PatientMonitor monitor;
    const auto result =
        bank_->Verify(&monitor, [&](const Damage& damage) { damages_.push_back(damage); });
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    EXPECT_EQ(result->num_damages, static_cast<int64_t>(damages_.size()));
    return *result;
  }

  std::vector<std::string> DamagedIds() const {
    std::vector<std::string> ids;
    for (const Damage& damage : damages_) {
      if (!damage.document_id.empty()) ids.push_back(damage.document_id);
    }
    return ids;
  }

  std::string OnlySegment() const {
    const auto names = FilesIn(SegmentDirectory());
    EXPECT_THAT(names, SizeIs(1));
    return names.front();
  }

  std::vector<Damage> damages_;
};

TEST_F(VerificationTest, AnIntactBankIsReadWhole) {
  IngestSome(20);
  ASSERT_EQ(Delete(*bank_, {"d3", "d4"}).num_deleted, 2);
  const Bank::VerifyResult result = Verify();
  EXPECT_THAT(damages_, IsEmpty());
  EXPECT_EQ(result.num_documents, 18);
  EXPECT_EQ(result.num_segments, bank_->Stats().num_segments);
  EXPECT_GT(result.checked_bytes, bank_->Stats().content_bytes * 3 / 2);
}

// Any bit of a segment that belongs to something that is served.
TEST_F(VerificationTest, DamageIsNamedAndEncodedAgainWhileTheBankServes) {
  options_.segment_interval = absl::Milliseconds(200);
  Reopen();
  std::atomic<int> num_active = 0;
  for (int i = 0; i < 5; ++i) {
    bank_->Ingest({.id = absl::StrCat("d", i), .text = "text", .metadata = {}, .number = {}},
                  IngestMode::kInsert, AcknowledgeAt::kActive,
                  [&](const IngestResult& result) { num_active += result.status.ok() ? 1 : 0; });
  }
  ASSERT_TRUE(Eventually([&] { return num_active == 5; }));
  size_t num_found = 0;
  int num_encoded_again = 0;
  for (int place = 0; place < 12; ++place) {
    const auto names = FilesIn(SegmentDirectory());
    const std::string path = SegmentDirectory() + "/" + names.front();
    const size_t size = std::filesystem::file_size(path);
    FlipBit(path, (size * 8 - 1) * static_cast<size_t>(place) / 11);
    Verify();
    num_found += damages_.empty() ? 0 : 1;
    for (const Damage& damage : damages_) EXPECT_EQ(damage.file, "segments/" + names.front());
    num_encoded_again += static_cast<int>(DamagedIds().size());
    ASSERT_TRUE(Eventually([&] { return observer_.count("checksum") == num_encoded_again; }));
    ASSERT_TRUE(Delete(*bank_, {}).status.ok());  // the last of them is ACCEPTED by now
    ASSERT_TRUE(Settles(*bank_));
    ExpectServesExactlyWhatIsActive(*bank_);
    const Bank::CompactResult compacted = Compact(*bank_);
    ASSERT_TRUE(compacted.status.ok()) << compacted.status;
    Verify();
    EXPECT_THAT(damages_, IsEmpty()) << damages_[0].message;
  }
  EXPECT_GE(num_found, 9u);  // the rest fell between two sections
}

TEST_F(VerificationTest, AMissingSegmentIsFoundThoughItsFileIsStillOpen) {
  IngestSome(1);
  const std::string name = OnlySegment();
  std::filesystem::remove(SegmentDirectory() + "/" + name);
  Verify();
  EXPECT_THAT(DamagedIds(), ElementsAre("d0"));
  EXPECT_EQ(damages_[0].file, "segments/" + name);
  ASSERT_TRUE(Eventually([&] { return FilesIn(SegmentDirectory()).size() == 1; }));
  ASSERT_TRUE(Settles(*bank_));
  ExpectServesExactlyWhatIsActive(*bank_);
  Verify();
  EXPECT_THAT(damages_, IsEmpty());
}

TEST_F(VerificationTest, DamagedTextsAreNamed) {
  IngestSome(3);
  CloseStore();
  std::string catalog = ReadFile(BankDirectory() + "/catalog.sqlite");
  const size_t at = catalog.find("text 1");
  ASSERT_NE(at, std::string::npos);
  catalog[at + 5] = '7';
  WriteFile(BankDirectory() + "/catalog.sqlite", catalog);
  Reopen();
  Verify();
  EXPECT_THAT(DamagedIds(), ElementsAre("d1"));
  EXPECT_EQ(damages_[0].file, "catalog.sqlite");
  ASSERT_TRUE(Eventually([&] { return bank_->Stats().num_failed == 1; }));
  ASSERT_TRUE(Settles(*bank_));  // counted when it is committed, unseen from the next step on
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1, 3)) << "no query meets it";
  EXPECT_EQ(observer_.count("checksum"), 1) << "one damage counts once";
  EXPECT_TRUE(Ingest(*bank_, "d1", "text 1").status.ok());
  EXPECT_EQ(bank_->Stats().num_failed, 0);
  Verify();
  EXPECT_THAT(damages_, IsEmpty());
}

TEST_F(VerificationTest, FindsNothingWrongWhileTheBankChanges) {
  options_.compaction_share = 0.1;
  options_.compaction_merge = 4;
  options_.segment_interval = absl::ZeroDuration();
  Reopen();
  std::atomic<bool> ends = false;
  std::thread changes([&] {
    for (int i = 0; !ends; ++i) {
      Ingest(*bank_, absl::StrCat("d", i % 50), absl::StrCat("text ", i), IngestMode::kUpsert);
      if (i % 3 == 0) Delete(*bank_, {absl::StrCat("d", (i + 25) % 50)});
      if (i % 40 == 0) Compact(*bank_);
    }
  });
  for (int i = 0; i < 30; ++i) {
    Verify();
    EXPECT_THAT(damages_, IsEmpty()) << damages_[0].file << damages_[0].message;
  }
  ends = true;
  changes.join();
  EXPECT_THAT(observer_.problems(), IsEmpty());
}

TEST_F(VerificationTest, TheScrubberFindsDamageByItselfAndKeepsItsPace) {
  IngestSome(1);
  options_.scrub_interval = absl::Milliseconds(5);
  Reopen();
  const std::string path = SegmentDirectory() + "/" + OnlySegment();
  FlipBit(path, size_t{384} * 8);  // in the document table
  EXPECT_TRUE(Eventually([&] { return observer_.count("checksum") == 1; }));
  ASSERT_TRUE(Delete(*bank_, {}).status.ok());
  ASSERT_TRUE(Settles(*bank_));
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_THAT(observer_.problems(), ::testing::Contains(HasSubstr("segments/")));
  options_.scrub_bytes_per_second = 1;  // it must not keep the store from closing
  Reopen();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

TEST_F(VerificationTest, EndsWhenItIsCancelledAndWhenTheBankStops) {
  IngestSome(5);
  CancellingMonitor cancelling;
  const auto result = bank_->Verify(&cancelling, [](const Damage&) {});
  EXPECT_TRUE(absl::IsCancelled(result.status())) << result.status();
  store_.reset();
  PatientMonitor patient;
  const auto stopped = bank_->Verify(&patient, [](const Damage&) {});
  EXPECT_TRUE(absl::IsUnavailable(stopped.status())) << stopped.status();
}

}  // namespace
}  // namespace msa::engine
