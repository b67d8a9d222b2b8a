#include <atomic>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/memory/segments/segment_format.h"
#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/files/faulty_file_system.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class CompactionTest : public BankTest {
 protected:
  static std::string Text(int i) {
    return absl::StrCat("text ", i, std::string(static_cast<size_t>(i % 40), '.'));
  }

  // Documents d0 ... in segments of a few each.
  void IngestSome(int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(Ingest(*bank_, absl::StrCat("d", i), Text(i)).status.ok());
    }
  }
  void DeleteEvery(int nth, int count) {
    std::vector<std::string> ids;
    for (int i = 0; i < count; i += nth) ids.push_back(absl::StrCat("d", i));
    ASSERT_TRUE(Delete(*bank_, ids).status.ok());
  }

  // Whether these bytes are in some file of the bank.
  bool IsOnDisk(std::string_view bytes) const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(BankDirectory())) {
      if (!entry.is_regular_file()) continue;
      if (ReadFile(entry.path()).find(bytes) != std::string::npos) return true;
    }
    return false;
  }
  static std::string_view AsText(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

TEST_F(CompactionTest, DropsWhatIsDeadAndKeepsTheRest) {
  MakeBank();
  IngestSome(30);
  DeleteEvery(3, 30);
  const auto before = VisibleArrays(*bank_);
  EXPECT_EQ(bank_->Stats().num_tombstones, 10);
  const Bank::CompactResult result = Compact(*bank_);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.num_dropped, 10);
  EXPECT_EQ(result.num_pinned, 0);
  EXPECT_EQ(result.num_segments, 1);
  EXPECT_GT(result.freed_bytes, 0);
  EXPECT_EQ(VisibleArrays(*bank_), before);
  ExpectServesExactlyWhatIsActive(*bank_);
  const BankStats stats = bank_->Stats();
  EXPECT_EQ(stats.num_tombstones, 0);
  EXPECT_EQ(stats.reserved_tokens, stats.num_tokens);
  EXPECT_EQ(stats.num_segments, 1);
  EXPECT_EQ(stats.router_key_bytes,
            stats.num_chunks * options_.geometry.router_key_bytes_per_chunk());
  EXPECT_EQ(stats.content_bytes, 2 * stats.router_key_bytes);
  EXPECT_THAT(FilesIn(SegmentDirectory()), SizeIs(1));
  const int64_t num_encoded = encoder_->num_encoded();
  Reopen();
  EXPECT_EQ(VisibleArrays(*bank_), before);
  EXPECT_EQ(encoder_->num_encoded(), num_encoded) << "nothing was encoded again";
  EXPECT_TRUE(observer_.problems().empty());
}

TEST_F(CompactionTest, ABankWithoutDocumentsHasNoSegments) {
  MakeBank();
  EXPECT_TRUE(Compact(*bank_).status.ok());
  IngestSome(3);
  DeleteEvery(1, 3);
  const Bank::CompactResult result = Compact(*bank_);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.num_segments, 0);
  EXPECT_THAT(FilesIn(SegmentDirectory()), SizeIs(0));
  IngestSome(2);
  ExpectServesExactlyWhatIsActive(*bank_);
  Reopen();
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(CompactionTest, WhatARunningQuerySeesStays) {
  MakeBank();
  IngestSome(10);
  auto pin = bank_->Pin();
  const auto seen = VisibleArrays(*bank_, *pin);
  DeleteEvery(2, 10);
  Bank::CompactResult result = Compact(*bank_);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.num_pinned, 5);
  EXPECT_EQ(VisibleArrays(*bank_, *pin), seen);
  const auto texts = bank_->Read({1, 2}, *pin, /*with_text=*/true);
  ASSERT_TRUE(texts.ok());
  EXPECT_THAT(*texts, SizeIs(2));
  pin.reset();
  result = Compact(*bank_);
  EXPECT_EQ(result.num_pinned, 0);
  EXPECT_EQ(result.num_dropped, 5);
  EXPECT_EQ(bank_->Stats().num_tombstones, 0);
  ExpectServesExactlyWhatIsActive(*bank_);
}

