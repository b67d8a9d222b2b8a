#include <sqlite3.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>

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
  void Execute(const std::string& sql) {
    sqlite3* database = nullptr;
    sqlite3_open((BankDirectory() + "/catalog.sqlite").c_str(), &database);
    ASSERT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database);
    sqlite3_close(database);
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
  Execute("UPDATE texts SET text = 'other' WHERE number = 1");
  Reopen();
  ASSERT_TRUE(Settles(*bank_));
  const auto info = bank_->Get("d0", false);
  EXPECT_EQ(info->state, DocumentState::kFailed);
  EXPECT_TRUE(absl::IsDataLoss(info->failure)) << info->failure;
  EXPECT_EQ(bank_->Get("d1", true)->text, "text 1");
}

TEST_F(RecoveryTest, DamagedRowIsReportedAndNotServed) {
  MakeBank();
  IngestSome(3);
  CloseStore();
  Execute("UPDATE documents SET tokens = 99 WHERE number = 2");
  Reopen();
  EXPECT_THAT(observer_.problems(), Contains(HasSubstr("document 2")));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1, 3));
  EXPECT_TRUE(absl::IsDataLoss(bank_->Get("d1", false).status()));
  EXPECT_TRUE(absl::IsDataLoss(Ingest(*bank_, "d1", "again").status));
  EXPECT_TRUE(Ingest(*bank_, "d9", "fine").status.ok());
}

TEST_F(RecoveryTest, SegmentOfAnUnknownVersionIsRefusedByName) {
  MakeBank();
  IngestSome(1);
  CloseStore();
  Execute("UPDATE segments SET format_version = 7");
  OpenStore();
  const auto status = store_->Get("a").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("0000000000000001.segment"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 7"));
  EXPECT_EQ(FilesIn(SegmentDirectory()).size(), 1u) << "nothing of it is touched";
}

TEST_F(RecoveryTest, DiskThatIsFullRefusesAndResumes) {
  std::atomic<bool> full = false;
  FaultyFileSystem files(PosixFileSystem(), [&](const std::string& operation, const std::string&) {
    const bool writes = operation == "write" || operation == "append" || operation == "create";
    return full && writes ? absl::ResourceExhaustedError("disk full") : absl::OkStatus();
  });
  OpenStore(&files);
  MakeBank();
  ASSERT_TRUE(Ingest(*bank_, "one", "x").status.ok());
  full = true;
  EXPECT_TRUE(absl::IsResourceExhausted(Ingest(*bank_, "two", "y").status));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1));
  EXPECT_TRUE(bank_->Get("one", true).ok());
  full = false;
  const IngestResult result = Ingest(*bank_, "two", "y");
  EXPECT_TRUE(result.status.ok()) << result.status;
  ExpectServesExactlyWhatIsActive(*bank_);
  Reopen();
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_EQ(bank_->Stats().num_documents, 2);
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

// A trace of ingests, upserts and deletes over a file system that fails, and what the bank may hold
// after it.
class FaultTraceTest : public RecoveryTest {
 protected:
  // nullopt: no document.
  using Content = std::optional<std::string>;

  void StartOver(FileSystem* files) {
    CloseStore();
    ASSERT_TRUE(PosixFileSystem()->RemoveDirectoryTree(options_.data_dir).ok());
    possible_.clear();
    highest_number_ = 0;
    auto store = BankStore::Open(options_, encoder_.get(), files, SystemClock(), &observer_);
    if (!store.ok()) return;  // it failed while it was opened
    store_ = *std::move(store);
    auto bank = store_->Create("a", {});
    if (bank.ok()) bank_ = *bank;
  }

  void RunTrace() {
    if (bank_ == nullptr) return;
    for (int i = 0; i < 6; ++i) Put(absl::StrCat("d", i % 4), absl::StrCat("text ", i));
    Remove("d1");
    {
      const auto pin = bank_->Pin();
      Put("d0", "newer");
      Remove("d2");
    }
    Put("d1", "again");
    Put("d5", "last");
  }

