#include "engine/memory/catalog/log_check.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

// The format is that of https://www.sqlite.org/fileformat2.html#walformat.
namespace msa::engine {
namespace {

using Bytes = absl::Span<const std::byte>;

constexpr uint64_t kHeaderBytes = 32;
constexpr uint64_t kFrameHeaderBytes = 24;
constexpr uint32_t kMagic = 0x377f0682;  // its lowest bit: checksums are big endian
constexpr uint64_t kSectorBytes = 512;

uint32_t Load(Bytes bytes, size_t at, bool big_endian = true) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    const auto byte = static_cast<uint32_t>(bytes[at + (big_endian ? i : 3 - i)]);
    value = value << 8 | byte;
  }
  return value;
}

struct LogChecksum {
  uint32_t first = 0;
  uint32_t second = 0;
  friend bool operator==(const LogChecksum&, const LogChecksum&) = default;

  void Add(Bytes bytes, bool big_endian) {
    for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      first += Load(bytes, i, big_endian) + second;
      second += Load(bytes, i + 4, big_endian) + first;
    }
  }
};

LogChecksum StoredAt(Bytes bytes, size_t at) { return {Load(bytes, at), Load(bytes, at + 4)}; }

absl::Status Damaged(const std::string& path, uint64_t byte, const char* what) {
  return kernels::Refusal(absl::StatusCode::kDataLoss,
                          absl::StrCat(path, ": the log is damaged at byte ", byte, ", ", what),
                          "CATALOG_DAMAGED");
}

// Frame by frame. Each one's checksum goes on from the one before, as that is stored, so that
// frames behind a damaged one are recognised.
class LogScan {
 public:
  LogScan(Bytes header, const std::string& path)
      : path_(path),
        salts_(StoredAt(header, 16)),
        big_endian_((Load(header, 0) & 1) != 0),
        before_(StoredAt(header, 24)) {}

  absl::Status Take(Bytes frame, uint64_t offset) {
    const bool is_ours = StoredAt(frame, 8) == salts_;
    LogChecksum sum = before_;
    sum.Add(frame.first(8), big_endian_);
    sum.Add(frame.subspan(kFrameHeaderBytes), big_endian_);
    before_ = StoredAt(frame, 16);
    const bool is_valid = is_ours && Load(frame, 0) != 0 && sum == before_;
    const bool ends_transaction = Load(frame, 4) != 0;
    // Frames of a transaction that was given up may follow one that was cut short over its first;
    // only an end that is there was synced or about to be.
    if (is_valid && has_ended_ && ends_transaction) {
      return Damaged(path_, first_invalid_, "in a transaction that is not the last one");
    }
    if (!is_valid && !has_invalid_) {
      has_invalid_ = true;
      first_invalid_ = offset;
      // The end of a transaction is believed where the bytes that say so and that they are of this
      // log cannot be of two times.
      const bool in_one_sector = (offset + 4) / kSectorBytes == (offset + 11) / kSectorBytes;
      has_ended_ = is_ours && ends_transaction && in_one_sector;
    } else if (is_valid && has_invalid_) {
      has_ended_ = has_ended_ || ends_transaction;
    }
    return absl::OkStatus();
  }

 private:
  const std::string& path_;
  const LogChecksum salts_;
  const bool big_endian_;
  LogChecksum before_;
  bool has_invalid_ = false;
  uint64_t first_invalid_ = 0;
  bool has_ended_ = false;  // the transaction of the first invalid frame
};

}  // namespace

absl::Status CheckLog(FileSystem* files, const std::string& path) {
  if (!files->Exists(path)) return absl::OkStatus();
  MSA_ASSIGN_OR_RETURN(const auto file, files->OpenForRead(path));
  if (file->size() < kHeaderBytes) return absl::OkStatus();
  std::array<std::byte, kHeaderBytes> header;
  MSA_RETURN_IF_ERROR(file->ReadAt(0, absl::MakeSpan(header)));
  const auto is_zero = [](std::byte byte) { return byte == std::byte{0}; };
  if (std::all_of(header.begin(), header.end(), is_zero)) return absl::OkStatus();  // never written
  LogChecksum sum;
  sum.Add(Bytes(header).first(24), (Load(header, 0) & 1) != 0);
  const uint32_t page_bytes = Load(header, 8);
  const bool is_valid = (Load(header, 0) & ~1u) == kMagic && sum == StoredAt(header, 24) &&
                        page_bytes >= 512 && page_bytes <= 65536;
  if (!is_valid) return Damaged(path, 0, "in its header");
  LogScan scan(header, path);
  std::vector<std::byte> frame(kFrameHeaderBytes + page_bytes);
  for (uint64_t offset = kHeaderBytes; offset + frame.size() <= file->size();
       offset += frame.size()) {
    MSA_RETURN_IF_ERROR(file->ReadAt(offset, absl::MakeSpan(frame)));
    MSA_RETURN_IF_ERROR(scan.Take(frame, offset));
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
