#include "text/jinja_format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <optional>

#include "base/error.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace sluice::jinja {
namespace {

// JSON.

void append_json_string(std::string& out, std::string_view text, bool ensure_ascii) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const int32_t c = next_code_point(text, &at);
    switch (c) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\f':
        out += "\\f";
        continue;
      case '\b':
        out += "\\b";
        continue;
      default:
        break;
    }
    const auto code = static_cast<unsigned>(c);
    if (c >= 0x20 && (!ensure_ascii || (c < 0x7f || c >= 0x110000))) {
      out += text.substr(start, at - start);
    } else if (c < 0x10000) {
      out += format_string("\\u%04x", code);
    } else {
      out += format_string("\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
    }
  }
  out += '"';
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return float_repr(value);
}

std::string json_scalar(const Value& value) {
  if (value.is_none()) return "null";
  if (value.is_bool()) return value.as_int() ? "true" : "false";
  if (value.is_int()) return std::to_string(value.as_int());
  if (value.is_float()) return json_float(value.as_double());
  fail("Object of type " + std::string(type_name(value)) + " is not JSON serializable");
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  std::string write(const Value& value) {
    append(value, 1);
    return std::move(out_);
  }

 private:
  void append(const Value& value, size_t level) {
    if (value.is_string()) return append_json_string(out_, value.bytes(), style_.ensure_ascii);
    if (value.sequence(Flavour::kList) || value.sequence(Flavour::kTuple))
      return append_list(*value.sequence(), level);
    if (value.dict()) return append_dict(*value.dict(), level);
    append_bounded(out_, json_scalar(value));
  }

  void append_list(const Sequence& list, size_t level) {
    out_ += '[';
    for (size_t i = 0; i < list.size(); ++i) {
      start_item(i == 0, level);
      append(list.items()[i], level + 1);
    }
    if (list.size() > 0) start_line(level - 1);
    out_ += ']';
  }

  void append_dict(const Dict& dict, size_t level) {
    std::vector<const Dict::Item*> items;
    for (const Dict::Item& item : dict.items()) items.push_back(&item);
    if (style_.sort_keys) {
      std::stable_sort(items.begin(), items.end(), [](auto* a, auto* b) { return less(a->first, b->first); });
    }
    out_ += '{';
    for (size_t i = 0; i < items.size(); ++i) {
      start_item(i == 0, level);
      const Value& key = items[i]->first;
      append_json_string(out_, key.is_string() ? key.bytes() : json_scalar(key), style_.ensure_ascii);
      append_bounded(out_, style_.key_separator);
      append(items[i]->second, level + 1);
    }
    if (!items.empty()) start_line(level - 1);
    out_ += '}';
  }

  void start_item(bool first, size_t level) {
    if (!first) append_bounded(out_, style_.item_separator);
    start_line(level);
  }

  void start_line(size_t level) {
    if (!style_.indented) return;
    out_ += '\n';
    for (size_t i = 0; i < level; ++i) append_bounded(out_, style_.indent);
  }

  const JsonStyle& style_;
  std::string out_;
};

// Numbers and texts in fields of a width.

struct Spec {
  std::string fill = " ";
  char align = '\0';  // '<' '>' '^' '=', or none given
  char sign = '-';    // '+', ' ' or '-'
  bool alternate = false;
  char grouping = '\0';
  size_t width = 0;
  int precision = -1;
  char type = '\0';
};

constexpr size_t kMaxWidth = 100'000;
constexpr int kMaxPrecision = 300;

std::string pad(const std::string& text, const Spec& spec, char default_align) {
  const size_t length = count_code_points(text);
  if (length >= spec.width) return text;
  const size_t missing = spec.width - length;
  const char align = spec.align ? spec.align : default_align;
  const size_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const bool after_sign =
      align == '=' && !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ');
  std::string out = after_sign ? text.substr(0, 1) : "";
  for (size_t i = 0; i < before; ++i) out += spec.fill;
  out += text.substr(after_sign);
  for (size_t i = before; i < missing; ++i) out += spec.fill;
  return out;
}

