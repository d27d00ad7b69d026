// Tokens that are cut out of a text before the model sees it: control tokens such as "<|im_end|>" and words
// that were added to a finished vocabulary. Leftmost match first, the longest of those; found by walking a
// trie from each byte that begins one. Immutable once filled; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_trie.h"

namespace sluice {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false;      // a control token: matched only where special tokens are asked for
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // ... and after it
  bool single_word = false;  // not inside a word
  bool normalized = false;   // matched in the normalized text, else in the text as it came
};

class AddedTokens {
 public:
  // A text is searched twice: as it came, and what lies between those matches after normalizing.
  enum class Stage : uint8_t { kRaw = 0, kNormalized = 1 };

  // Precondition: content is not empty.
  void add(AddedToken token);

  const std::vector<AddedToken>& tokens() const noexcept { return tokens_; }
  bool empty(Stage stage) const noexcept { return searches_[static_cast<size_t>(stage)].n_tokens == 0; }

  struct Match {
    size_t begin;
    size_t end;
    int32_t id;
  };
  // The first match at or after `from`. False when there is none.
  bool find(Stage stage, std::string_view text, size_t from, bool parse_special, Match* match) const;

 private:
  struct Search {
    ByteTrie trie;  // content to index in tokens_
    std::array<bool, 256> begins = {};
    size_t n_tokens = 0;
  };
  bool match_at(const Search& search, std::string_view text, size_t from, size_t at, bool parse_special,
                Match* match) const;

  std::vector<AddedToken> tokens_;
  std::array<Search, 2> searches_;
};

}  // namespace sluice
