#include "text/jinja_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdio>

#include "text/jinja_failure.h"

namespace sluice::jinja {
namespace {

utf8proc_category_t category(int32_t code_point) { return utf8proc_category(code_point); }

bool is_cased(int32_t code_point) {
  return is_upper(code_point) || is_lower(code_point) || category(code_point) == UTF8PROC_CATEGORY_LT;
}

bool is_line_end(int32_t code_point) {
  return (code_point >= 0x0a && code_point <= 0x0d) || (code_point >= 0x1c && code_point <= 0x1e) ||
         code_point == 0x85 || code_point == 0x2028 || code_point == 0x2029;
}

// repr keeps what Python calls printable; everything else becomes an escape.
bool is_printable(int32_t code_point) {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return code_point == ' ';
    default:
      return true;
  }
}

// Simple case mapping, plus the one common letter (sharp s) whose upper case is two.
std::string upper(int32_t code_point) {
  if (code_point == 0xdf) return "SS";
  std::string out;
  append_code_point(out, utf8proc_toupper(code_point));
  return out;
}

std::string title(int32_t code_point) {
  if (code_point == 0xdf) return "Ss";
  std::string out;
  append_code_point(out, utf8proc_totitle(code_point));
  return out;
}

template <class Visit>  // visit(code point, its bytes)
void for_each_code_point(std::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const int32_t code_point = next_code_point(text, &at);
    visit(code_point, text.substr(start, at - start));
  }
}

size_t first_code_point_bytes(std::string_view text) {
  size_t at = 0;
  next_code_point(text, &at);
  return at;
}

// A lead byte and what follows it up to the end, or else one stray byte.
std::string_view last_code_point(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && text.size() - start < 4 && (text[start] & 0xc0) == 0x80) --start;
  const std::string_view point = text.substr(start);
  return first_code_point_bytes(point) == point.size() ? point : text.substr(text.size() - 1);
}

}  // namespace

int32_t next_code_point(std::string_view text, size_t* at) {
  utf8proc_int32_t code_point = 0;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + *at;
  const auto length = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - *at), &code_point);
  if (length <= 0) {  // a stray byte: out of the range of Unicode, so it is of no category
    const int32_t stray = 0x110000 + *bytes;
    ++*at;
    return stray;
  }
  *at += static_cast<size_t>(length);
  return code_point;
}

void append_code_point(std::string& out, int32_t code_point) {
  if (code_point >= 0x110000) {
    out += static_cast<char>(code_point - 0x110000);
    return;
  }
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(code_point, bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) next_code_point(text, &at);
  return count;
}

