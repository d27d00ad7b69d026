#include "text/jinja_lexer.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "text/jinja_text.h"

namespace sluice::jinja {
namespace {

constexpr size_t kMaxSourceBytes = size_t{4} << 20;
constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                           "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                           ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

// \r\n and \r become \n, and one newline at the end is not part of the template.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_name_char(int32_t code_point) {
  return code_point == '_' || is_alpha(code_point) || is_digit(code_point);
}

bool is_hex_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {
    line_starts_.push_back(0);
    for (size_t i = 0; i < source_.size(); ++i) {
      if (source_[i] == '\n') line_starts_.push_back(i + 1);
    }
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) lex_text();
    push(Token::Kind::kEnd, at_, "");
    return std::move(tokens_);
  }

 private:
  bool looking_at(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  Position position(size_t offset) const {
    const auto next = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
    return {static_cast<uint32_t>(next - line_starts_.begin()),
            static_cast<uint32_t>(offset - *(next - 1) + 1)};
  }

  [[noreturn]] void fail_at(size_t offset, std::string message) const {
    throw SyntaxError{std::move(message), position(offset)};
  }

  void push(Token::Kind kind, size_t offset, std::string text, Value value = {}) {
    tokens_.push_back({kind, position(offset), std::move(text), std::move(value)});
  }

  void skip_space() {
    while (at_ < source_.size()) {
      size_t next = at_;
      if (!is_space(next_code_point(source_, &next))) return;
      at_ = next;
    }
  }

  bool skip(std::string_view text) {
    if (!looking_at(text)) return false;
    at_ += text.size();
    return true;
  }

  // The end of a tag with what it swallows: "-%}" all white space, "%}" one newline, "+%}" nothing.
  bool skip_end(std::string_view close) {
    const char sign = peek();
    if ((sign == '-' || sign == '+') && source_.compare(at_ + 1, close.size(), close) == 0) {
      at_ += 1 + close.size();
      if (sign == '-') skip_space();
      return true;
    }
    if (!skip(close)) return false;
    skip("\n");
    return true;
  }

  // Emits the text [begin, end) that stands before a tag with this sign ('\0' for none).
  void push_text(size_t begin, size_t end, char sign, bool is_variable) {
    std::string_view text = std::string_view(source_).substr(begin, end - begin);
    if (sign == '-') {
      text = strip(text, std::nullopt, Side::kRight);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = text.rfind('\n');
      const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
      const bool at_line_start = line > 0 || begin == 0 || source_[begin - 1] == '\n';
      if (at_line_start && strip(text.substr(line), std::nullopt, Side::kBoth).empty())
        text = text.substr(0, line);
    }
    if (!text.empty()) push(Token::Kind::kText, begin, std::string(text));
  }

  void lex_text() {
    const size_t begin = at_;
    for (;; ++at_) {
      at_ = source_.find('{', at_);
      if (at_ == std::string::npos) {
        at_ = source_.size();
        return push_text(begin, at_, '+', false);
      }
      if (peek(1) == '%' || peek(1) == '{' || peek(1) == '#') break;
    }
    const size_t tag = at_;
    const char opener = source_[tag + 1];
    at_ += 2;
    const char sign = peek() == '-' || peek() == '+' ? source_[at_++] : '\0';
    push_text(begin, tag, sign, opener == '{');
    if (opener == '#') {
      lex_comment(tag);
    } else if (opener == '%' && lex_raw(tag)) {
      return;
    } else {
      lex_tag(tag, opener == '{');
    }
  }

  void lex_comment(size_t tag) {
    while (at_ < source_.size()) {
      if (skip_end("#}")) return;
      ++at_;
    }
    fail_at(tag, "missing end of comment tag");
  }

  // {% raw %}...{% endraw %}, if that is what stands here.
  bool lex_raw(size_t tag) {
    const size_t after_sign = at_;
    skip_space();
    const bool named = skip("raw");
    skip_space();
    const bool trims = named && looking_at("-%}");
    if (!named || !(skip("-%}") || skip("%}"))) {
      at_ = after_sign;
      return false;
    }
    if (trims) skip_space();
    const size_t begin = at_;
    for (; (at_ = source_.find("{%", at_)) != std::string::npos; at_ += 2) {
      const size_t end = at_;
      at_ += 2;
      const char sign = peek() == '-' || peek() == '+' ? source_[at_++] : '\0';
      skip_space();
      if (skip("endraw")) {
        skip_space();
        if (skip_end("%}")) {
          push_text(begin, end, sign, false);
          return true;
        }
      }
      at_ = end;
    }
    fail_at(tag, "missing end of raw directive");
  }

  void lex_tag(size_t tag, bool is_variable) {
    push(is_variable ? Token::Kind::kVariableBegin : Token::Kind::kBlockBegin, tag, "");
    std::string open;  // brackets that wait to be closed
    for (;;) {
      skip_space();
      const size_t begin = at_;
      if (at_ >= source_.size()) fail_at(tag, is_variable ? "missing }}" : "missing %}");
      if (open.empty() && skip_tag_end(is_variable)) {
        push(is_variable ? Token::Kind::kVariableEnd : Token::Kind::kBlockEnd, begin, "");
        return;
      }
      const char c = source_[at_];
      if (c == '"' || c == '\'') {
        lex_string();
      } else if (c >= '0' && c <= '9') {
        lex_number();
      } else if (!lex_name()) {
        lex_operator(open);
      }
    }
  }

  bool skip_tag_end(bool is_variable) {
    if (!is_variable) return skip_end("%}");
    if (skip("-}}")) {
      skip_space();
      return true;
    }
    return skip("}}");
  }

  bool lex_name() {
    const size_t begin = at_;
    while (at_ < source_.size()) {
      size_t next = at_;
      if (!is_name_char(next_code_point(source_, &next))) break;
      at_ = next;
    }
    if (at_ == begin) return false;
    push(Token::Kind::kName, begin, source_.substr(begin, at_ - begin));
    return true;
  }

  void lex_operator(std::string& open) {
    for (const std::string_view op : kOperators) {
      if (!looking_at(op)) continue;
      const char c = op.front();
      if (c == '(') open += ')';
      if (c == '[') open += ']';
      if (c == '{') open += '}';
      if (c == ')' || c == ']' || c == '}') {
        if (open.empty() || open.back() != c) fail_at(at_, "unexpected '" + std::string(op) + "'");
        open.pop_back();
      }
      push(Token::Kind::kOperator, at_, std::string(op));
      at_ += op.size();
      return;
    }
    fail_at(at_, "unexpected character in a tag");
  }

  // Digits with single underscores between them.
  void skip_digits(std::string& out, bool (*is_one)(char)) {
    while (is_one(peek()) || (peek() == '_' && !out.empty() && is_one(peek(1)))) {
      if (peek() != '_') out += peek();
      ++at_;
    }
  }

  void lex_number() {
    const auto is_decimal = [](char c) { return c >= '0' && c <= '9'; };
    const size_t begin = at_;
    const char kind = static_cast<char>(peek(1) | 0x20);
    std::string digits;
    int base = 10;
    if (peek() == '0' && (kind == 'x' || kind == 'o' || kind == 'b')) {
      base = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
      at_ += 2;
      skip_digits(digits, is_hex_digit);
    } else {
      skip_digits(digits, is_decimal);
      if (lex_fraction(begin, digits)) return;
      if (digits.size() > 1 && digits[0] == '0' && digits.find_first_not_of('0') != std::string::npos) {
        fail_at(begin, "a number may not start with 0");
      }
    }
    int64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      fail_at(begin, "not an integer of 64 bits");
    }
    push(Token::Kind::kLiteral, begin, "", Value(number));
  }

  // The rest of a float whose whole digits were read. After a dot (x.0.1) digits are an index instead.
  bool lex_fraction(size_t begin, std::string digits) {
    const auto is_decimal = [](char c) { return c >= '0' && c <= '9'; };
    if (begin > 0 && source_[begin - 1] == '.') return false;
    const size_t whole_end = at_;
    if (peek() == '.' && is_decimal(peek(1))) {
      ++at_;
      digits += '.';
      skip_digits(digits, is_decimal);
    }
    const size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
    if ((peek() | 0x20) == 'e' && is_decimal(peek(1 + sign))) {
      digits.append(source_, at_, 1 + sign);
      at_ += 1 + sign;
      skip_digits(digits, is_decimal);
    }
    if (at_ == whole_end) return false;
    push(Token::Kind::kLiteral, begin, "", Value(std::strtod(digits.c_str(), nullptr)));
    return true;
  }

  void lex_string() {
    const size_t begin = at_;
    const char quote = source_[at_++];
    std::string out;
    for (;;) {
      if (at_ >= source_.size()) fail_at(begin, "string without an end");
      const char c = source_[at_++];
      if (c == quote) break;
      if (c == '\\' && at_ < source_.size()) {
        lex_escape(out);
      } else {
        out += c;
      }
    }
    push(Token::Kind::kLiteral, begin, "", Value(std::move(out)));
  }

  // Python's escapes; the backslash is already read.
  void lex_escape(std::string& out) {
    constexpr std::string_view kNames = "abfnrtv\\'\"";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
    const size_t begin = at_ - 1;
    const char c = source_[at_++];
    if (c == '\n') return;
    if (const size_t simple = kNames.find(c); simple != std::string_view::npos) {
      out += kValues[simple];
    } else if (c >= '0' && c <= '7') {
      --at_;
      append_code_point(out, lex_code(begin, 1, 3, 8));
    } else if (c == 'x') {
      append_code_point(out, lex_code(begin, 2, 2, 16));
    } else if (c == 'u') {
      append_code_point(out, lex_code(begin, 4, 4, 16));
    } else if (c == 'U') {
      append_code_point(out, lex_code(begin, 8, 8, 16));
    } else if (c == 'N') {
      fail_at(begin, "\\N{name} escapes are not supported: write the character");
    } else {
      out += '\\';
      out += c;
    }
  }

  int32_t lex_code(size_t begin, size_t min_digits, size_t max_digits, int base) {
    size_t n_digits = 0;
    while (n_digits < max_digits &&
           (base == 16 ? is_hex_digit(peek(n_digits)) : peek(n_digits) >= '0' && peek(n_digits) <= '7'))
      ++n_digits;
    uint32_t code = 0;
    std::from_chars(source_.data() + at_, source_.data() + at_ + n_digits, code, base);
    if (n_digits < min_digits || code > 0x10ffff) fail_at(begin, "bad escape in a string");
    at_ += n_digits;
    return static_cast<int32_t>(code);
  }

  const std::string source_;
  std::vector<size_t> line_starts_;
  size_t at_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (source.size() > kMaxSourceBytes) throw SyntaxError{"template larger than 4 MiB", {}};
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace sluice::jinja
