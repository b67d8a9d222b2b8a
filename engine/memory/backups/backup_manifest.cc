#include "engine/memory/backups/backup_manifest.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/memory/files/checksum.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr int64_t kManifestVersion = 1;
constexpr uint64_t kMaxManifestBytes = uint64_t{256} << 20;
constexpr size_t kChecksumBytes = 17;  // 16 hexadecimal digits and a line feed

std::string HexLine(uint64_t checksum) { return absl::StrFormat("%016x\n", checksum); }

std::string ToText(const BackupManifest& manifest) {
  const BackupInfo& info = manifest.info;
  nlohmann::ordered_json json;
  json["format_version"] = kManifestVersion;
  json["bank"] = info.bank;
  json["revision"] = info.revision;
  json["create_time"] = absl::ToUnixMicros(info.create_time);
  json["documents"] = info.num_documents;
  json["model_fingerprint"] = info.model_fingerprint;
  json["dtype"] = std::string(kernels::NameOf(info.dtype));
  nlohmann::ordered_json& files = json["files"] = nlohmann::ordered_json::array();
  for (const BackupFile& file : manifest.files) {
    files.push_back({{"name", file.name},
                     {"bytes", file.num_bytes},
                     {"xxh3", absl::StrFormat("%016x", file.checksum)}});
  }
  return json.dump(1) + "\n";
}

// A count. The JSON library would convert any number, also one that does not fit; throws as it does.
int64_t CountAt(const nlohmann::json& object, const char* key) {
  const nlohmann::json& value = object.at(key);
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    throw std::out_of_range(key);
  }
  return value.get<int64_t>();
}

// Fields of the wrong type or range, and names that leave the directory, are damage.
std::optional<BackupManifest> FromJson(const nlohmann::json& json) {
  BackupManifest manifest;
  BackupInfo& info = manifest.info;
  try {
    info.bank = json.at("bank").get<std::string>();
    info.revision = static_cast<uint64_t>(CountAt(json, "revision"));
    info.create_time = absl::FromUnixMicros(CountAt(json, "create_time"));
    info.num_documents = CountAt(json, "documents");
    info.model_fingerprint = json.at("model_fingerprint").get<std::string>();
    info.dtype = json.at("dtype") == "f32" ? kernels::DType::kF32 : kernels::DType::kBF16;
    for (const nlohmann::json& entry : json.at("files")) {
      BackupFile& file = manifest.files.emplace_back();
      file.name = entry.at("name").get<std::string>();
      file.num_bytes = CountAt(entry, "bytes");
      file.checksum = std::stoull(entry.at("xxh3").get<std::string>(), nullptr, 16);
      if (__builtin_add_overflow(info.file_bytes, file.num_bytes, &info.file_bytes) ||
          file.name.empty() || file.name.front() == '/' ||
          file.name.find("..") != std::string::npos) {
        return std::nullopt;
      }
    }
  } catch (const std::exception&) {  // of the JSON library, CountAt and stoull
    return std::nullopt;
  }
  return manifest;
}

}  // namespace

absl::Status WriteManifest(FileSystem* files, const std::string& directory,
                           const BackupManifest& manifest) {
  const std::string text = ToText(manifest);
  const std::string all = text + HexLine(Checksum(text));
  MSA_ASSIGN_OR_RETURN(const auto file, files->CreateForWrite(absl::StrCat(
                                            directory, "/", BackupManifest::kFileName)));
  MSA_RETURN_IF_ERROR(
      file->Append(absl::MakeSpan(reinterpret_cast<const std::byte*>(all.data()), all.size())));
  MSA_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

absl::StatusOr<BackupManifest> ReadManifest(FileSystem* files, const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", BackupManifest::kFileName);
  const auto damaged = [&](const std::string& why) {
    return kernels::Refusal(absl::StatusCode::kDataLoss, absl::StrCat(path, ": ", why),
                            "BACKUP_DAMAGED");
  };
  MSA_ASSIGN_OR_RETURN(const auto file, files->OpenForRead(path));
  if (file->size() < kChecksumBytes || file->size() > kMaxManifestBytes) {
    return damaged(absl::StrCat("the file has ", file->size(), " bytes"));
  }
  std::string all(file->size(), '\0');
  MSA_RETURN_IF_ERROR(
      file->ReadAt(0, absl::MakeSpan(reinterpret_cast<std::byte*>(all.data()), all.size())));
  const std::string_view text = std::string_view(all).substr(0, all.size() - kChecksumBytes);
  if (HexLine(Checksum(text)) != all.substr(text.size())) return damaged("its checksum is wrong");
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return damaged("it is no JSON object");
  const auto version = json.find("format_version");
  if (version == json.end() || *version != kManifestVersion) {
    return kernels::Refusal(
        absl::StatusCode::kFailedPrecondition,
        absl::StrCat(path, ": the format version is unknown, this server reads version ",
                     kManifestVersion),
        "UNKNOWN_FORMAT_VERSION");
  }
  std::optional<BackupManifest> manifest = FromJson(json);
  if (!manifest) return damaged("a field is missing or wrong");
  manifest->info.name = directory.substr(directory.rfind('/') + 1);
  return *std::move(manifest);
}

}  // namespace msa::engine