// Text, id, metadata and arrays of a deleted document: no byte sequence of them is left in any file.
TEST_F(CompactionTest, NothingOfADeletedDocumentIsLeftOnTheDisk) {
  MakeBank();
  IngestSome(10);
  DocumentInput secret{.id = "id-of-the-secret-document",
                       .text = "the text of the secret document and more of it",
                       .metadata = {{"note", "metadata-of-the-secret-document"}},
                       .number = {}};
  const IngestResult stored = Ingest(*bank_, secret);
  ASSERT_TRUE(stored.status.ok());
  IngestSome(20);
  const Arrays arrays = ExpectedArrays(stored.number, secret.text);
  const std::vector<std::string_view> pieces = {
      secret.id, "the secret document", "metadata-of-the-secret",
      AsText(arrays.router_keys).substr(0, 32), AsText(arrays.content).substr(0, 32)};
  for (const std::string_view piece : pieces) EXPECT_TRUE(IsOnDisk(piece)) << piece;
  ASSERT_EQ(Delete(*bank_, {secret.id}).num_deleted, 1);
  ASSERT_TRUE(Compact(*bank_).status.ok());
  for (const std::string_view piece : pieces) EXPECT_FALSE(IsOnDisk(piece)) << piece;
  EXPECT_TRUE(IsOnDisk("text 7"));
}

// SQLite leaves copies of rows in pages that it has rebalanced, in some banks and not in others.
TEST_F(CompactionTest, NothingOfManyDeletedDocumentsIsLeftOnTheDisk) {
  for (int trial = 0; trial < 4; ++trial) {
    MakeBank();
    const auto id_of = [&](int i) {
      return absl::StrCat("id-", trial, "-", i * 7919 % 500, "-end");
    };
    const auto text_of = [&](int i) {
      return absl::StrCat("text-", i, "-end",
                          std::string(static_cast<size_t>(i * (31 + trial) % 180), '.'));
    };
    for (int i = 0; i < 500; ++i) {
      DocumentInput document{
          .id = id_of(i),
          .text = text_of(i),
          .metadata = {{"goes", i % 5 != 0}, {"note", "note-" + id_of(i) + text_of(i * 17)}},
          .number = {}};
      const auto level = i == 499 ? AcknowledgeAt::kActive : AcknowledgeAt::kAccepted;
      ASSERT_TRUE(Ingest(*bank_, document, IngestMode::kInsert, level).status.ok());
    }
    ASSERT_TRUE(Settles(*bank_));
    ASSERT_EQ(DeleteMatching(*bank_, *Filter::Parse("metadata.goes = true")).num_deleted, 400);
    ASSERT_TRUE(Compact(*bank_).status.ok());
    int num_found = 0;
    for (int i = 0; i < 500; ++i) {
      for (const std::string& piece : {id_of(i), text_of(i), "note-" + id_of(i)}) {
        num_found += IsOnDisk(piece) ? 1 : 0;
      }
    }
    EXPECT_EQ(num_found, 3 * 100);  // of those that stay
    ExpectServesExactlyWhatIsActive(*bank_);
    bank_.reset();
    ASSERT_TRUE(store_->Delete("a", /*force=*/true).ok());
  }
}

// Others read while the catalog is written anew, and its log is cut when they are done.
TEST_F(CompactionTest, ReadersGoOnWhileTheCatalogIsRewritten) {
  MakeBank();
  IngestSome(20);
  DeleteEvery(2, 20);
  std::atomic<bool> ends = false;
  std::atomic<int> num_read = 0;
  std::thread reader([&] {
    while (!ends) num_read += bank_->List("", 100, true, nullptr).ok() ? 1 : 0;
  });
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(Compact(*bank_).status.ok());
    EXPECT_TRUE(Ingest(*bank_, absl::StrCat("e", i), Text(i)).status.ok());
    EXPECT_EQ(Delete(*bank_, {absl::StrCat("e", i)}).num_deleted, 1);
  }
  ends = true;
  reader.join();
  EXPECT_GT(num_read, 5);
  EXPECT_TRUE(Compact(*bank_).status.ok());
  EXPECT_EQ(std::filesystem::file_size(BankDirectory() + "/catalog.sqlite-wal"), 0u);
}