  void Put(const std::string& id, const std::string& text) {
    const auto level = text.size() % 2 == 0 ? AcknowledgeAt::kActive : AcknowledgeAt::kAccepted;
    const IngestResult result = Ingest(*bank_, id, text, IngestMode::kUpsert, level);
    Note(id, text, result.status.ok() || result.state == DocumentState::kAccepted);
    if (result.status.ok()) {
      EXPECT_GT(result.number, highest_number_);
      highest_number_ = result.number;
    }
  }

  void Remove(const std::string& id) {
    const auto result = Delete(*bank_, {id});
    Note(id, std::nullopt, result.status.ok());
  }

  // An acknowledged change replaces what was possible before; another one may have happened or not.
  void Note(const std::string& id, const Content& content, bool acknowledged) {
    auto& possible = possible_[id];
    if (possible.empty()) possible = {std::nullopt};
    if (acknowledged) possible.clear();
    possible.insert(content);
  }

  void CheckAfterRestart() {
    CloseStore();
    auto store =
        BankStore::Open(options_, encoder_.get(), PosixFileSystem(), SystemClock(), &observer_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    auto bank = store_->Get("a");
    if (absl::IsNotFound(bank.status())) {
      EXPECT_THAT(possible_, IsEmpty());
      bank = store_->Create("a", {});
    }
    ASSERT_TRUE(bank.ok()) << bank.status();
    bank_ = *bank;
    ASSERT_TRUE(Settles(*bank_));
    for (const auto& [id, possible] : possible_) {
      const auto info = bank_->Get(id, true);
      ASSERT_TRUE(info.ok() || absl::IsNotFound(info.status())) << info.status();
      const Content content = info.ok() ? Content(info->text) : std::nullopt;
      EXPECT_TRUE(possible.contains(content)) << id << ": " << content.value_or("(none)");
      if (info.ok()) {
        EXPECT_EQ(info->state, DocumentState::kActive);
      }
    }
    ExpectServesExactlyWhatIsActive(*bank_);
    const IngestResult more = Ingest(*bank_, "more", "text");
    EXPECT_TRUE(more.status.ok()) << more.status;
    EXPECT_GT(more.number, highest_number_);
    const auto names = FilesIn(SegmentDirectory());
    EXPECT_EQ(static_cast<int64_t>(names.size()), bank_->Stats().num_segments);
  }

  // Runs the trace once for every operation and lets `fails(index of the operation, n)` say which
  // ones fail.
  void ForEveryOperation(const absl::Status& failure, const std::function<bool(int, int)>& fails) {
    options_.segment_interval = absl::ZeroDuration();
    for (int n = 0;; ++n) {
      std::atomic<int> index = 0;
      FaultyFileSystem files(PosixFileSystem(), [&](const std::string&, const std::string&) {
        return fails(index++, n) ? failure : absl::OkStatus();
      });
      StartOver(&files);
      RunTrace();
      CloseStore();
      if (index <= n) {
        EXPECT_GT(n, 80);
        return;
      }
      CheckAfterRestart();
      CloseStore();
      if (HasFailure()) FAIL() << "operation " << n;
    }
  }

  std::map<std::string, std::set<Content>> possible_;
  uint32_t highest_number_ = 0;
};

TEST_F(FaultTraceTest, ProcessThatEndsAtAnyOperationLosesNothingAcknowledged) {
  ForEveryOperation(absl::UnavailableError("the process has ended"),
                    [](int index, int n) { return index >= n; });
}

TEST_F(FaultTraceTest, OneFailedOperationIsNeverAcknowledgedFalsely) {
  ForEveryOperation(absl::UnavailableError("I/O error"),
                    [](int index, int n) { return index == n; });
}

TEST_F(FaultTraceTest, DiskThatIsFullForOneOperationIsNeverAcknowledgedFalsely) {
  ForEveryOperation(absl::ResourceExhaustedError("disk full"),
                    [](int index, int n) { return index == n; });
}

}  // namespace
}  // namespace msa::engine
