#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/memory/backups/backup_manifest.h"
#include "engine/memory/files/checksum.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/files/faulty_file_system.h"
#include "tests/engine/memory/job_fixture.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class BackupTest : public BankTest {
 protected:
  BackupTest() {
    options_.backup_dir = directory_.path() + "/backups";
    MakeBank({.display_name = "The bank",
              .token_budget = 100'000,
              .router_key_scan = RouterKeyScan::kInt8});
  }

  void IngestSome(int count) {
    for (int i = 0; i < count; ++i) {
      DocumentInput document{.id = absl::StrCat("d", i),
                             .text = absl::StrCat("text ", i),
                             .metadata = {{"k", static_cast<double>(i)}},
                             .number = {}};
      ASSERT_TRUE(Ingest(*bank_, std::move(document)).status.ok());
    }
  }

  absl::StatusOr<BackupInfo> Backup(const std::string& name) {
    return store_->Backup("a", name, &monitor_);
  }
  absl::StatusOr<BankInfo> Restore(const std::string& backup, const std::string& bank) {
    return store_->Restore(backup, bank, &monitor_);
  }
  std::shared_ptr<Bank> BankOf(const std::string& name) { return store_->Get(name).value(); }

  static std::map<std::string, DocumentInfo> DocumentsOf(Bank& bank) {
    std::map<std::string, DocumentInfo> documents;
    const auto page = bank.List("", 1'000'000, /*with_text=*/true, nullptr).value();
    for (const DocumentInfo& info : page.documents) documents[info.id] = info;
    return documents;
  }

  static void ExpectSameDocuments(const std::map<std::string, DocumentInfo>& actual,
                                  const std::map<std::string, DocumentInfo>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (const auto& [id, info] : expected) {
      ASSERT_TRUE(actual.contains(id)) << id;
      EXPECT_EQ(actual.at(id).number, info.number);
      EXPECT_EQ(actual.at(id).text, info.text);
      EXPECT_EQ(actual.at(id).metadata, info.metadata);
      EXPECT_EQ(actual.at(id).create_time, info.create_time);
      EXPECT_EQ(actual.at(id).revision, info.revision);
    }
  }

  std::string BackupPath(const std::string& name) { return options_.backup_dir + "/" + name; }

  PatientMonitor monitor_;
};

TEST_F(BackupTest, RestoredOnOtherShardsItIsTheSameBank) {
  IngestSome(30);
  ASSERT_TRUE(Ingest(*bank_, "d3", "a new text", IngestMode::kUpsert).status.ok());
  ASSERT_EQ(Delete(*bank_, {"d4", "d5"}).num_deleted, 2);
  const auto documents = DocumentsOf(*bank_);
  const auto arrays = VisibleArrays(*bank_);
  const uint64_t revision = bank_->Info().revision;
  const auto backup = Backup("monday");
  ASSERT_TRUE(backup.ok()) << backup.status();
  EXPECT_EQ(backup->name, "monday");
  EXPECT_EQ(backup->bank, "a");
  EXPECT_EQ(backup->revision, revision);
  EXPECT_EQ(backup->num_documents, 28);
  EXPECT_EQ(monitor_.last().done, monitor_.last().total);

  options_.num_shards = 3;
  Reopen();
  const auto restored = Restore("monday", "b");
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->name, "b");
  EXPECT_EQ(restored->revision, revision);
  EXPECT_EQ(restored->settings.display_name, "The bank");
  EXPECT_EQ(restored->settings.router_key_scan, RouterKeyScan::kInt8);
  const int64_t num_encoded = encoder_->num_encoded();
  const auto bank = BankOf("b");
  ExpectSameDocuments(DocumentsOf(*bank), documents);
  EXPECT_EQ(VisibleArrays(*bank), arrays);
  EXPECT_EQ(encoder_->num_encoded(), num_encoded);
  // Numbers go on where they were.
  EXPECT_EQ(Ingest(*bank, "new", "text").number, 32u);
  EXPECT_EQ(Ingest(*bank_, "new", "text").number, 32u);
  ExpectServesExactlyWhatIsActive(*bank);
}

TEST_F(BackupTest, ABankThatIsLostComesBack) {
  IngestSome(5);
  encoder_->HoldEncoding(true);
  ASSERT_TRUE(Ingest(*bank_, "accepted", "text", IngestMode::kInsert, AcknowledgeAt::kAccepted)
                  .status.ok());
  ASSERT_TRUE(Backup("b").ok());
  encoder_->HoldEncoding(false);
  bank_.reset();
  ASSERT_TRUE(store_->Delete("a", /*force=*/true).ok());
  ASSERT_TRUE(Restore("b", "").ok());
  bank_ = BankOf("a");
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(bank_->Stats().num_documents, 6);
  ExpectServesExactlyWhatIsActive(*bank_);
  Reopen();
  ExpectServesExactlyWhatIsActive(*bank_);
}

