#include <thread>

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/job_fixture.h"

namespace msa::engine {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// More banks than fit into memory together.
class ManyBanksTest : public BankTest {
 protected:
  static constexpr int kNumBanks = 6;
  static constexpr int kDocuments = 10;

  static std::string NameOf(int i) { return absl::StrCat("bank-", i); }

  // Banks of the same size; room for two of them and a half.
  void MakeBanks() {
    OpenStore();
    int64_t resident_bytes = 0;
    for (int i = 0; i < kNumBanks; ++i) {
      auto bank = store_->Create(NameOf(i), {});
      ASSERT_TRUE(bank.ok()) << bank.status();
      for (int d = 0; d < kDocuments; ++d) {
        const std::string text = absl::StrCat("text ", d, " of ", i, std::string(60, '.'));
        ASSERT_TRUE(Ingest(**bank, absl::StrCat("d", d), text).status.ok());
      }
      const BankStats stats = (*bank)->Stats();
      resident_bytes = std::max(resident_bytes, stats.router_key_bytes + stats.index_bytes);
    }
    options_.router_key_budget_bytes = resident_bytes * 5 / 2;
    CloseStore();
    OpenStore();
  }

  void ExpectWhole(int i) {
    const auto bank = store_->Get(NameOf(i));
    ASSERT_TRUE(bank.ok()) << bank.status();
    ExpectServesExactlyWhatIsActive(**bank);
    EXPECT_EQ((*bank)->Stats().num_documents, kDocuments);
    EXPECT_EQ((*bank)->Get("d3", true)->text.substr(0, 13), absl::StrCat("text 3 of ", i, ".."));
  }
};

TEST_F(ManyBanksTest, BanksAreOpenedOnDemandAndIdleOnesMakeRoom) {
  MakeBanks();
  EXPECT_THAT(store_->OpenBanks(), SizeIs(2));
  EXPECT_THAT(store_->List(), SizeIs(kNumBanks));
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kNumBanks; ++i) {
      ExpectWhole((i * 5 + round) % kNumBanks);
      EXPECT_LE(store_->OpenBanks().size(), 2u) << round << i;
    }
  }
  EXPECT_THAT(observer_.problems(), IsEmpty());
}

TEST_F(ManyBanksTest, ABankInUseStaysAndOthersAreRefusedWithNumbers) {
  MakeBanks();
  const auto first = *store_->Get(NameOf(0));
  const auto second = *store_->Get(NameOf(1));
  const absl::Status refused = store_->Get(NameOf(2)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_EQ(kernels::DetailOf(refused).reason, "ROUTER_KEY_BUDGET_EXCEEDED");
  EXPECT_TRUE(kernels::DetailOf(refused).retry_after.has_value());
  EXPECT_TRUE(kernels::DetailOf(refused).metadata.contains("limit"));
  ExpectServesExactlyWhatIsActive(*first);
  ExpectServesExactlyWhatIsActive(*second);
}

TEST_F(ManyBanksTest, WhatWasAcknowledgedBeforeABankWasClosedIsThereAgain) {
  MakeBanks();
  for (int i = 0; i < kNumBanks; ++i) {
    const auto bank = *store_->Get(NameOf(i));
    ASSERT_TRUE(Delete(*bank, {"d0"}).status.ok());
    ASSERT_TRUE(Ingest(*bank, "new", absl::StrCat("new ", i)).status.ok());
  }
  for (int i = 0; i < kNumBanks; ++i) {
    const auto bank = *store_->Get(NameOf(i));
    EXPECT_TRUE(absl::IsNotFound(bank->Get("d0", false).status()));
    EXPECT_EQ(bank->Get("new", true)->text, absl::StrCat("new ", i));
    ExpectServesExactlyWhatIsActive(*bank);
  }
}

TEST_F(ManyBanksTest, ClosedBanksAreBackedUpAndDeletedToo) {
  options_.backup_dir = directory_.path() + "/backups";
  MakeBanks();
  PatientMonitor monitor;
  for (int i = 0; i < kNumBanks; ++i) {
    ASSERT_TRUE(store_->Backup(NameOf(i), NameOf(i), &monitor).ok());
  }
  for (int i = 0; i < kNumBanks; ++i) {
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->Delete(NameOf(i), /*force=*/false)));
    EXPECT_TRUE(store_->Delete(NameOf(i), /*force=*/true).ok());
  }
  EXPECT_THAT(store_->List(), IsEmpty());
}

TEST_F(ManyBanksTest, IdleBanksMakeRoomForDocumentsToo) {
  MakeBanks();
  const auto bank = *store_->Get(NameOf(1));
  ASSERT_THAT(store_->OpenBanks(), SizeIs(2));
  int num_stored = 0;
  for (int i = 0; i < 40 && store_->OpenBanks().size() == 2; ++i) {
    num_stored += Ingest(*bank, absl::StrCat("more", i), std::string(150, 'x')).status.ok() ? 1 : 0;
  }
  EXPECT_THAT(store_->OpenBanks(), SizeIs(1));
  EXPECT_TRUE(Ingest(*bank, "last", "text").status.ok());
  EXPECT_EQ(bank->Stats().num_documents, kDocuments + num_stored + 1);
}

// It must not keep banks open that nobody uses.
TEST_F(ManyBanksTest, TheScrubberGivesWay) {
  options_.scrub_interval = absl::Milliseconds(1);
  options_.scrub_bytes_per_second = 100;
  MakeBanks();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kNumBanks; ++i) {
      const auto bank = store_->Get(NameOf(i));
      ASSERT_TRUE(bank.ok()) << bank.status();
      EXPECT_EQ((*bank)->Stats().num_documents, kDocuments);
    }
  }
}

TEST_F(ManyBanksTest, ManyThreadsFindTheirBanks) {
  MakeBanks();
  std::vector<std::thread> threads;
  std::atomic<int> num_found = 0;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 60; ++i) {
        const int wanted = (i * 7 + t * 3) % kNumBanks;
        const auto bank = store_->Get(NameOf(wanted));
        if (!bank.ok()) {
          EXPECT_TRUE(absl::IsResourceExhausted(bank.status())) << bank.status();
          continue;
        }
        EXPECT_EQ((*bank)->Info().name, NameOf(wanted));
        EXPECT_EQ((*bank)->Stats().num_documents, kDocuments);
        num_found += 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(num_found, 60);
}

}  // namespace
}  // namespace msa::engine