TEST_F(CompactionTest, RunsByItselfWhereEnoughIsDead) {
  options_.compaction_share = 0.25;
  MakeBank();
  IngestSome(40);
  ASSERT_EQ(Compact(*bank_).num_segments, 1);
  DeleteEvery(8, 40);  // an eighth: not enough
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_EQ(bank_->Stats().num_tombstones, 5);
  DeleteEvery(3, 40);
  EXPECT_TRUE(Eventually([&] { return bank_->Stats().num_tombstones == 0; }));
  const auto num_chunks = [&] {
    int64_t chunks = 0;
    encoder_->InStep([&] { chunks = bank_->shard(0).num_chunks() + bank_->shard(1).num_chunks(); });
    return chunks;
  };
  EXPECT_TRUE(Eventually([&] { return num_chunks() == bank_->Stats().num_chunks; }));
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(CompactionTest, ManySmallSegmentsAreMergedByThemselves) {
  options_.compaction_merge = 8;
  MakeBank();
  IngestSome(40);
  EXPECT_TRUE(Eventually([&] { return bank_->Stats().num_segments < 8; }));
  EXPECT_TRUE(Eventually([&] {
    return FilesIn(SegmentDirectory()).size() == static_cast<size_t>(bank_->Stats().num_segments);
  }));
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(CompactionTest, UnitsKeepToTheSegmentSize) {
  options_.segment_target_bytes = 4096;
  MakeBank();
  IngestSome(60);
  DeleteEvery(4, 60);
  const Bank::CompactResult result = Compact(*bank_);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.num_dropped, 15);
  EXPECT_GT(result.num_segments, 1);
  for (const std::string& file : FilesIn(SegmentDirectory())) {
    EXPECT_LE(ReadFile(SegmentDirectory() + "/" + file).size(), 2 * 4096u);
  }
  ExpectServesExactlyWhatIsActive(*bank_);
}

// A small segment that lives must not hide a large one with something dead.
TEST_F(CompactionTest, ASmallSegmentBeforeALargeOneDoesNotHideIt) {
  for (const bool asks : {true, false}) {
    std::filesystem::remove_all(options_.data_dir);
    options_.segment_target_bytes = 8192;
    options_.segment_interval = absl::Milliseconds(500);
    if (!asks) options_.compaction_share = 0.03;  // one of all
    MakeBank();
    ASSERT_TRUE(Ingest(*bank_, "small", "x").status.ok());
    // One large segment.
    std::atomic<int> num_active = 0;
    for (int i = 0; i < 30; ++i) {
      bank_->Ingest(
          {.id = absl::StrCat("d", i), .text = std::string(40, 'y'), .metadata = {}, .number = {}},
          IngestMode::kInsert, AcknowledgeAt::kActive,
          [&](const IngestResult& result) { num_active += result.status.ok() ? 1 : 0; });
    }
    ASSERT_TRUE(Eventually([&] { return num_active == 30; }));
    size_t largest = 0;
    for (const std::string& file : FilesIn(SegmentDirectory())) {
      largest = std::max(largest, ReadFile(SegmentDirectory() + "/" + file).size());
    }
    ASSERT_GT(largest, 8192u * 7 / 8) << "it leaves no room beside it";
    DeleteEvery(6, 30);
    if (asks) {
      const Bank::CompactResult result = Compact(*bank_);
      ASSERT_TRUE(result.status.ok()) << result.status;
      EXPECT_EQ(result.num_dropped, 5);
    }
    EXPECT_TRUE(Eventually([&] { return bank_->Stats().num_tombstones == 0; }));
    ExpectServesExactlyWhatIsActive(*bank_);
    CloseStore();
  }
}

// One segment that cannot be read does not stop the compaction of the others.
TEST_F(CompactionTest, AnUnreadableSegmentIsNamedAndTheOthersAreCompacted) {
  MakeBank();
  for (int pair = 0; pair < 3; ++pair) {  // two documents in each segment
    encoder_->HoldEncoding(true);
    for (const char* which : {"a", "b"}) {
      Ingest(*bank_, absl::StrCat(which, pair), "text", IngestMode::kInsert,
             AcknowledgeAt::kAccepted);
    }
    encoder_->HoldEncoding(false);
    ASSERT_TRUE(Settles(*bank_));
  }
  const std::vector<std::string> files = FilesIn(SegmentDirectory());
  ASSERT_THAT(files, SizeIs(3));
  FlipBit(SegmentDirectory() + "/" + files[0], 16 * 8);
  ASSERT_EQ(Delete(*bank_, {"a0", "a1", "a2"}).num_deleted, 3);
  const Bank::CompactResult result = Compact(*bank_);
  EXPECT_TRUE(absl::IsDataLoss(result.status)) << result.status;
  EXPECT_THAT(std::string(result.status.message()), HasSubstr(files[0]));
  EXPECT_EQ(result.num_dropped, 2);
  EXPECT_THAT(FilesIn(SegmentDirectory()), SizeIs(2));
}

// Of a segment without living documents nothing is read.
TEST_F(CompactionTest, AnUnreadableSegmentOfDeletedDocumentsGoes) {
  MakeBank();
  IngestSome(1);
  const std::vector<std::string> files = FilesIn(SegmentDirectory());
  FlipBit(SegmentDirectory() + "/" + files[0], 16 * 8);
  DeleteEvery(1, 1);
  const Bank::CompactResult result = Compact(*bank_);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.num_dropped, 1);
  EXPECT_THAT(FilesIn(SegmentDirectory()), SizeIs(0));
}

