#include "text/pretokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <new>

#include "base/error.h"

namespace sluice {
namespace {

constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr std::string_view kSpaces = R"(\x09-\x0d\x{85}\p{Z})";
constexpr std::array<std::string_view, 12> kScripts = {"Han",    "Hiragana", "Katakana", "Hangul",
                                                       "Latin",  "Greek",    "Arabic",   "Cyrillic",
                                                       "Hebrew", "Thai",     "Bopomofo", "Devanagari"};

// The end of the class that begins at pattern[begin] == '[', one past its ']'; npos if it has none. Classes
// may hold classes, as in Oniguruma and Rust.
size_t class_end(std::string_view pattern, size_t begin) {
  int depth = 0;
  for (size_t i = begin; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
    } else if (pattern.substr(i).starts_with("[:")) {
      const size_t end = pattern.find(":]", i + 2);
      if (end == pattern.npos) return pattern.npos;
      i = end + 1;
    } else if (pattern[i] == '[') {
      ++depth;
      if (pattern.substr(i + 1).starts_with("^")) ++i;
      if (pattern.substr(i + 1).starts_with("]")) ++i;  // a first ']' is an ordinary character
    } else if (pattern[i] == ']' && --depth == 0) {
      return i + 1;
    }
  }
  return pattern.npos;
}

// Rewrites the escape at the start of `rest` into *out; returns how many bytes of `rest` that took.
size_t rewrite_escape(std::string_view rest, bool in_class, std::string* out) {
  if (rest.starts_with("\\s")) {
    *out += in_class ? std::string(kSpaces) : "[" + std::string(kSpaces) + "]";
    return 2;
  }
  if (rest.starts_with("\\S") && !in_class) {
    *out += "[^" + std::string(kSpaces) + "]";
    return 2;
  }
  if (rest.starts_with("\\p{") || rest.starts_with("\\P{")) {
    for (const std::string_view script : kScripts) {
      if (rest.substr(3).starts_with(script) && rest.substr(3 + script.size()).starts_with("}")) {
        *out += std::string(rest.substr(0, 3)) + "sc:" + std::string(script) + "}";
        return 4 + script.size();
      }
    }
  }
  const size_t length = std::min<size_t>(2, rest.size());
  *out += rest.substr(0, length);
  return length;
}

// A whole class. Classes inside it are a union: their brackets go.
std::string rewrite_class(std::string_view text) {
  std::string out;
  const size_t first = text.starts_with("[^") ? 2 : 1;  // a ']' here is an ordinary character
  const size_t last = text.size() - 1;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '\\') {
      i += rewrite_escape(text.substr(i), true, &out);
    } else if (text.substr(i).starts_with("[:")) {
      const size_t end = text.find(":]", i + 2) + 2;
      out += text.substr(i, end - i);
      i = end;
    } else if (i > first && i < last && (text[i] == '[' || text[i] == ']')) {
      ++i;
    } else {
      out += text[i++];
    }
  }
  return out;
}

}  // namespace

std::string regex_for_pcre2(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size();) {
    if (pattern[i] == '\\') {
      i += rewrite_escape(pattern.substr(i), false, &out);
      continue;
    }
    if (pattern[i] != '[') {
      out += pattern[i++];
      continue;
    }
    const size_t end = class_end(pattern, i);
    if (end == pattern.npos) {
      out += pattern.substr(i);
      break;
    }
    const std::string_view text = pattern.substr(i, end - i);
    const size_t without = text.find("&&[^");
    if (without != text.npos) {
      const std::string_view excluded = text.substr(without + 4, text.size() - 1 - (without + 4));  // B]
      out += "(?:(?!" + rewrite_class("[" + std::string(excluded)) + ")" +
             rewrite_class(std::string(text.substr(0, without)) + "]") + ")";
    } else {
      out += rewrite_class(text);
    }
    i = end;
  }
  return out;
}

void Regex::FreeCode::operator()(pcre2_real_code_8* code) const noexcept { pcre2_code_free(code); }
void Regex::Matches::FreeData::operator()(pcre2_real_match_data_8* data) const noexcept {
  pcre2_match_data_free(data);
}

Regex::Regex(std::string_view pattern, Syntax syntax) : pattern_(pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    throw_error(ErrorKind::kUnsupported, "a tokenizer regex has %zu bytes; at most %zu are supported",
                pattern.size(), kMaxPatternBytes);
  }
  const bool literal = syntax == Syntax::kLiteral;
  const std::string rewritten = literal ? pattern_ : regex_for_pcre2(pattern);
  int error = 0;
  size_t offset = 0;
  const uint32_t flags = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C);
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(), flags, &error,
                            &offset, nullptr));
  if (!code_) {
    PCRE2_UCHAR message[128] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    throw_error(ErrorKind::kUnsupported, "tokenizer regex \"%s\": %s at byte %zu",
                printable(rewritten).c_str(), reinterpret_cast<const char*>(message), offset);
  }
  jit_ = pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE) == 0;
}

Regex::Matches::Matches(const Regex& regex, std::string_view text)
    : regex_(regex), text_(text), data_(pcre2_match_data_create(1, nullptr)) {
  if (!data_) throw std::bad_alloc();
}

bool Regex::Matches::next(Match* match) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  while (offset_ <= text_.size()) {
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;
    if (regex_.jit_)
      rc = pcre2_jit_match(regex_.code_.get(), subject, text_.size(), offset_, 0, data_.get(), nullptr);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its stack on the heap
      rc = pcre2_match(regex_.code_.get(), subject, text_.size(), offset_, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                       data_.get(), nullptr);
    }
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      throw_error(ErrorKind::kUnsupported,
                  "tokenizer regex \"%s\" gave up on a text of %zu bytes (PCRE2 error %d)",
                  printable(regex_.pattern_).c_str(), text_.size(), rc);
    }
    const size_t* bounds = pcre2_get_ovector_pointer(data_.get());
    *match = {bounds[0], bounds[1]};
    if (match->end > match->begin && match->begin >= offset_) {
      offset_ = match->end;
      return true;
    }
    // An empty match: on to the next character.
    offset_ = std::max(offset_, match->end) + 1;
    while (offset_ < text_.size() && (static_cast<uint8_t>(text_[offset_]) & 0xC0) == 0x80) ++offset_;
  }
  offset_ = text_.size() + 1;
  return false;
}

}  // namespace sluice
