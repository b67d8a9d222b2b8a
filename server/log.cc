#include "server/log.h"

#include <atomic>
#include <memory>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace msa::server {
namespace {

std::atomic<LogFormat> g_format{LogFormat::kText};

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

void SetPattern(spdlog::logger* logger, LogFormat format) {
  constexpr char kText[] = "%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v";
  // The line is an object's inside; see FormatLogLine.
  constexpr char kJson[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";
  logger->set_pattern(format == LogFormat::kJson ? kJson : kText, spdlog::pattern_time_type::utc);
}

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made =
        std::make_shared<spdlog::logger>("msa", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    SetPattern(made.get(), LogFormat::kText);
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *logger;
}

nlohmann::json ToJson(const LogField& field) {
  return std::visit([](const auto& value) { return nlohmann::json(value); }, field.value);
}

std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Values with spaces, quotes or control characters are quoted, so that a line stays one line and
// can be cut at spaces.
std::string TextValue(const LogField& field) {
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    bool plain = !text->empty();
    for (const char c : *text) plain = plain && c > ' ' && c != '"' && c != '=' && c != 0x7f;
    if (plain) return *text;
  }
  return Dump(ToJson(field));
}

}  // namespace

void ConfigureLog(LogFormat format, LogLevel least) {
  g_format.store(format);
  SetPattern(&Logger(), format);
  Logger().set_level(ToSpdlog(least));
}

std::string FormatLogLine(LogFormat format, std::string_view message,
                          const std::vector<LogField>& fields) {
  if (format == LogFormat::kJson) {
    std::string line = absl::StrCat("\"message\":", Dump(nlohmann::json(std::string(message))));
    for (const LogField& field : fields) {
      absl::StrAppend(&line, ",", Dump(nlohmann::json(field.key)), ":", Dump(ToJson(field)));
    }
    return line;
  }
  std::string line(message);
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  for (const LogField& field : fields)
    absl::StrAppend(&line, " ", field.key, "=", TextValue(field));
  return line;
}

void Log(LogLevel level, std::string_view message, const std::vector<LogField>& fields) {
  spdlog::logger& logger = Logger();
  if (!logger.should_log(ToSpdlog(level))) return;
  logger.log(ToSpdlog(level), "{}", FormatLogLine(g_format.load(), message, fields));
}

}  // namespace msa::server