std::vector<std::string_view> split_code_points(std::string_view text) {
  std::vector<std::string_view> out;
  for_each_code_point(text, [&](int32_t, std::string_view bytes) { out.push_back(bytes); });
  return out;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool is_space(int32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool is_upper(int32_t code_point) { return category(code_point) == UTF8PROC_CATEGORY_LU; }
bool is_lower(int32_t code_point) { return category(code_point) == UTF8PROC_CATEGORY_LL; }

bool is_alpha(int32_t code_point) {
  const auto kind = category(code_point);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_digit(int32_t code_point) { return category(code_point) == UTF8PROC_CATEGORY_ND; }

std::string to_upper(std::string_view text) {
  std::string out;
  for_each_code_point(text, [&](int32_t code_point, std::string_view) { out += upper(code_point); });
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  for_each_code_point(text, [&](int32_t code_point, std::string_view) {
    append_code_point(out, utf8proc_tolower(code_point));
  });
  return out;
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  size_t at = 0;
  const std::string first = title(next_code_point(text, &at));
  return first + to_lower(text.substr(at));
}

std::string title_method(std::string_view text) {
  std::string out;
  bool in_word = false;
  for_each_code_point(text, [&](int32_t code_point, std::string_view bytes) {
    out += in_word ? to_lower(bytes) : title(code_point);
    in_word = is_cased(code_point);
  });
  return out;
}

std::string title_filter(std::string_view text) {
  std::string out;
  bool in_word = false;
  for_each_code_point(text, [&](int32_t code_point, std::string_view bytes) {
    const bool boundary = is_space(code_point) ||
                          (code_point < 0x80 && std::string_view("-({[<").find(bytes) != std::string::npos);
    out += in_word ? to_lower(bytes) : to_upper(bytes);
    in_word = !boundary;
  });
  return out;
}

std::string_view strip(std::string_view text, std::optional<std::string_view> chars, Side side) {
  const auto set = split_code_points(chars.value_or(""));
  const auto is_stripped = [&](std::string_view point) {
    size_t at = 0;
    if (!chars) return is_space(next_code_point(point, &at));
    return std::find(set.begin(), set.end(), point) != set.end();
  };
  while (side != Side::kRight && !text.empty()) {
    const std::string_view point = text.substr(0, first_code_point_bytes(text));
    if (!is_stripped(point)) break;
    text.remove_prefix(point.size());
  }
  while (side != Side::kLeft && !text.empty()) {
    const std::string_view point = last_code_point(text);
    if (!is_stripped(point)) break;
    text.remove_suffix(point.size());
  }
  return text;
}

std::vector<std::string_view> split_space(std::string_view text, int64_t max_splits, Side from) {
  std::vector<std::string_view> words;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    if (!is_space(next_code_point(text, &at))) continue;
    if (end > start) words.push_back(text.substr(start, end - start));
    start = at;
  }
  if (start < text.size()) words.push_back(text.substr(start));
  if (max_splits < 0 || words.size() <= static_cast<size_t>(max_splits)) return words;

  // What is not split keeps its inner and far white space.
  const auto n_splits = static_cast<size_t>(max_splits);
  if (from == Side::kRight) {
    const std::string_view last = words[words.size() - n_splits - 1];
    words.erase(words.begin(), words.end() - static_cast<std::ptrdiff_t>(n_splits));
    words.insert(words.begin(), text.substr(0, static_cast<size_t>(last.end() - text.begin())));
  } else {
    words[n_splits] = text.substr(static_cast<size_t>(words[n_splits].begin() - text.begin()));
    words.resize(n_splits + 1);
  }
  return words;
}

std::vector<std::string_view> split_on(std::string_view text, std::string_view separator, int64_t max_splits,
                                       Side from) {
  std::vector<std::string_view> out;
  if (from == Side::kRight) {
    for (; max_splits != 0; --max_splits) {
      const size_t at = text.rfind(separator);
      if (at == std::string_view::npos) break;
      out.push_back(text.substr(at + separator.size()));
      text = text.substr(0, at);
    }
    out.push_back(text);
    std::reverse(out.begin(), out.end());
    return out;
  }
  for (; max_splits != 0; --max_splits) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) break;
    out.push_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  out.push_back(text);
  return out;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> out;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    if (!is_line_end(next_code_point(text, &at))) continue;
    if (text[end] == '\r' && at < text.size() && text[at] == '\n') ++at;
    out.push_back(text.substr(start, (keep_ends ? at : end) - start));
    start = at;
  }
  if (start < text.size()) out.push_back(text.substr(start));
  return out;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t count) {
  std::string out;
  size_t at = 0;
  while (count != 0) {
    const size_t found = from.empty() ? at : text.find(from, at);
    if (found == std::string_view::npos) break;
    append_bounded(out, text.substr(at, found - at));
    append_bounded(out, to);
    --count;
    at = found + from.size();
    if (!from.empty()) continue;
    if (at == text.size()) return out;
    const size_t start = at;
    next_code_point(text, &at);
    append_bounded(out, text.substr(start, at - start));
  }
  append_bounded(out, text.substr(at));
  return out;
}

std::string string_repr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for_each_code_point(text, [&](int32_t code_point, std::string_view bytes) {
    char escape[16];
    if (code_point == quote || code_point == '\\') {
      out += '\\';
      out += bytes;
    } else if (code_point == '\n') {
      out += "\\n";
    } else if (code_point == '\r') {
      out += "\\r";
    } else if (code_point == '\t') {
      out += "\\t";
    } else if (code_point >= 0x110000 || is_printable(code_point)) {
      out += bytes;
    } else {
      const char* format = code_point < 0x100 ? "\\x%02x" : code_point < 0x10000 ? "\\u%04x" : "\\U%08x";
      std::snprintf(escape, sizeof escape, format, static_cast<unsigned>(code_point));
      out += escape;
    }
  });
  return out += quote;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace sluice::jinja
