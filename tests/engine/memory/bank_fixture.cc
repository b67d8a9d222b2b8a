#include "tests/engine/memory/bank_fixture.h"

#include <sqlite3.h>
#include <stdlib.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <sstream>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace msa::engine {

TemporaryDirectory::TemporaryDirectory() {
  // In memory where there is such a place: these tests sync thousands of times.
  const std::filesystem::path memory = "/dev/shm";
  const auto parent =
      std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
  std::string pattern = parent / "msa_memory_XXXXXX";
  path_ = ::mkdtemp(pattern.data());
}

TemporaryDirectory::~TemporaryDirectory() { std::filesystem::remove_all(path_); }

MemoryGeometry SmallGeometry() {
  MemoryGeometry geometry;
  geometry.num_msa_layers = 3;
  geometry.kv_width = 4;
  geometry.tokens_per_chunk = 8;
  geometry.dtype = kernels::DType::kBF16;
  geometry.model_fingerprint = "test-model";
  geometry.instruction_set = "avx2";
  return geometry;
}

void RecordingObserver::ProblemFound(const std::string& bank, const absl::Status& problem) {
  const std::lock_guard lock(mutex_);
  problems_.push_back(absl::StrCat(bank, ": ", problem.ToString()));
}

int RecordingObserver::count(const std::string& what) const {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(what);
  return found == counts_.end() ? 0 : found->second;
}

std::vector<std::string> RecordingObserver::problems() const {
  const std::lock_guard lock(mutex_);
  return problems_;
}

