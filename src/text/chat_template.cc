#include "text/chat_template.h"

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

namespace sluice {
namespace {

std::string place(const std::string& name, jinja::Position at) {
  const std::string title = name.empty() ? "chat template" : printable(name);
  return format_string("%s, line %u, column %u: ", title.c_str(), at.line, at.column);
}

// Two digits or more at `*text`, which moves beyond them; -1 if they are not there.
int take_number(std::string_view* text, size_t n_digits) {
  if (text->size() < n_digits) return -1;
  int value = 0;
  for (const char c : text->substr(0, n_digits)) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  text->remove_prefix(n_digits);
  return value;
}

bool skip(std::string_view* text, char c) {
  if (text->empty() || text->front() != c) return false;
  text->remove_prefix(1);
  return true;
}

// Fields that timegm would carry over (a 31st of June) are refused by writing the date back.
std::optional<int64_t> civil_seconds(int year, int month, int day, int hour, int minute, int second) {
  std::tm civil = {};
  civil.tm_year = year - 1900;
  civil.tm_mon = month - 1;
  civil.tm_mday = day;
  civil.tm_hour = hour;
  civil.tm_min = minute;
  civil.tm_sec = second;
  const std::tm wanted = civil;
  const std::time_t seconds = timegm(&civil);
  const bool same = civil.tm_mon == wanted.tm_mon && civil.tm_mday == wanted.tm_mday &&
                    civil.tm_hour == wanted.tm_hour && civil.tm_min == wanted.tm_min &&
                    civil.tm_sec == wanted.tm_sec;
  return same ? std::optional<int64_t>(seconds) : std::nullopt;
}

}  // namespace

int64_t parse_now(std::string_view text, std::string_view what) {
  std::string_view rest = text;
  const int year = take_number(&rest, 4);
  bool valid = year >= 0 && skip(&rest, '-');
  const int month = take_number(&rest, 2);
  valid = valid && month > 0 && skip(&rest, '-');
  const int day = take_number(&rest, 2);
  int hour = 0, minute = 0, second = 0;
  if (skip(&rest, 'T') || skip(&rest, ' ')) {
    hour = take_number(&rest, 2);
    valid = valid && hour >= 0 && skip(&rest, ':');
    minute = take_number(&rest, 2);
    valid = valid && minute >= 0;
    if (skip(&rest, ':')) second = take_number(&rest, 2);
  }
  const auto seconds =
      valid && rest.empty() ? civil_seconds(year, month, day, hour, minute, second) : std::nullopt;
  if (!seconds) {
    throw_error(ErrorKind::kInvalid, "%s: '%s' is not a date such as 2025-07-10T12:00:00",
                printable(what).c_str(), printable(text).c_str());
  }
  return *seconds;
}

ChatTemplate::ChatTemplate(std::string_view source, std::string name) : name_(std::move(name)) {
  try {
    template_ = std::make_shared<const jinja::Template>(jinja::parse(source));
  } catch (const jinja::SyntaxError& error) {
    throw_error(error.unsupported ? ErrorKind::kUnsupported : ErrorKind::kInvalid, "%s%s",
                place(name_, error.at).c_str(), printable(error.message, 300).c_str());
  }
}

std::string ChatTemplate::render(const nlohmann::ordered_json& context, const RenderOptions& options) const {
  if (!context.is_object()) {
    throw_error(ErrorKind::kInvalid, "chat template context: must be a JSON object of variables, not %s",
                context.type_name());
  }
  jinja::Interpreter interpreter(options);
  try {
    return interpreter.render(*template_, context);
  } catch (const jinja::Failure& failure) {
    using Kind = jinja::Failure::Kind;
    if (failure.kind == Kind::kTemplate) throw Error(ErrorKind::kInvalid, printable(failure.message, 1000));
    throw_error(failure.kind == Kind::kUnsupported ? ErrorKind::kUnsupported : ErrorKind::kInvalid, "%s%s",
                place(name_, interpreter.position()).c_str(), printable(failure.message, 300).c_str());
  }
}

}  // namespace sluice