std::string with_sign(bool negative, std::string digits, char sign) {
  if (negative) return "-" + digits;
  return sign == '-' ? digits : sign + digits;
}

// A separator after every three digits of the whole part.
std::string group_digits(std::string digits, char separator) {
  if (!separator) return digits;
  const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t at = whole; at > 3; at -= 3) digits.insert(at - 3, 1, separator);
  return digits;
}

std::string int_digits(uint64_t value, char type, bool alternate) {
  const unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  const char* symbols = type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string digits;
  do {
    digits.insert(digits.begin(), symbols[value % base]);
    value /= base;
  } while (value > 0);
  return alternate && base != 10 ? std::string("0") + type + digits : digits;
}

std::string format_int(int64_t value, const Spec& spec) {
  const uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  std::string digits = int_digits(magnitude, spec.type, spec.alternate);
  if (spec.precision > static_cast<int>(digits.size())) {
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  }
  return with_sign(value < 0, group_digits(std::move(digits), spec.grouping), spec.sign);
}

std::string format_float(double value, const Spec& spec) {
  const double magnitude = std::fabs(value);
  std::string digits;
  if (!std::isfinite(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
  } else if (spec.type == '\0' && spec.precision < 0) {
    digits = float_repr(magnitude);
  } else {
    const bool percent = spec.type == '%';
    const char type = percent ? 'f' : spec.type == '\0' ? 'g' : spec.type;
    const char format[] = {'%', '.', '*', type, '\0'};
    char buffer[800];
    std::snprintf(buffer, sizeof buffer, format, spec.precision < 0 ? 6 : spec.precision,
                  percent ? magnitude * 100 : magnitude);
    digits = percent ? std::string(buffer) + "%" : buffer;
  }
  return with_sign(std::signbit(value) && !std::isnan(value), group_digits(std::move(digits), spec.grouping),
                   spec.sign);
}

std::string cut(const std::string& text, int precision) {
  if (precision < 0) return text;
  const auto points = split_code_points(text);
  const size_t n_kept = std::min(points.size(), static_cast<size_t>(precision));
  std::string out;
  for (size_t i = 0; i < n_kept; ++i) out += points[i];
  return out;
}

// A cursor over a format text.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  bool done() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  char take() { return done() ? '\0' : text_[at_++]; }
  bool skip(char c) { return !done() && peek() == c && (++at_, true); }
  bool on_digit() const { return peek() >= '0' && peek() <= '9'; }
  std::string_view take_until(std::string_view stops) {
    const size_t start = at_;
    at_ = std::min(text_.find_first_of(stops, at_), text_.size());
    return text_.substr(start, at_ - start);
  }
  std::string_view take_point() {
    const size_t start = at_;
    next_code_point(text_, &at_);
    return text_.substr(start, at_ - start);
  }
  size_t number(size_t limit) {
    size_t value = 0;
    while (on_digit()) {
      value = value * 10 + static_cast<size_t>(take() - '0');
      if (value > limit) fail("number in a format is too large");
    }
    return value;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// printf.

class PercentFormatter {
 public:
  PercentFormatter(std::string_view format, const Value& value) : in_(format), value_(value) {
    if (const Sequence* tuple = value.sequence(Flavour::kTuple)) {
      args_ = tuple->items();
    } else {
      args_ = {value};
    }
  }

  std::string run() {
    std::string out;
    while (!in_.done()) {
      append_bounded(out, in_.take_until("%"));
      if (in_.skip('%')) append_bounded(out, conversion());
    }
    const bool all_used = next_ == args_.size() || value_.dict();
    if (!all_used) fail("not all arguments converted during string formatting");
    return out;
  }

 private:
  const Value& next_argument() {
    if (next_ == args_.size()) fail("not enough arguments for format string");
    return args_[next_++];
  }

  std::string conversion() {
    if (in_.skip('%')) return "%";
    const Value* named = nullptr;
    if (in_.skip('(')) {
      const std::string name(in_.take_until(")"));
      in_.take();
      if (!value_.dict()) fail("format requires a mapping");
      named = value_.dict()->find(name);
      if (!named) fail("the format's key '" + name + "' is missing");
    }
    Spec spec;
    bool zero = false;
    for (;; in_.take()) {
      if (in_.peek() == '-')
        spec.align = '<';
      else if (in_.peek() == '+')
        spec.sign = '+';
      else if (in_.peek() == ' ')
        spec.sign = spec.sign == '+' ? '+' : ' ';
      else if (in_.peek() == '#')
        spec.alternate = true;
      else if (in_.peek() == '0')
        zero = true;
      else
        break;
    }
    spec.width = in_.number(kMaxWidth);
    if (in_.skip('.')) spec.precision = static_cast<int>(in_.number(kMaxPrecision));
    spec.type = in_.take();
    const Value& value = named ? *named : next_argument();
    const bool numeric =
        std::string_view("diuoxXeEfFgG").find(spec.type) != std::string_view::npos && spec.type;
    if (zero && numeric && spec.align == '\0') {
      spec.fill = "0";
      spec.align = '=';
    }
    return pad(convert(value, spec), spec, '>');
  }

  static std::string convert(const Value& value, const Spec& spec) {
    switch (spec.type) {
      case 's':
        return cut(str(value), spec.precision);
      case 'r':
        return cut(repr(value), spec.precision);
      case 'd':
      case 'i':
      case 'u':
        if (value.is_float()) return format_int(truncated(value.as_double()), spec);
        [[fallthrough]];
      case 'o':
      case 'x':
      case 'X':
        if (!value.is_integral()) break;
        return format_int(value.as_int(), spec);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (!value.is_number()) break;
        return format_float(value.as_double(), spec);
      case 'c':
        if (value.is_string() && count_code_points(value.bytes()) == 1) return value.bytes();
        break;
      default:
        fail("unsupported format character in a % format");
    }
    if (value.is_undefined()) fail(value.undefined_reason());
    fail(std::string("%") + spec.type + " format: wrong type '" + std::string(type_name(value)) + "'");
  }

  static int64_t truncated(double value) {
    if (!(std::fabs(value) < 9.2e18)) fail("integer overflow: numbers have 64 bits here");
    return static_cast<int64_t>(value);
  }

  Reader in_;
  const Value& value_;
  std::vector<Value> args_;
  size_t next_ = 0;
};

// str.format.

Spec parse_spec(std::string_view text) {
  constexpr std::string_view kAligns = "<>^=";
  Reader in(text);
  Spec spec;
  if (!in.done()) {
    Reader ahead = in;
    const std::string_view fill = ahead.take_point();
    if (!ahead.done() && kAligns.find(ahead.peek()) != std::string_view::npos) {
      spec.fill = fill;
      spec.align = ahead.take();
      in = ahead;
    } else if (kAligns.find(in.peek()) != std::string_view::npos) {
      spec.align = in.take();
    }
  }
  if (in.peek() == '+' || in.peek() == '-' || in.peek() == ' ') spec.sign = in.take();
  spec.alternate = in.skip('#');
  if (in.skip('0') && spec.align == '\0') {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = in.number(kMaxWidth);
  if (in.peek() == ',' || in.peek() == '_') spec.grouping = in.take();
  if (in.skip('.')) spec.precision = static_cast<int>(in.number(kMaxPrecision));
  spec.type = in.take();
  if (!in.done()) fail("invalid format specifier");
  return spec;
}

std::string format_value(const Value& value, std::string_view text) {
  if (text.empty()) return str(value);
  Spec spec = parse_spec(text);
  const auto type_in = [&](std::string_view types) {
    return spec.type == '\0' || types.find(spec.type) != std::string_view::npos;
  };
  if (value.is_string() && type_in("s") && spec.align != '=')
    return pad(cut(value.bytes(), spec.precision), spec, '<');
  if (value.is_integral() && type_in("dnboxX") && spec.precision < 0)
    return pad(format_int(value.as_int(), spec), spec, '>');
  if (value.is_number() && type_in("eEfFgG%")) return pad(format_float(value.as_double(), spec), spec, '>');
  if (value.is_undefined()) fail(value.undefined_reason());
  fail("format specifier does not fit a value of type '" + std::string(type_name(value)) + "'");
}

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, std::string_view format, const Args& args)
      : interpreter_(interpreter), in_(format), args_(args) {}

  std::string run() {
    std::string out;
    while (!in_.done()) {
      append_bounded(out, in_.take_until("{}"));
      if (in_.done()) break;
      const char brace = in_.take();
      if (in_.skip(brace)) {
        out += brace;
      } else if (brace == '}') {
        fail("single '}' in a format string");
      } else {
        append_bounded(out, field());
      }
    }
    return out;
  }

 private:
  std::string field() {
    Value value = argument(in_.take_until(".[!:}{"));
    while (in_.peek() == '.' || in_.peek() == '[') {
      if (in_.take() == '.') {
        value = interpreter_.attribute(value, std::string(in_.take_until(".[!:}{")));
      } else {
        value = element(value, in_.take_until("]"));
        in_.take();
      }
    }
    if (in_.skip('!')) {
      const char conversion = in_.take();
      if (conversion != 'r' && conversion != 's') fail("unknown conversion in a format string");
      value = conversion == 'r' ? repr(value) : str(value);
    }
    const std::string_view spec = in_.skip(':') ? in_.take_until("{}") : "";
    if (!in_.skip('}')) fail("expected '}' in a format string (nested fields are not supported)");
    interpreter_.charge(value.weight());
    return format_value(value, spec);
  }

  Value argument(std::string_view name) {
    if (name.empty()) return positional(number(true, next_++));
    Reader digits(name);
    if (digits.on_digit()) {
      const size_t index = digits.number(kMaxWidth);
      if (digits.done()) return positional(number(false, index));
    }
    for (const auto& [key, value] : args_.named) {
      if (key == name) return value;
    }
    fail("the format's argument '" + std::string(name) + "' is missing");
  }

  // {} and {0} do not mix.
  size_t number(bool automatic, size_t index) {
    if (automatic_.value_or(automatic) != automatic) fail("a format string mixes {} and {0}");
    automatic_ = automatic;
    return index;
  }

  const Value& positional(size_t index) const {
    if (index >= args_.positional.size()) fail("replacement index out of range in a format string");
    return args_.positional[index];
  }

  Value element(const Value& value, std::string_view key) {
    Reader digits(key);
    if (!digits.on_digit()) return interpreter_.item(value, Value(std::string(key)));
    return interpreter_.item(value, Value(static_cast<int64_t>(digits.number(kMaxWidth))));
  }

  Interpreter& interpreter_;
  Reader in_;
  const Args& args_;
  size_t next_ = 0;
  std::optional<bool> automatic_;
};

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style) { return JsonWriter(style).write(value); }

std::string percent_format(std::string_view format, const Value& value) {
  return PercentFormatter(format, value).run();
}

std::string brace_format(Interpreter& interpreter, std::string_view format, const Args& args) {
  return BraceFormatter(interpreter, format, args).run();
}

int64_t local_now() {
  const std::time_t now = std::time(nullptr);
  std::tm civil = {};
  localtime_r(&now, &civil);
  return static_cast<int64_t>(now) + civil.tm_gmtoff;
}

std::string format_time(std::string_view format, int64_t now) {
  if (format.empty()) return "";
  const std::time_t seconds = now;
  std::tm civil = {};
  if (!gmtime_r(&seconds, &civil)) fail("the date is out of range");
  char buffer[1024];
  const size_t length = std::strftime(buffer, sizeof buffer, std::string(format).c_str(), &civil);
  if (length == 0) fail("strftime_now: the format is empty or its date longer than 1023 bytes");
  return {buffer, length};
}

}  // namespace sluice::jinja