void RecordingObserver::Count(const std::string& what) {
  const std::lock_guard lock(mutex_);
  ++counts_[what];
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void FlipBit(const std::string& path, size_t bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(static_cast<char>(byte ^ (1 << (bit % 8))));
}

std::vector<std::string> FilesIn(const std::string& directory) {
  return PosixFileSystem()->List(directory).value();
}

IngestResult Ingest(Bank& bank, DocumentInput document, IngestMode mode, AcknowledgeAt level) {
  std::promise<IngestResult> result;
  bank.Ingest(std::move(document), mode, level,
              [&](IngestResult r) { result.set_value(std::move(r)); });
  return result.get_future().get();
}

IngestResult Ingest(Bank& bank, const std::string& id, const std::string& text, IngestMode mode,
                    AcknowledgeAt level) {
  DocumentInput document;
  document.id = id;
  document.text = text;
  return Ingest(bank, std::move(document), mode, level);
}

Bank::DeleteResult Delete(Bank& bank, std::vector<std::string> ids) {
  std::promise<Bank::DeleteResult> result;
  bank.Delete(std::move(ids), [&](Bank::DeleteResult r) { result.set_value(std::move(r)); });
  return result.get_future().get();
}

Bank::DeleteResult DeleteMatching(Bank& bank, Filter filter) {
  std::promise<Bank::DeleteResult> result;
  bank.DeleteMatching(std::move(filter),
                      [&](Bank::DeleteResult r) { result.set_value(std::move(r)); });
  return result.get_future().get();
}

Bank::CompactResult Compact(Bank& bank) {
  std::promise<Bank::CompactResult> result;
  bank.Compact([&](Bank::CompactResult r) { result.set_value(std::move(r)); });
  return result.get_future().get();
}

bool Settles(Bank& bank) {
  if (!Eventually([&] { return bank.Stats().num_accepted == 0; })) return false;
  return Delete(bank, {}).status.ok();  // answered when all that is committed is visible
}

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 20'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

BankTest::BankTest() {
  options_.data_dir = directory_.path() + "/data";
  options_.num_shards = 2;
  options_.geometry = SmallGeometry();
  options_.segment_interval = absl::Milliseconds(20);
  options_.write_retry_interval = absl::Milliseconds(5);
  options_.compaction_share = 2;
  options_.compaction_merge = std::numeric_limits<int64_t>::max();
  encoder_ = std::make_unique<ScriptedEncoder>(options_.geometry);
}

BankTest::~BankTest() { CloseStore(); }

void BankTest::OpenStore(FileSystem* files) {
  auto store = BankStore::Open(options_, encoder_.get(), files, SystemClock(), &observer_);
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
}

void BankTest::ExecuteSql(const std::string& sql) {
  sqlite3* database = nullptr;
  sqlite3_open((BankDirectory() + "/catalog.sqlite").c_str(), &database);
  ASSERT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(database);
  sqlite3_close(database);
}

void BankTest::CloseStore() {
  store_.reset();
  bank_.reset();
}

void BankTest::Reopen() {
  CloseStore();
  OpenStore();
  auto bank = store_->Get("a");
  ASSERT_TRUE(bank.ok()) << bank.status();
  bank_ = *bank;
}

void BankTest::MakeBank(const BankSettings& settings) {
  if (store_ == nullptr) OpenStore();
  auto bank = store_->Create("a", settings);
  ASSERT_TRUE(bank.ok()) << bank.status();
  bank_ = *bank;
}

std::map<uint32_t, BankTest::Arrays> BankTest::VisibleArrays(Bank& bank, const BankPin& pin) {
  std::map<uint32_t, Arrays> visible;
  const MemoryGeometry& geometry = options_.geometry;
  const auto layers = static_cast<int>(geometry.num_msa_layers);
  const auto row_bytes = static_cast<size_t>(geometry.kv_width) * kernels::SizeOf(geometry.dtype);
  encoder_->InStep([&] {
    for (int rank = 0; rank < bank.num_shards(); ++rank) {
      const Shard& shard = bank.shard(rank);
      for (int layer = 0; layer < layers; ++layer) {
        for (const kernels::KeyExtent& extent : shard.RouterKeys(layer)) {
          for (size_t i = 0; i < extent.numbers.size(); ++i) {
            const bool sees =
                extent.from_revision[i] <= pin.revision() && pin.revision() < extent.to_revision[i];
            if (!sees) continue;
            const size_t begin = extent.chunk_offsets[i];
            const size_t chunks = extent.chunk_offsets[i + 1] - begin;
            const auto* keys = static_cast<const std::byte*>(extent.keys) + begin * row_bytes;
            Arrays& arrays = visible[extent.numbers[i]];
            arrays.router_keys.insert(arrays.router_keys.end(), keys, keys + chunks * row_bytes);
            EXPECT_EQ(shard.NumChunks(extent.numbers[i]), static_cast<int64_t>(chunks));
            std::vector<std::byte> content(2 * chunks * row_bytes);
            const auto status =
                shard.ReadContent(extent.numbers[i], layer, absl::MakeSpan(content));
            EXPECT_TRUE(status.ok()) << status;
            arrays.content.insert(arrays.content.end(), content.begin(), content.end());
          }
        }
      }
    }
  });
  return visible;
}

std::map<uint32_t, BankTest::Arrays> BankTest::VisibleArrays(Bank& bank) {
  return VisibleArrays(bank, *bank.Pin());
}

std::vector<uint32_t> BankTest::VisibleNumbers(Bank& bank, const BankPin& pin) {
  std::vector<uint32_t> numbers;
  for (const auto& [number, arrays] : VisibleArrays(bank, pin)) numbers.push_back(number);
  return numbers;
}

BankTest::Arrays BankTest::ExpectedArrays(uint32_t number, const std::string& text) const {
  EncodedDocument encoded = encoder_->EncodedOf(number, text);
  return {std::move(encoded.router_keys), std::move(encoded.content)};
}

void BankTest::ExpectServesExactlyWhatIsActive(Bank& bank) {
  std::map<uint32_t, Arrays> expected;
  const auto documents = bank.List("", 1'000'000, /*with_text=*/true, /*filter=*/nullptr);
  ASSERT_TRUE(documents.ok()) << documents.status();
  for (const DocumentInfo& document : documents->documents) {
    if (document.state != DocumentState::kActive) continue;
    expected[document.number] = ExpectedArrays(document.number, document.text);
  }
  const auto visible = VisibleArrays(bank);
  std::vector<uint32_t> missing;
  std::vector<uint32_t> different;
  std::vector<uint32_t> unexpected;
  for (const auto& [number, arrays] : expected) {
    const auto found = visible.find(number);
    if (found == visible.end()) missing.push_back(number);
    if (found != visible.end() && found->second != arrays) different.push_back(number);
  }
  for (const auto& [number, arrays] : visible) {
    if (!expected.contains(number)) unexpected.push_back(number);
  }
  EXPECT_THAT(missing, ::testing::IsEmpty());
  EXPECT_THAT(different, ::testing::IsEmpty());
  EXPECT_THAT(unexpected, ::testing::IsEmpty());
  EXPECT_EQ(bank.Stats().num_documents, static_cast<int64_t>(expected.size()));
}

}  // namespace msa::engine
