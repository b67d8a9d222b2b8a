#include <atomic>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/segments/segment_format.h"
#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/files/faulty_file_system.h"

namespace msa::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RecoveryTest : public BankTest {
 protected:
  void IngestSome(int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(Ingest(*bank_, absl::StrCat("d", i), absl::StrCat("text ", i)).status.ok());
    }
  }
  std::string FirstSegment() const {
    return SegmentDirectory() + "/" + FilesIn(SegmentDirectory()).front();
  }
};

TEST_F(RecoveryTest, RestartServesTheSameArraysWithoutEncoding) {
  MakeBank();
  IngestSome(20);
  const auto before = VisibleArrays(*bank_);
  const int64_t num_encoded = encoder_->num_encoded();
  Reopen();
  EXPECT_EQ(VisibleArrays(*bank_), before);
  EXPECT_EQ(encoder_->num_encoded(), num_encoded);
  EXPECT_THAT(observer_.problems(), IsEmpty());
}

TEST_F(RecoveryTest, FilesThatNoCatalogKnowsAreRemoved) {
  MakeBank();
  IngestSome(1);
  CloseStore();
  WriteFile(SegmentDirectory() + "/0000000000000099.segment", "orphan");
  WriteFile(SegmentDirectory() + "/0000000000000002.segment.tmp", "half");
  WriteFile(SegmentDirectory() + "/notes.txt", "not ours");
  Reopen();
  EXPECT_THAT(FilesIn(SegmentDirectory()), ElementsAre("0000000000000001.segment", "notes.txt"));
}

TEST_F(RecoveryTest, DamagedRouterKeysAreEncodedAgainFromTheText) {
  MakeBank();
  IngestSome(3);
  const auto before = VisibleArrays(*bank_);
  CloseStore();
  const auto layout = LayOutSegment(options_.geometry, 1, 2).value();
  FlipBit(FirstSegment(), (layout.router_keys + 1) * 8);
  Reopen();
  EXPECT_THAT(observer_.problems(), Contains(HasSubstr("0000000000000001.segment, document 1")));
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(VisibleArrays(*bank_), before);
  EXPECT_EQ(observer_.count("checksum"), 1);
  EXPECT_EQ(bank_->Get("d0", true)->number, 1u);
  EXPECT_EQ(bank_->Stats().num_tombstones, 0) << "the damaged segment is gone";
  EXPECT_EQ(bank_->Stats().num_segments, 3);
}

TEST_F(RecoveryTest, MissingAndTruncatedSegmentsAreEncodedAgain) {
  MakeBank();
  IngestSome(3);
  const auto before = VisibleArrays(*bank_);
  CloseStore();
  ASSERT_TRUE(PosixFileSystem()->Remove(SegmentDirectory() + "/0000000000000001.segment").ok());
  WriteFile(SegmentDirectory() + "/0000000000000002.segment", "short");
  // A whole segment in the place of another.
  WriteFile(SegmentDirectory() + "/0000000000000003.segment", ReadFile(FirstSegment()));
  Reopen();
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(VisibleArrays(*bank_), before);
  EXPECT_EQ(bank_->Stats().num_tombstones, 0);
  EXPECT_GE(observer_.problems().size(), 3u);
  Reopen();
  EXPECT_EQ(VisibleArrays(*bank_), before);
}

TEST_F(RecoveryTest, DamagedContentIsNeverServedAndEncodedAgain) {
  MakeBank();
  IngestSome(2);
  const auto before = VisibleArrays(*bank_);
  const auto layout = LayOutSegment(options_.geometry, 1, 2).value();
  FlipBit(FirstSegment(), (layout.content + 3) * 8);
  std::vector<std::byte> block(2 * 2 * 4 * 2);
  absl::Status status;
  encoder_->InStep([&] {
    for (int rank = 0; rank < 2; ++rank) {
      if (bank_->shard(rank).NumChunks(1) == 0) continue;
      status = bank_->shard(rank).ReadContent(1, 0, absl::MakeSpan(block));
    }
  });
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  ASSERT_TRUE(Eventually([&] { return bank_->Pin()->revision() == 4; }));
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(VisibleArrays(*bank_), before);
  EXPECT_EQ(observer_.count("checksum"), 1);
  EXPECT_EQ(bank_->Stats().num_tombstones, 1);
  Reopen();
  EXPECT_EQ(VisibleArrays(*bank_), before);
}

TEST_F(RecoveryTest, DamagedTextFailsItsDocumentAlone) {
  MakeBank();
  IngestSome(2);
  CloseStore();
  ASSERT_TRUE(PosixFileSystem()->Remove(FirstSegment()).ok());
  ExecuteSql("UPDATE texts SET text = 'other' WHERE number = 1");
  Reopen();
  ASSERT_TRUE(Settles(*bank_));
  const auto info = bank_->Get("d0", false);
  EXPECT_EQ(info->state, DocumentState::kFailed);
  EXPECT_TRUE(absl::IsDataLoss(info->failure)) << info->failure;
  EXPECT_EQ(bank_->Get("d1", true)->text, "text 1");
}

