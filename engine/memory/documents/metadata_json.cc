#include "engine/memory/documents/metadata_json.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace msa::engine {
namespace {

// Takes one object as it is parsed; returns false where it is another thing.
class MetadataReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  Metadata Take() && { return std::move(metadata_); }

  bool start_object(std::size_t) override { return !std::exchange(is_open_, true); }
  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool end_object() override { return true; }
  bool string(string_t& value) override { return Put(std::move(value)); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(number_integer_t value) override { return Put(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Put(static_cast<double>(value)); }
  bool number_float(number_float_t value, const string_t&) override { return Put(value); }
  bool null() override { return false; }
  bool binary(binary_t&) override { return false; }
  bool start_array(std::size_t) override { return false; }
  bool end_array() override { return false; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  template <class T>
  bool Put(T value) {
    if (is_open_) metadata_[std::move(key_)] = std::move(value);
    return is_open_;
  }

  Metadata metadata_;
  std::string key_;
  bool is_open_ = false;
};

}  // namespace

std::string ToJson(const Metadata& metadata) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [key, value] : metadata) {
    std::visit([&, name = key](const auto& v) { object[name] = v; }, value);
  }
  return object.dump();
}

absl::StatusOr<Metadata> MetadataFromJson(std::string_view json) {
  MetadataReader reader;
  if (!nlohmann::json::sax_parse(json, &reader)) {
    return absl::DataLossError(
        "metadata is not a JSON object whose values are strings, numbers or bools");
  }
  return std::move(reader).Take();
}

}  // namespace msa::engine
