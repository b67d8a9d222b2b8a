#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// The server's log: one line per event on stderr, as text ("… message key=value") or as JSON
// objects. Thread-safe.
namespace msa::server {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogField {
  std::string key;
  std::variant<std::string, int64_t, double> value;
};

// Call once, before threads start. Without it: text, from kInfo.
void ConfigureLog(LogFormat format, LogLevel least);

void Log(LogLevel level, std::string_view message, const std::vector<LogField>& fields = {});

// The line without time and level, as Log writes it.
std::string FormatLogLine(LogFormat format, std::string_view message,
                          const std::vector<LogField>& fields);

}  // namespace msa::server
