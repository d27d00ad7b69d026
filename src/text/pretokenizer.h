// Cuts a text into the pieces that a model encodes one by one, in the steps that files describe
// ("pre_tokenizer" of tokenizer.json, tokenizer.ggml.pre). Byte-level steps work on the bytes themselves, not
// on the printable characters that stand for them: the cuts are the same. Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/pretokenizer_regex.h"

namespace sluice {

// Where a segment (text between two added tokens) stands.
enum class SegmentPlace : uint8_t {
  kTextStart,     // the beginning of a text
  kContinuation,  // the beginning of a text that continues another one
  kAfterToken,    // behind an added token
};

// When a segment gets SentencePiece's blank in front.
enum class PrependScheme : uint8_t { kNever, kFirst, kAlways };

inline bool prepends(PrependScheme scheme, SegmentPlace place) {
  return scheme == PrependScheme::kAlways
             ? place != SegmentPlace::kContinuation
             : scheme == PrependScheme::kFirst && place == SegmentPlace::kTextStart;
}

class PreTokenizer {
 public:
  // What becomes of the matches of a regex, and of what lies between them.
  enum class Behavior : uint8_t {
    kIsolated,            // each a piece
    kRemoved,             // matches vanish
    kMergedWithPrevious,  // a match ends the piece before it
    kMergedWithNext,      // a match begins the piece after it
    kContiguous,          // neighbouring matches are one piece
  };
  struct Split {
    Regex regex;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;  // matches and gaps change places
  };
  // A blank before each piece that has none.
  struct PrefixSpace {};
  // Blanks become `replacement`, one may be put in front; then pieces begin at replacements.
  struct Metaspace {
    std::string replacement;
    PrependScheme scheme = PrependScheme::kAlways;
    bool split = true;
  };
  using Step = std::variant<Split, PrefixSpace, Metaspace>;

  struct Piece {
    uint32_t begin;
    uint32_t end;
  };
  // Result and scratch memory of cut().
  struct Pieces {
    std::string_view text;  // the segment, or `changed`
    std::vector<Piece> pieces;
    std::string changed;
    std::vector<Piece> spare;
  };

  void add(Step step);
  bool empty() const { return steps_.empty(); }

  // `segment` is valid UTF-8, not empty, under 2^31 bytes, and outlives the result.
  void cut(std::string_view segment, SegmentPlace place, Pieces* out) const;

 private:
  std::vector<Step> steps_;
};

// What else a name in tokenizer.ggml.pre says of a model.
struct NamedPreTokenizer {
  bool ignores_merges = false;  // whole pieces are looked up before merging
  bool adds_bos = false;        // unless the file says otherwise
};

// Adds the steps of a name in tokenizer.ggml.pre ("llama-bpe", "qwen2", "deepseek-v3"...) or of tiktoken
// ("cl100k", "o200k", "gpt2"). nullopt when the name is not known.
std::optional<NamedPreTokenizer> add_named_pretokenizer(std::string_view name, PreTokenizer* pretokenizer);

// The regexes behind such a name, each cutting the pieces that the one before left. Empty for unknown names.
std::span<const std::string_view> named_patterns(std::string_view name);

// The name for those regexes, for whatever writes GGUF files; empty if there is none. Of several, the first
// that also agrees on looking up whole pieces.
std::string_view find_pretokenizer_name(std::span<const std::string> patterns, bool ignores_merges);

// GPT-2's regex, which the ByteLevel step of tokenizer.json uses.
std::string_view gpt2_pattern();

}  // namespace sluice
