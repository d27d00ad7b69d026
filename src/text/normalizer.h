// What happens to a text before it is cut: Unicode normal forms, replacements, SentencePiece's treatment of
// blanks. The steps are those of "normalizer" in tokenizer.json and of normalizer_spec in a SentencePiece
// model. Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/pretokenizer.h"

namespace sluice {

// SentencePiece's compiled table of character replacements: a double-array trie (darts-clone) over
// NUL-terminated replacements.
class Charsmap {
 public:
  // `blob`: u32 size of the trie in bytes, the trie, the replacements. Throws kCorrupt.
  explicit Charsmap(std::string_view blob);

  // Replaces each longest known prefix; other characters stay.
  std::string apply(std::string_view text) const;

 private:
  struct Prefix {
    size_t length = 0;  // of the text; 0: nothing is known that begins so
    std::string_view replacement;
  };
  Prefix longest_prefix(std::string_view text) const;

  std::vector<uint32_t> units_;
  std::string replacements_;  // ends in NUL
};

class Normalizer {
 public:
  enum class Form : uint8_t { kNfc, kNfd, kNfkc, kNfkd };
  struct Replace {
    Regex pattern;
    std::string content;
  };
  struct Prepend {
    std::string content;
    PrependScheme scheme = PrependScheme::kAlways;
  };
  struct Append {
    std::string content;
  };
  struct Lowercase {};
  struct StripAccents {};
  struct Strip {
    bool left = true;
    bool right = true;
  };
  // Blanks at both ends go, runs of blanks become one.
  struct CollapseBlanks {};
  using Step =
      std::variant<Form, Replace, Prepend, Append, Lowercase, StripAccents, Strip, CollapseBlanks, Charsmap>;

  void add(Step step);
  bool empty() const { return steps_.empty(); }

  // `segment` is valid UTF-8, and so is the result.
  std::string apply(std::string_view segment, SegmentPlace place) const;

 private:
  std::vector<Step> steps_;
};

}  // namespace sluice
