// Every call that a store makes of its file system fails once, or from then on. A sample of the
// calls runs always; MSA_LONG_TESTS=1 fails every one.
#include <iostream>

#include "tests/engine/memory/crash_fixture.h"
#include "tests/engine/memory/long_form.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using Kind = FileFault::Kind;
using Way = PowerLoss::Way;

struct Failure {
  const char* name;
  Kind kind;
  bool is_sticky;
};

class IoFailureTest : public CrashTest, public ::testing::WithParamInterface<Failure> {
 protected:
  static constexpr int kSteps = 30;

  // The same requests every time; where the store or the bank does not open, none.
  void RunTrace(SimulatedFileSystem* files, RandomClient* client) {
    bank_made_at_.reset();
    if (!TryOpen(files)) return;
    bank_made_at_ = 0;
    for (int i = 0; i < kSteps; ++i) client->Step(*bank_);
    client->DropPin();
  }
};

// What is acknowledged is there when the process starts again, and when the power goes; also after
// clients have asked again for what had failed, which tells them what the bank then knows.
TEST_P(IoFailureTest, AtAnyCallIsNeverAcknowledgedFalsely) {
  const Failure failure = GetParam();
  const int64_t stride = IsLongForm() ? 1 : 41;
  int64_t num_failed = 0;
  int64_t num_checked = 0;
  int64_t call = 0;
  for (;; call += stride) {
    journal_.Clear();
    SimulatedFileSystem files;
    RandomClient client(/*seed=*/5, &journal_, [] { return int64_t{1}; });
    files.InjectFault(FileFault{failure.kind, call, failure.is_sticky});
    RunTrace(&files, &client);
    CloseStore();
    const bool came = files.num_calls() > call;
    if (!came) break;
    if (files.num_faults() == 0) continue;  // a call that cannot fail so
    num_failed += 1;
    files.InjectFault(std::nullopt);
    SCOPED_TRACE(testing::Message() << "call " << call);
    ExpectKeepsToTheJournal(files.Contents());
    const auto seed = static_cast<uint64_t>(call);
    for (const PowerLoss& loss :
         {PowerLoss{.way = Way::kUnsyncedLost}, PowerLoss{.way = Way::kOnlyBytesKept},
          PowerLoss{Way::kAnyBlocks, 512, seed}, PowerLoss{Way::kEachFileBefore, 512, seed}}) {
      ExpectKeepsToTheJournal(files.AfterPowerLoss(loss));
    }
    ASSERT_TRUE(TryOpen(&files));
    bank_made_at_ = 0;
    client.Retry(*bank_);
    Kill(&files);
    ExpectKeepsToTheJournal(files.AfterPowerLoss({.way = Way::kUnsyncedLost}));
    num_checked += 6;
    if (HasFailure()) return;
  }
  EXPECT_GT(call, 300);
  std::cout << failure.name << ": calls " << call << ", failed " << num_failed << ", restarts "
            << num_checked << ", violations 0\n";
}

INSTANTIATE_TEST_SUITE_P(Failures, IoFailureTest,
                         ::testing::Values(Failure{"IoErrorOnce", Kind::kIoError, false},
                                           Failure{"IoErrorFromThenOn", Kind::kIoError, true},
                                           Failure{"DiskFullOnce", Kind::kDiskFull, false},
                                           Failure{"DiskFullFromThenOn", Kind::kDiskFull, true},
                                           Failure{"ShortWriteOnce", Kind::kShortWrite, false},
                                           Failure{"ShortWriteFromThenOn", Kind::kShortWrite, true},
                                           Failure{"ProcessEnds", Kind::kProcessEnds, true}),
                         [](const auto& test) { return test.param.name; });

class FullDiskTest : public CrashTest, public ::testing::WithParamInterface<Kind> {};

TEST_P(FullDiskTest, RefusesChangesServesQueriesAndGoesOnWhenThereIsSpaceAgain) {
  SimulatedFileSystem files;
  ASSERT_TRUE(TryOpen(&files));
  ASSERT_TRUE(Ingest(*bank_, "one", "x").status.ok());
  ASSERT_TRUE(Ingest(*bank_, "two", "y").status.ok());
  files.InjectFault(FileFault{GetParam(), 0, /*is_sticky=*/true});
  for (const std::string id : {"three", "four"}) {
    const IngestResult refused = Ingest(*bank_, id, "z");
    EXPECT_TRUE(absl::IsResourceExhausted(refused.status)) << refused.status;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(Delete(*bank_, {"one"}).status));
  EXPECT_THAT(VisibleNumbers(*bank_, *bank_->Pin()), ElementsAre(1, 2));
  EXPECT_EQ(bank_->Get("one", true)->text, "x");
  ExpectServesExactlyWhatIsActive(*bank_);
  files.InjectFault(std::nullopt);
  EXPECT_TRUE(Ingest(*bank_, "three", "z").status.ok());
  EXPECT_TRUE(Delete(*bank_, {"one"}).status.ok());
  ASSERT_TRUE(Settles(*bank_));
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_EQ(bank_->Stats().num_documents, 2);
  ASSERT_TRUE(TryOpen(&files));
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_EQ(bank_->Stats().num_documents, 2);
  CloseStore();
}

INSTANTIATE_TEST_SUITE_P(Full, FullDiskTest, ::testing::Values(Kind::kDiskFull, Kind::kShortWrite));

}  // namespace
}  // namespace msa::engine
