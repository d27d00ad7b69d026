// The Unigram model (Kudo, 2018): of all ways to write a text as tokens, the one with the largest sum of
// scores, by Viterbi over byte positions. Immutable; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokenizer_trie.h"
#include "text/tokenizer_vocabulary.h"

namespace sluice {

class Unigram {
 public:
  struct Options {
    int32_t unknown = -1;  // for characters without a token; neighbours share one. -1: dropped
    std::array<int32_t, 256> byte_tokens;  // bytes of characters without a token; -1: no byte fallback
    Options() { byte_tokens.fill(-1); }
  };

  struct Scratch {
    struct Best {
      double score;
      uint32_t begin;  // where the last token of the best way to here begins
      int32_t id;      // ... and its id; -1: a character without a token
    };
    std::vector<Best> best;      // [piece bytes + 1]
    std::vector<uint32_t> ends;  // of the tokens on the best way, last first
  };

  // Normal tokens of `vocabulary` with score_of[id], [vocabulary.size()].
  Unigram(const Vocabulary& vocabulary, const Options& options, std::vector<float> score_of);

  // Appends the ids of `piece`: valid UTF-8, under 2^31 bytes.
  void encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const;

 private:
  Options options_;
  std::vector<float> score_of_;
  ByteTrie trie_;
  double unknown_score_ = 0;
};

}  // namespace sluice
