#include "tests/engine/memory/crash_fixture.h"

#include "absl/cleanup/cleanup.h"

namespace msa::engine {

using ::testing::IsEmpty;

CrashTest::CrashTest() {
  encoder_ = std::make_unique<ScriptedEncoder>(options_.geometry, /*max_document_tokens=*/2000);
  options_.data_dir = "/srv/data";
  options_.segment_interval = absl::Milliseconds(1);
  options_.compaction_share = 0.4;
  options_.compaction_merge = 6;
  options_.segment_target_bytes = 32 << 10;
}

bool CrashTest::TryOpen(SimulatedFileSystem* files) {
  CloseStore();
  auto store = BankStore::Open(options_, encoder_.get(), files, SystemClock(), &observer_);
  if (!store.ok()) return false;
  store_ = *std::move(store);
  auto bank = store_->Get("a");
  if (absl::IsNotFound(bank.status())) bank = store_->Create("a", {});
  if (!bank.ok()) return false;
  bank_ = *bank;
  return true;
}

void CrashTest::KillAfter(SimulatedFileSystem* files, int64_t calls) {
  files->InjectFault(
      FileFault{FileFault::Kind::kProcessEnds, files->num_calls() + calls, /*is_sticky=*/true});
}

void CrashTest::Kill(SimulatedFileSystem* files) {
  KillAfter(files, 0);
  CloseStore();
  files->InjectFault(std::nullopt);
}

std::map<std::string, ClientJournal::Document> CrashTest::Held() {
  std::map<std::string, ClientJournal::Document> held;
  const auto page = bank_->List("", 1'000'000, /*with_text=*/true, /*filter=*/nullptr);
  EXPECT_TRUE(page.ok()) << page.status();
  if (!page.ok()) return held;
  for (const DocumentInfo& info : page->documents) held[info.id] = {info.text, info.metadata};
  return held;
}

void CrashTest::ExpectKeepsToTheJournal(const DiskImage& image, int64_t time) {
  SimulatedFileSystem files(image);
  const absl::Cleanup end = [&] { Kill(&files); };
  const size_t num_problems = observer_.problems().size();
  OpenStore(&files);
  if (store_ == nullptr) return;
  auto bank = store_->Get("a");
  const bool may_be_absent = !bank_made_at_ || time < *bank_made_at_;
  if (absl::IsNotFound(bank.status()) && may_be_absent) bank = store_->Create("a", {});
  ASSERT_TRUE(bank.ok()) << bank.status();
  bank_ = *bank;
  EXPECT_THAT(journal_.Violations(Held(), time), IsEmpty());
  ASSERT_TRUE(Settles(*bank_));
  EXPECT_THAT(journal_.Violations(Held(), time), IsEmpty());
  ExpectServesExactlyWhatIsActive(*bank_);
  EXPECT_GE(bank_->Info().revision, journal_.HighestRevision(time));
  const IngestResult more = Ingest(*bank_, "more", "text");
  EXPECT_TRUE(more.status.ok()) << more.status;
  EXPECT_GT(more.number, journal_.HighestNumber(time));
  const auto problems = observer_.problems();
  EXPECT_EQ(problems.size(), num_problems) << "a crash damages nothing: " << problems.back();
}

}  // namespace msa::engine
