// Byte-pair encoding (Sennrich et al., 2016): symbols are joined pair by pair, best rank first and leftmost
// among equals, until no pair has a rank. One class for the three ways in which files give ranks:
//   merges   a list of pairs, best first (tokenizer.json, merges.txt, GGUF "gpt2")
//   scores   a pair may join if the joined text is a token; the highest score is best (SentencePiece)
//   ids      the same with the lowest id as best (tiktoken)
// Joining takes O(n log n) per piece of text. Cutting texts into pieces is the pre-tokenizer's work.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/tokenizer_vocabulary.h"

namespace sluice {

// Pairs of ids to the rank and id of what they join to. Open addressing, one cache line per look-up mostly.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank;
    int32_t id;
  };

  void reserve(size_t n_merges);
  // The first rank of a pair counts.
  void add(int32_t left, int32_t right, Merge merge);
  // nullptr when the pair does not join.
  const Merge* find(int32_t left, int32_t right) const noexcept;
  size_t size() const noexcept { return size_; }

 private:
  struct Slot {
    uint64_t pair = kEmpty;
    Merge merge = {};
  };
  static constexpr uint64_t kEmpty = ~0ull;

  size_t home(uint64_t pair) const noexcept;
  void grow(size_t n_slots);

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

class Bpe {
 public:
  struct Options {
    bool byte_level = false;               // symbols are bytes, else characters
    bool ignore_merges = false;            // a piece that is a token stays whole, whatever the merges say
    bool fuse_unknown = false;             // neighbouring unknown characters give one token
    int32_t unknown = -1;                  // for symbols without a token; -1: they are dropped
    std::array<int32_t, 256> byte_tokens;  // bytes of characters without a token; -1: no byte fallback
    Options() { byte_tokens.fill(-1); }
  };

  // Scratch memory of encode(), to be used again from call to call.
  struct Scratch {
    struct Symbol {
      uint32_t begin;
      uint32_t length;  // 0: joined into another
      int32_t id;       // -1: no token
      int32_t previous;
      int32_t next;
    };
    struct Candidate {
      uint32_t rank;
      uint32_t left;
      uint32_t length;  // of both together: tells whether the candidate is still current
      int32_t id;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // Ranks from a list of pairs. `vocabulary` must outlive this.
  Bpe(const Vocabulary& vocabulary, const Options& options, MergeTable merges);
  // Ranks from tokens: rank_of[id], lowest first, [vocabulary.size()].
  Bpe(const Vocabulary& vocabulary, const Options& options, std::vector<uint32_t> rank_of);

  // Appends the ids of `piece`: valid UTF-8, under 2^31 bytes.
  void encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const;

 private:
  void encode_word(std::string_view word, Scratch* scratch, std::vector<int32_t>* ids) const;
  void make_symbols(std::string_view word, Scratch* scratch) const;
  void join_symbols(std::string_view word, Scratch* scratch) const;
  void push_candidate(std::string_view word, int32_t left, Scratch* scratch) const;
  void append_ids(std::string_view word, const Scratch& scratch, std::vector<int32_t>* ids) const;
  bool words_end_before_spaces() const;

  const Vocabulary* vocabulary_;
  Options options_;
  MergeTable merges_;
  std::vector<uint32_t> rank_of_;      // empty: ranks are in merges_
  std::array<int32_t, 256> byte_ids_;  // byte level: token of each byte, or -1
  bool cut_at_spaces_ = false;

  // Whether joining the bytes of a token gives that token: 0 not known yet, 1 yes, 2 no. A piece that is such
  // a token needs no joining, and most words are. Every thread that finds out finds the same.
  std::unique_ptr<std::atomic<uint8_t>[]> joins_to_itself_;  // [vocabulary.size()]
};

}  // namespace sluice
