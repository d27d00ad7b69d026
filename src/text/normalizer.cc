#include "text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "base/error.h"
#include "text/tokenizer_utf8.h"

namespace sluice {
namespace {

// Appends the normal form of `text`. Precondition: valid UTF-8.
void append_form(std::string_view text, Normalizer::Form form, std::string* out) {
  int options = UTF8PROC_STABLE;
  const bool composes = form == Normalizer::Form::kNfc || form == Normalizer::Form::kNfkc;
  options |= composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == Normalizer::Form::kNfkc || form == Normalizer::Form::kNfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* result = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                                   static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  if (length < 0)
    throw_error(ErrorKind::kInvalid, "text of %zu bytes: %s", text.size(), utf8proc_errmsg(length));
  out->append(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
}

// ASCII characters stay as they are in every form, and none joins what stands before it: only runs of other
// characters, with the one before them (which may take an accent), are worth work.
std::string to_form(std::string_view text, Normalizer::Form form) {
  const auto is_ascii_at = [&](size_t i) { return static_cast<uint8_t>(text[i]) < 0x80; };
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    size_t begin = i;
    while (begin < text.size() && is_ascii_at(begin)) ++begin;
    size_t end = begin;
    while (end < text.size() && !is_ascii_at(end)) ++end;
    if (begin > i && end > begin) --begin;
    out += text.substr(i, begin - i);
    if (end > begin) append_form(text.substr(begin, end - begin), form, &out);
    i = end;
  }
  return out;
}

// Calls `each(code point, bytes)` for every character. Precondition: valid UTF-8.
template <typename Each>
void for_each_character(std::string_view text, Each each) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    each(step.code_point, text.substr(0, step.length));
    text.remove_prefix(step.length);
  }
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](uint32_t c, std::string_view) {
    append_utf8(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), &out);
    if (c == 0x130) append_utf8(0x307, &out);  // İ is the only capital whose small form has two characters
  });
  return out;
}

std::string without_accents(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](uint32_t c, std::string_view bytes) {
    if (utf8proc_category(static_cast<utf8proc_int32_t>(c)) != UTF8PROC_CATEGORY_MN) out += bytes;
  });
  return out;
}

std::string stripped(std::string_view text, const Normalizer::Strip& strip) {
  size_t begin = text.size();
  size_t end = 0;
  size_t offset = 0;
  for_each_character(text, [&](uint32_t c, std::string_view bytes) {
    if (!is_unicode_space(c)) {
      begin = std::min(begin, offset);
      end = offset + bytes.size();
    }
    offset += bytes.size();
  });
  if (!strip.left) begin = 0;
  if (!strip.right) end = text.size();
  return begin < end ? std::string(text.substr(begin, end - begin)) : std::string();
}

std::string replaced(std::string_view text, const Normalizer::Replace& replace) {
  std::string out;
  out.reserve(text.size());
  Regex::Matches matches(replace.pattern, text);
  size_t end = 0;
  for (Regex::Match match; matches.next(&match); end = match.end) {
    out += text.substr(end, match.begin - end);
    out += replace.content;
  }
  out += text.substr(end);
  return out;
}

std::string with_single_blanks(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

struct Apply {
  std::string_view text;
  SegmentPlace place;

  std::string operator()(Normalizer::Form form) const { return to_form(text, form); }
  std::string operator()(const Normalizer::Replace& replace) const { return replaced(text, replace); }
  std::string operator()(const Normalizer::Prepend& prepend) const {
    const bool now = !text.empty() && prepends(prepend.scheme, place);
    return now ? prepend.content + std::string(text) : std::string(text);
  }
  std::string operator()(const Normalizer::Append& append) const {
    return text.empty() ? std::string() : std::string(text) + append.content;
  }
  std::string operator()(Normalizer::Lowercase) const { return lower(text); }
  std::string operator()(Normalizer::StripAccents) const { return without_accents(text); }
  std::string operator()(const Normalizer::Strip& strip) const { return stripped(text, strip); }
  std::string operator()(Normalizer::CollapseBlanks) const { return with_single_blanks(text); }
  std::string operator()(const Charsmap& charsmap) const { return charsmap.apply(text); }
};

}  // namespace

void Normalizer::add(Step step) { steps_.push_back(std::move(step)); }

std::string Normalizer::apply(std::string_view segment, SegmentPlace place) const {
  std::string text(segment);
  for (const Step& step : steps_) text = std::visit(Apply{text, place}, step);
  return text;
}

// --------------------------------------------------------------------------------------------- charsmap

// A unit of the trie: bits 0-7 label, bit 8 "a value hangs below", bit 9 offset is shifted by 8, bits 10-30
// offset; a value's unit has bit 31 set and the value below it.
Charsmap::Charsmap(std::string_view blob) {
  uint32_t trie_bytes = 0;
  if (blob.size() >= 4) std::memcpy(&trie_bytes, blob.data(), 4);
  if (blob.size() < 5 || trie_bytes % 4 != 0 || trie_bytes == 0 || trie_bytes >= blob.size() - 4) {
    throw_error(ErrorKind::kCorrupt, "precompiled_charsmap: a trie of %u bytes in %zu bytes", trie_bytes,
                blob.size());
  }
  units_.resize(trie_bytes / 4);
  std::memcpy(units_.data(), blob.data() + 4, trie_bytes);
  replacements_ = blob.substr(4 + trie_bytes);
  if (replacements_.back() != '\0') {
    throw_error(ErrorKind::kCorrupt, "precompiled_charsmap: the last replacement does not end");
  }
}

Charsmap::Prefix Charsmap::longest_prefix(std::string_view text) const {
  const auto offset_of = [](uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); };
  Prefix longest;
  uint32_t node = offset_of(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte == 0) break;
    node ^= byte;
    if (node >= units_.size()) break;
    const uint32_t unit = units_[node];
    if ((unit & (1u << 31 | 0xFF)) != byte) break;
    node ^= offset_of(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (node >= units_.size()) break;
    const uint32_t value = units_[node] & ~(1u << 31);
    if (value < replacements_.size()) longest = {i + 1, replacements_.c_str() + value};
  }
  return longest;
}

std::string Charsmap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    Prefix prefix = longest_prefix(text);
    if (prefix.length == 0) {
      prefix.length = utf8_step(text).length;
      prefix.replacement = text.substr(0, prefix.length);
    }
    out += prefix.replacement;
    text.remove_prefix(prefix.length);
  }
  return is_valid_utf8(out) ? out : replace_invalid_utf8(out);
}

}  // namespace sluice
