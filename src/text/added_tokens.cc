#include "text/added_tokens.h"

#include <utility>

#include "text/tokenizer_utf8.h"

namespace sluice {
namespace {

// The character that ends at text[end], end > 0. Precondition: valid UTF-8.
Utf8Step step_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return utf8_step(text.substr(begin));
}

bool inside_word(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && is_word_character(step_before(text, begin).code_point)) ||
         (end < text.size() && is_word_character(utf8_step(text.substr(end)).code_point));
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  Search& search = searches_[static_cast<size_t>(token.normalized ? Stage::kNormalized : Stage::kRaw)];
  search.trie.add(token.content, static_cast<int32_t>(tokens_.size()));
  search.begins[static_cast<uint8_t>(token.content[0])] = true;
  ++search.n_tokens;
  tokens_.push_back(std::move(token));
}

bool AddedTokens::match_at(const Search& search, std::string_view text, size_t from, size_t at,
                           bool parse_special, Match* match) const {
  const AddedToken* longest = nullptr;
  size_t end = at;
  search.trie.for_each_prefix(text.substr(at), [&](size_t length, int32_t index) {
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (token.special && !parse_special) return;
    if (token.single_word && inside_word(text, at, at + length)) return;
    longest = &token;
    end = at + length;
  });
  if (!longest) return false;
  size_t begin = at;
  if (longest->lstrip) {
    while (begin > from) {
      const Utf8Step step = step_before(text, begin);
      if (!is_unicode_space(step.code_point)) break;
      begin -= step.length;
    }
  }
  if (longest->rstrip) {
    while (end < text.size()) {
      const Utf8Step step = utf8_step(text.substr(end));
      if (!is_unicode_space(step.code_point)) break;
      end += step.length;
    }
  }
  *match = {begin, end, longest->id};
  return true;
}

bool AddedTokens::find(Stage stage, std::string_view text, size_t from, bool parse_special,
                       Match* match) const {
  const Search& search = searches_[static_cast<size_t>(stage)];
  if (search.n_tokens == 0) return false;
  for (size_t at = from; at < text.size(); ++at) {
    if (search.begins[static_cast<uint8_t>(text[at])] &&
        match_at(search, text, from, at, parse_special, match)) {
      return true;
    }
  }
  return false;
}

}  // namespace sluice