// Every backup is the bank at one moment: documents come in pairs, one transaction each.
TEST_F(BackupTest, ItIsConsistentWhileTheBankChanges) {
  options_.segment_interval = absl::ZeroDuration();
  options_.compaction_share = 0.1;
  options_.compaction_merge = 3;
  Reopen();
  std::atomic<bool> ends = false;
  std::thread changes([&] {
    for (int i = 0; !ends; ++i) {
      const std::string id = absl::StrCat("d", i % 20);
      Ingest(*bank_, id, absl::StrCat("text ", i), IngestMode::kUpsert);
      if (i % 4 == 0) Delete(*bank_, {absl::StrCat("d", (i + 7) % 20)});
      if (i % 30 == 0) Compact(*bank_);
    }
  });
  for (int i = 0; i < 15; ++i) {
    const std::string name = absl::StrCat("b", i);
    const auto backup = Backup(name);
    ASSERT_TRUE(backup.ok()) << backup.status();
    const auto restored = Restore(name, name);
    ASSERT_TRUE(restored.ok()) << restored.status();
    const auto bank = BankOf(name);
    ASSERT_TRUE(Settles(*bank));
    ExpectServesExactlyWhatIsActive(*bank);
    EXPECT_EQ(bank->Stats().num_documents, backup->num_documents);
  }
  ends = true;
  changes.join();
  EXPECT_THAT(observer_.problems(), IsEmpty());
}

TEST_F(BackupTest, CompactionOnDemandEndsAfterABackup) {
  IngestSome(3);
  ASSERT_EQ(Delete(*bank_, {"d1"}).num_deleted, 1);
  ASSERT_TRUE(Backup("before").ok());
  ASSERT_TRUE(Compact(*bank_).status.ok());
  EXPECT_EQ(bank_->Stats().num_tombstones, 0);
  ASSERT_TRUE(Restore("before", "b").ok());
  EXPECT_EQ(BankOf("b")->Stats().num_documents, 2);
}

TEST_F(BackupTest, NamesThatAreTakenWrongOrUnknownAreRefused) {
  IngestSome(1);
  ASSERT_TRUE(Backup("b").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Backup("b").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Backup("../b").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Backup("none", "c", &monitor_).status()));
  EXPECT_TRUE(absl::IsNotFound(Restore("none", "c").status()));
  EXPECT_TRUE(absl::IsAlreadyExists(Restore("b", "a").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Restore("b", "A B").status()));
  EXPECT_THAT(*store_->Backups(), SizeIs(1));
  EXPECT_TRUE(store_->DeleteBackup("b").ok());
  EXPECT_TRUE(absl::IsNotFound(store_->DeleteBackup("b")));
  EXPECT_THAT(*store_->Backups(), IsEmpty());
  options_.backup_dir = "";
  Reopen();
  const absl::Status none = Backup("b").status();
  EXPECT_EQ(kernels::DetailOf(none).reason, "NO_BACKUP_DIRECTORY") << none;
}

TEST_F(BackupTest, ACancelledBackupOrRestoreLeavesNothing) {
  IngestSome(3);
  CancellingMonitor cancelling;
  EXPECT_TRUE(absl::IsCancelled(store_->Backup("a", "b", &cancelling).status()));
  EXPECT_THAT(FilesIn(options_.backup_dir), IsEmpty());
  ASSERT_TRUE(Backup("b").ok());
  EXPECT_TRUE(absl::IsCancelled(store_->Restore("b", "c", &cancelling).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Get("c").status()));
  EXPECT_THAT(FilesIn(options_.data_dir + "/banks"), SizeIs(1));
  EXPECT_TRUE(Restore("b", "c").ok());
}

TEST_F(BackupTest, ADamagedBackupIsNamedAndNotRestored) {
  IngestSome(3);
  ASSERT_TRUE(Backup("b").ok());
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(BackupPath("b"))) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  ASSERT_GE(files.size(), 3u);
  for (const std::string& file : files) {
    const std::string bytes = ReadFile(file);
    for (const size_t bit : {size_t{0}, bytes.size() * 4, bytes.size() * 8 - 1}) {
      FlipBit(file, bit);
      const absl::Status status = Restore("b", "c").status();
      EXPECT_TRUE(absl::IsDataLoss(status)) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(file));
      WriteFile(file, bytes);
    }
    std::filesystem::remove(file);
    const absl::Status status = Restore("b", "c").status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(file)) << status;
    WriteFile(file, bytes);
  }
  EXPECT_TRUE(Restore("b", "c").ok());
}

TEST_F(BackupTest, ADamagedBackupIsListedWithItsProblemAndCanBeDeleted) {
  IngestSome(1);
  ASSERT_TRUE(Backup("good").ok());
  ASSERT_TRUE(Backup("bad").ok());
  WriteFile(absl::StrCat(BackupPath("bad"), "/", BackupManifest::kFileName), "{}");
  const auto listed = store_->Backups();
  ASSERT_THAT(*listed, SizeIs(2));
  EXPECT_EQ((*listed)[0].name, "bad");
  EXPECT_TRUE(absl::IsDataLoss((*listed)[0].problem)) << (*listed)[0].problem;
  EXPECT_TRUE((*listed)[1].problem.ok());
  EXPECT_EQ((*listed)[1].num_documents, 1);
  EXPECT_TRUE(absl::IsDataLoss(Restore("bad", "c").status()));
  EXPECT_TRUE(store_->DeleteBackup("bad").ok());
  EXPECT_THAT(*store_->Backups(), SizeIs(1));
}