TEST_F(RecoveryTest, ADamagedTextComesBackWithItsDocument) {
  MakeBank();
  IngestSome(2);
  CloseStore();
  ExecuteSql("UPDATE texts SET text = 'other' WHERE number = 1");
  Reopen();
  EXPECT_TRUE(absl::IsDataLoss(bank_->Get("d0", true).status()));
  DocumentInput other{.id = "d0", .text = "text 0", .metadata = {{"k", true}}, .number = {}};
  EXPECT_TRUE(absl::IsAlreadyExists(Ingest(*bank_, std::move(other)).status))
      << "metadata are replaced by no insert";
  const IngestResult again = Ingest(*bank_, "d0", "text 0");
  EXPECT_TRUE(again.status.ok()) << again.status;
  EXPECT_FALSE(again.deduplicated);
  EXPECT_EQ(bank_->Get("d0", true)->text, "text 0");
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(2, 3));
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(RecoveryTest, DamagedRowIsReportedAndNotServed) {
  MakeBank();
  IngestSome(3);
  CloseStore();
  ExecuteSql("UPDATE documents SET tokens = 99 WHERE number = 2");
  Reopen();
  EXPECT_THAT(observer_.problems(), Contains(HasSubstr("document 2")));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1, 3));
  EXPECT_TRUE(absl::IsDataLoss(bank_->Get("d1", false).status()));
  EXPECT_TRUE(absl::IsDataLoss(Ingest(*bank_, "d1", "again").status));
  EXPECT_TRUE(Ingest(*bank_, "d9", "fine").status.ok());
}

TEST_F(RecoveryTest, ADamagedRowGoesWithADelete) {
  MakeBank();
  IngestSome(3);
  CloseStore();
  ExecuteSql("UPDATE documents SET tokens = 99 WHERE number = 2");
  Reopen();
  const auto deleted = Delete(*bank_, {"d1"});
  EXPECT_TRUE(deleted.status.ok()) << deleted.status;
  EXPECT_EQ(deleted.num_deleted, 1);
  EXPECT_THAT(deleted.unknown_ids, IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(bank_->Get("d1", false).status()));
  EXPECT_TRUE(Ingest(*bank_, "d1", "again").status.ok());
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1, 3, 4));
  ExpectServesExactlyWhatIsActive(*bank_);
  const int64_t num_problems = static_cast<int64_t>(observer_.problems().size());
  Reopen();
  EXPECT_EQ(static_cast<int64_t>(observer_.problems().size()), num_problems) << "nothing is left";
}

// The same bytes with another type: found by no id, though its hash is right.
TEST_F(RecoveryTest, AnIdThatIsNoTextAnyMoreIsReported) {
  MakeBank();
  IngestSome(3);
  CloseStore();
  ExecuteSql("UPDATE documents SET id = CAST(id AS BLOB) WHERE number = 2");
  Reopen();
  EXPECT_THAT(observer_.problems(), Contains(HasSubstr("document 2")));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1, 3));
}

TEST_F(RecoveryTest, SegmentOfAnUnknownVersionIsRefusedByName) {
  MakeBank();
  IngestSome(1);
  CloseStore();
  ExecuteSql("UPDATE segments SET format_version = 7");
  OpenStore();
  const auto status = store_->Get("a").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("0000000000000001.segment"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 7"));
  EXPECT_EQ(FilesIn(SegmentDirectory()).size(), 1u) << "nothing of it is touched";
}

TEST_F(RecoveryTest, DiskThatIsFullForSegmentsKeepsDocumentsAcceptedAndTriesAgain) {
  std::atomic<bool> full = true;
  FaultyFileSystem files(PosixFileSystem(), [&](const std::string& operation, const std::string&) {
    return full && operation == "append" ? absl::ResourceExhaustedError("disk full")
                                         : absl::OkStatus();
  });
  OpenStore(&files);
  MakeBank();
  const IngestResult result = Ingest(*bank_, "one", "x");
  EXPECT_TRUE(absl::IsResourceExhausted(result.status)) << result.status;
  EXPECT_EQ(result.state, DocumentState::kAccepted);
  full = false;
  ASSERT_TRUE(Settles(*bank_));
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_EQ(bank_->Stats().num_documents, 1);
  EXPECT_EQ(encoder_->num_encoded(), 1);
  CloseStore();  // before its files go
}

TEST_F(RecoveryTest, AFailedSyncMakesTheBankReadOnlyUntilItIsOpenedAgain) {
  std::atomic<int> failures = 0;
  FaultyFileSystem files(
      PosixFileSystem(), [&](const std::string& operation, const std::string& path) {
        if (operation != "sync" || !absl::EndsWith(path, "-wal")) {
          return absl::OkStatus();
        }
        return failures-- > 0 ? absl::UnavailableError("I/O error") : absl::OkStatus();
      });
  OpenStore(&files);
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "x").status.ok());
  failures = 1;
  EXPECT_TRUE(absl::IsUnavailable(Ingest(*bank_, "two", "y").status));
  failures = 0;
  const IngestResult refused = Ingest(*bank_, "three", "z");
  EXPECT_THAT(std::string(refused.status.message()), HasSubstr("read-only"));
  EXPECT_TRUE(absl::IsUnavailable(Delete(*bank_, {"one"}).status));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1));
  Reopen();
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_TRUE(Ingest(*bank_, "three", "z").status.ok());
  ExpectServesExactlyWhatIsActive(*bank_);
}

}  // namespace
}  // namespace msa::engine
