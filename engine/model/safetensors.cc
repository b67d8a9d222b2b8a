#include "engine/model/safetensors.h"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/model/json_object.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 16 << 20;
constexpr size_t kMaxRank = 8;

std::optional<uint64_t> ElementBytes(std::string_view dtype) {
  static constexpr std::pair<std::string_view, uint64_t> kSizes[] = {
      {"BF16", 2},    {"F16", 2}, {"F32", 4}, {"F64", 8}, {"BOOL", 1},
      {"U8", 1},      {"I8", 1},  {"U16", 2}, {"I16", 2}, {"F8_E4M3", 1},
      {"F8_E5M2", 1}, {"U32", 4}, {"I32", 4}, {"U64", 8}, {"I64", 8},
  };
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  return std::nullopt;  // some newer format's; its offsets are checked, its size cannot be
}

std::optional<kernels::DType> ReadableDType(std::string_view dtype) {
  if (dtype == "BF16") return kernels::DType::kBF16;
  if (dtype == "F16") return kernels::DType::kF16;
  if (dtype == "F32") return kernels::DType::kF32;
  return std::nullopt;
}

struct Extent {
  uint64_t begin = 0;  // in the data
  uint64_t end = 0;
  std::string_view name;
};

absl::Status Refuse(const std::string& path, std::string_view tensor, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: tensor %s: %s", path, Shorten(json(tensor)), what));
}

// The header's member `name`, checked on its own.
absl::StatusOr<SafetensorsEntry> ReadEntry(const std::string& path, const std::string& name,
                                           const json& member, absl::Span<const std::byte> data,
                                           Extent& extent) {
  if (!member.is_object()) {
    return Refuse(path, name, "expected an object, found " + Shorten(member));
  }
  const auto dtype = member.find("dtype");
  const auto shape = member.find("shape");
  const auto offsets = member.find("data_offsets");
  SafetensorsEntry entry;

  if (dtype == member.end() || !dtype->is_string()) {
    return Refuse(path, name, "dtype must be a string");
  }
  entry.dtype_name = dtype->get<std::string>();
  entry.dtype = ReadableDType(entry.dtype_name);

  if (shape == member.end() || !shape->is_array()) {
    return Refuse(path, name, "shape must be an array");
  }
  if (shape->size() > kMaxRank) {
    return Refuse(
        path, name,
        absl::StrFormat("shape has %d dimensions; at most %d are read", shape->size(), kMaxRank));
  }
  int64_t num_elements = 1;
  for (const json& dimension : *shape) {
    if (!dimension.is_number_unsigned() ||
        dimension.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      return Refuse(path, name,
                    "shape " + Shorten(*shape) + " must hold integers from 0 to 2^63 - 1");
    }
    entry.shape.push_back(dimension.get<int64_t>());
    if (__builtin_mul_overflow(num_elements, entry.shape.back(), &num_elements)) {
      return Refuse(path, name, "shape " + Shorten(*shape) + " has more elements than any file");
    }
  }

  if (offsets == member.end() || !offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
    return Refuse(path, name, "data_offsets must be two non-negative integers");
  }
  extent = {(*offsets)[0].get<uint64_t>(), (*offsets)[1].get<uint64_t>(), name};
  if (extent.begin > extent.end) {
    return Refuse(path, name, "data_offsets " + Shorten(*offsets) + " run backwards");
  }
  if (extent.end > data.size()) {
    return Refuse(
        path, name,
        absl::StrFormat(
            "data_offsets %s lie outside the file, which holds %d bytes of data (truncated?)",
            Shorten(*offsets), data.size()));
  }
  if (const std::optional<uint64_t> size = ElementBytes(entry.dtype_name)) {
    const uint64_t length = extent.end - extent.begin;
    if (length % *size != 0 || length / *size != static_cast<uint64_t>(num_elements)) {
      return Refuse(
          path, name,
          absl::StrFormat(
              "shape %s is %d elements of %s with %d bytes each; data_offsets %s hold %d bytes",
              ShapeText(entry.shape), num_elements, entry.dtype_name, *size, Shorten(*offsets),
              length));
    }
  }
  entry.bytes = data.subspan(extent.begin, extent.end - extent.begin);
  return entry;
}

// Every byte of the data belongs to exactly one tensor.
absl::Status CheckCover(const std::string& path, std::vector<Extent> extents, uint64_t data_bytes) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  std::string_view previous;
  for (const Extent& extent : extents) {
    if (extent.begin < covered) {
      return Refuse(
          path, extent.name,
          absl::StrFormat("starts at byte %d of the data and overlaps tensor %s, which ends at %d",
                          extent.begin, Shorten(json(previous)), covered));
    }
    if (extent.begin > covered) {
      return Refuse(path, extent.name,
                    absl::StrFormat("starts at byte %d of the data; expected %d: a gap of %d bytes",
                                    extent.begin, covered, extent.begin - covered));
    }
    covered = extent.end;
    previous = extent.name;
  }
  if (covered != data_bytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: the tensors hold %d bytes, the file has %d bytes of data", path, covered, data_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ShapeText(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  std::unique_ptr<SafetensorsFile> result(new SafetensorsFile());
  MSA_ASSIGN_OR_RETURN(result->file_, MappedFile::Open(path));
  const absl::Span<const std::byte> bytes = result->file_->bytes();
  if (bytes.size() < kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: %d bytes are too few for a safetensors file (at least %d)", path,
                        bytes.size(), kLengthBytes));
  }
  uint64_t header_bytes = 0;
  for (uint64_t i = kLengthBytes; i-- > 0;) {
    header_bytes = header_bytes << 8 | static_cast<uint64_t>(bytes[i]);
  }
  if (header_bytes > bytes.size() - kLengthBytes || header_bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: the header claims %d bytes; the file has %d after the length, and at most %d are read",
        path, header_bytes, bytes.size() - kLengthBytes, kMaxHeaderBytes));
  }
  const std::string_view header_text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                                     header_bytes);
  MSA_ASSIGN_OR_RETURN(const JsonObject header, JsonObject::Parse(header_text, path + " (header)"));

  const absl::Span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);
  std::vector<Extent> extents;
  for (const auto& [name, member] : header.members().items()) {
    if (name == "__metadata__") continue;  // free text about the file
    Extent extent;
    MSA_ASSIGN_OR_RETURN(SafetensorsEntry entry, ReadEntry(path, name, member, data, extent));
    const auto place = result->tensors_.emplace(name, std::move(entry)).first;
    extent.name = place->first;
    extents.push_back(extent);
  }
  MSA_RETURN_IF_ERROR(CheckCover(path, std::move(extents), data.size()));
  return result;
}

}  // namespace msa::engine