TEST_F(BackupTest, CountsThatDoNotFitAreDamageUnderARightChecksumToo) {
  IngestSome(1);
  ASSERT_TRUE(Backup("b").ok());
  const std::string path = absl::StrCat(BackupPath("b"), "/", BackupManifest::kFileName);
  const std::string bytes = ReadFile(path);
  for (const std::string wrong :
       {"1e30", "-1", "9223372036854775808", "9223372036854775807", "0.5"}) {
    // Of every file: two of the most that fits no longer do.
    std::string text = bytes.substr(0, bytes.size() - 17);
    const std::string key = "\"bytes\": ";
    for (size_t at = text.find(key); at != text.npos; at = text.find(key, at + key.size())) {
      const size_t begin = at + key.size();
      text.replace(begin, text.find_first_not_of("0123456789", begin) - begin, wrong);
    }
    WriteFile(path, absl::StrCat(text, absl::StrFormat("%016x\n", Checksum(text))));
    const absl::Status status = Restore("b", "c").status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << wrong << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("a field is missing or wrong"));
  }
}

TEST_F(BackupTest, DamageIsNotBackedUp) {
  IngestSome(1);
  const std::string path = SegmentDirectory() + "/" + FilesIn(SegmentDirectory()).front();
  FlipBit(path, size_t{384 + 64} * 8);  // the first router key
  const absl::Status status = Backup("b").status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(FilesIn(options_.backup_dir), IsEmpty());
}

TEST_F(BackupTest, ADamagedTextIsNotBackedUpBeforeItsDocumentIsThereAgain) {
  IngestSome(2);
  bank_.reset();
  CloseStore();
  ExecuteSql("UPDATE texts SET text = 'other' WHERE number = 1");
  Reopen();
  const absl::Status status = Backup("b").status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("document 1"));
  EXPECT_THAT(FilesIn(options_.backup_dir), IsEmpty());
  const std::string id = bank_->List("", 1, false, nullptr)->documents.front().id;
  ASSERT_TRUE(Ingest(*bank_, id, "a new text", IngestMode::kUpsert).status.ok());
  EXPECT_TRUE(Backup("b").ok());
}

TEST_F(BackupTest, DamageOfDocumentsThatAreGoneIsNoObstacle) {
  IngestSome(1);
  const std::string path = SegmentDirectory() + "/" + FilesIn(SegmentDirectory()).front();
  FlipBit(path, size_t{384 + 64} * 8);  // the first router key
  Reopen();  // the document is encoded again, and the damaged file is still there
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_TRUE(Backup("b").ok());
  EXPECT_TRUE(Restore("b", "c").ok());
}

// A failure of any operation: there is a whole backup or none, and a whole bank or none.
TEST_F(BackupTest, AFailureAtAnyOperationLeavesAllOrNothing) {
  IngestSome(4);
  const auto documents = DocumentsOf(*bank_);
  for (int n = 0;; ++n) {
    std::atomic<int> index = 0;
    std::atomic<bool> is_on = false;
    FaultyFileSystem files(PosixFileSystem(), [&](const std::string&, const std::string&) {
      return is_on && index++ >= n ? absl::UnavailableError("the process has ended")
                                   : absl::OkStatus();
    });
    CloseStore();
    OpenStore(&files);
    is_on = true;
    const bool is_backed_up = Backup("b").ok();
    const bool is_restored = is_backed_up && Restore("b", "c").ok();
    const bool was_last = index < n;
    is_on = false;
    CloseStore();
    OpenStore();
    bank_ = BankOf("a");
    const auto backups = store_->Backups();
    ASSERT_TRUE(backups.ok()) << backups.status();
    EXPECT_TRUE(!is_backed_up || backups->size() == 1);
    EXPECT_TRUE(!is_restored || store_->Get("c").ok());
    if (store_->Get("c").ok()) {
      ExpectSameDocuments(DocumentsOf(*BankOf("c")), documents);
      ASSERT_TRUE(store_->Delete("c", true).ok());
    }
    if (!backups->empty()) {
      ASSERT_TRUE(Restore("b", "d").ok());
      ExpectSameDocuments(DocumentsOf(*BankOf("d")), documents);
      ASSERT_TRUE(store_->Delete("d", true).ok());
      ASSERT_TRUE(store_->DeleteBackup("b").ok());
    }
    ExpectServesExactlyWhatIsActive(*bank_);
    if (HasFailure()) FAIL() << "operation " << n;
    if (was_last) {
      EXPECT_GT(n, 30);
      break;
    }
  }
}

}  // namespace
}  // namespace msa::engine