TEST_F(CompactionTest, EndsWhileDocumentsComeAndGo) {
  MakeBank();
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; !stop; ++i) {
      const std::string id = absl::StrCat("w", i);
      EXPECT_TRUE(Ingest(*bank_, id, Text(i)).status.ok());
      if (i % 2 == 0) {
        EXPECT_TRUE(Delete(*bank_, {id}).status.ok());
      }
    }
  });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Compact(*bank_).status.ok());
  stop = true;
  writer.join();
  ASSERT_TRUE(Settles(*bank_));
  ExpectServesExactlyWhatIsActive(*bank_);
  Reopen();
  ExpectServesExactlyWhatIsActive(*bank_);
}

TEST_F(CompactionTest, ADamagedDocumentIsNamedAndEncodedAgain) {
  MakeBank();
  IngestSome(2);
  const auto layout = LayOutSegment(options_.geometry, 1, 1).value();
  FlipBit(SegmentDirectory() + "/" + FilesIn(SegmentDirectory()).front(), (layout.content + 3) * 8);
  const absl::Status status = Compact(*bank_).status;
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("0000000000000001.segment"));
  ASSERT_TRUE(Eventually([&] { return observer_.count("checksum") == 1; }));
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_TRUE(Compact(*bank_).status.ok());
  ExpectServesExactlyWhatIsActive(*bank_);
}

// The N-th changing operation fails, for every N: nothing is lost, and what came back as done is.
TEST_F(CompactionTest, AFailureAtAnyOperationLosesNothing) {
  for (const absl::Status& failure :
       {absl::UnavailableError("I/O error"), absl::ResourceExhaustedError("no space")}) {
    int num_operations = 0;
    for (int n = 0;; ++n) {
      std::filesystem::remove_all(options_.data_dir);
      std::atomic<bool> counts = false;
      std::atomic<int> left = n;
      FaultyFileSystem files(PosixFileSystem(), [&](const std::string&, const std::string&) {
        if (!counts || left-- != 0) return absl::OkStatus();
        return failure;
      });
      OpenStore(&files);
      MakeBank();
      IngestSome(8);
      DeleteEvery(2, 8);
      const auto before = VisibleArrays(*bank_);
      counts = true;
      const Bank::CompactResult result = Compact(*bank_);
      counts = false;
      EXPECT_EQ(VisibleArrays(*bank_), before) << "operation " << n;
      Reopen();
      EXPECT_EQ(VisibleArrays(*bank_), before) << "operation " << n;
      EXPECT_TRUE(Compact(*bank_).status.ok());
      EXPECT_EQ(VisibleArrays(*bank_), before);
      EXPECT_EQ(bank_->Stats().num_tombstones, 0);
      CloseStore();
      num_operations = n;
      if (left >= 0) break;  // it never came
      if (HasFailure()) return;
    }
    EXPECT_GT(num_operations, 8);
  }
}

}  // namespace
}  // namespace msa::engine
