#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "text/tokenizer_utf8.h"

namespace sluice {

// ------------------------------------------------------------------------------------------ merge table

size_t MergeTable::home(uint64_t pair) const noexcept {
  const uint64_t mixed = (pair ^ pair >> 29) * 0x9E3779B97F4A7C15ull;
  return (mixed ^ mixed >> 32) & (slots_.size() - 1);
}

void MergeTable::reserve(size_t n_merges) { grow(std::bit_ceil(2 * n_merges + 2)); }

void MergeTable::grow(size_t n_slots) {
  std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(n_slots));
  size_ = 0;
  for (const Slot& slot : old) {
    if (slot.pair != kEmpty)
      add(static_cast<int32_t>(slot.pair >> 32), static_cast<int32_t>(slot.pair), slot.merge);
  }
}

void MergeTable::add(int32_t left, int32_t right, Merge merge) {
  if (2 * (size_ + 1) > slots_.size()) grow(std::max<size_t>(16, 2 * slots_.size()));
  const uint64_t pair = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  for (size_t i = home(pair);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].pair == pair) return;
    if (slots_[i].pair == kEmpty) {
      slots_[i] = {pair, merge};
      ++size_;
      return;
    }
  }
}

const MergeTable::Merge* MergeTable::find(int32_t left, int32_t right) const noexcept {
  if (slots_.empty()) return nullptr;
  const uint64_t pair = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  for (size_t i = home(pair);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].pair == pair) return &slots_[i].merge;
    if (slots_[i].pair == kEmpty) return nullptr;
  }
}

// -------------------------------------------------------------------------------------------------- Bpe

Bpe::Bpe(const Vocabulary& vocabulary, const Options& options, MergeTable merges)
    : vocabulary_(&vocabulary),
      options_(options),
      merges_(std::move(merges)),
      joins_to_itself_(new std::atomic<uint8_t>[vocabulary.size()]()) {
  for (size_t b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    byte_ids_[b] = vocabulary.find_normal({&byte, 1});
  }
  cut_at_spaces_ = !options_.byte_level && words_end_before_spaces();
}

Bpe::Bpe(const Vocabulary& vocabulary, const Options& options, std::vector<uint32_t> rank_of)
    : Bpe(vocabulary, options, MergeTable()) {
  rank_of_ = std::move(rank_of);
}

// True when no token has a U+2581 after another character. Then no two symbols ever join across such a place,
// and a text without pre-tokenizer may be cut there: the result is the same and the pieces are words.
bool Bpe::words_end_before_spaces() const {
  for (size_t id = 0; id < vocabulary_->size(); ++id) {
    if (vocabulary_->kind(static_cast<int32_t>(id)) != TokenKind::kNormal) continue;
    std::string_view text = vocabulary_->text(static_cast<int32_t>(id));
    while (text.starts_with(kSpaceMarker)) text.remove_prefix(kSpaceMarker.size());
    if (text.find(kSpaceMarker) != text.npos) return false;
  }
  return true;
}

void Bpe::encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const {
  if (!cut_at_spaces_) return encode_word(piece, scratch, ids);
  while (!piece.empty()) {
    size_t end = 0;
    while (piece.substr(end).starts_with(kSpaceMarker)) end += kSpaceMarker.size();
    end = std::min(piece.find(kSpaceMarker, end), piece.size());
    encode_word(piece.substr(0, end), scratch, ids);
    piece.remove_prefix(end);
  }
}

void Bpe::encode_word(std::string_view word, Scratch* scratch, std::vector<int32_t>* ids) const {
  const int32_t whole = vocabulary_->find_normal(word);
  std::atomic<uint8_t>* joins = nullptr;
  if (whole >= 0) {
    joins = &joins_to_itself_[static_cast<size_t>(whole)];
    if (options_.ignore_merges || joins->load(std::memory_order_relaxed) == 1) {
      ids->push_back(whole);
      return;
    }
  }
  make_symbols(word, scratch);
  join_symbols(word, scratch);
  if (joins) {
    const auto& first = scratch->symbols.front();
    joins->store(first.next < 0 && first.id == whole ? 1 : 2, std::memory_order_relaxed);
  }
  append_ids(word, *scratch, ids);
}

void Bpe::make_symbols(std::string_view word, Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  symbols.clear();
  for (size_t begin = 0; begin < word.size();) {
    const size_t length =
        options_.byte_level ? 1 : std::min<size_t>(utf8_length(word[begin]), word.size() - begin);
    const int32_t id = length == 1 ? byte_ids_[static_cast<uint8_t>(word[begin])]
                                   : vocabulary_->find_normal(word.substr(begin, length));
    const auto index = static_cast<int32_t>(symbols.size());
    symbols.push_back(
        {static_cast<uint32_t>(begin), static_cast<uint32_t>(length), id, index - 1, index + 1});
    begin += length;
  }
  if (!symbols.empty()) symbols.back().next = -1;
}

// The heap's first element is the best candidate.
static bool worse(const Bpe::Scratch::Candidate& a, const Bpe::Scratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
}

void Bpe::push_candidate(std::string_view word, int32_t left, Scratch* scratch) const {
  const auto& a = scratch->symbols[static_cast<size_t>(left)];
  const auto& b = scratch->symbols[static_cast<size_t>(a.next)];
  const uint32_t length = a.length + b.length;
  MergeTable::Merge merge;
  if (rank_of_.empty()) {
    const MergeTable::Merge* found = a.id < 0 || b.id < 0 ? nullptr : merges_.find(a.id, b.id);
    if (!found) return;
    merge = *found;
  } else {
    merge.id = vocabulary_->find_normal(word.substr(a.begin, length));
    if (merge.id < 0) return;
    merge.rank = rank_of_[static_cast<size_t>(merge.id)];
  }
  scratch->heap.push_back({merge.rank, static_cast<uint32_t>(left), length, merge.id});
}

void Bpe::join_symbols(std::string_view word, Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  auto& heap = scratch->heap;
  heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) push_candidate(word, static_cast<int32_t>(i), scratch);
  std::make_heap(heap.begin(), heap.end(), worse);
  const auto push = [&](int32_t left) {
    const size_t before = heap.size();
    push_candidate(word, left, scratch);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), worse);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), worse);
    const auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.left];
    if (left.length == 0 || left.next < 0) continue;
    auto& right = symbols[static_cast<size_t>(left.next)];
    if (left.length + right.length != best.length) continue;
    left.length = best.length;
    left.id = best.id;
    right.length = 0;
    left.next = right.next;
    if (left.next >= 0) {
      symbols[static_cast<size_t>(left.next)].previous = static_cast<int32_t>(best.left);
      push(static_cast<int32_t>(best.left));
    }
    if (left.previous >= 0) push(left.previous);
  }
}

void Bpe::append_ids(std::string_view word, const Scratch& scratch, std::vector<int32_t>* ids) const {
  bool after_unknown = false;
  for (int32_t i = scratch.symbols.empty() ? -1 : 0; i >= 0;) {
    const auto& symbol = scratch.symbols[static_cast<size_t>(i)];
    i = symbol.next;
    if (symbol.id >= 0) {
      ids->push_back(symbol.id);
      after_unknown = false;
      continue;
    }
    const std::string_view bytes = word.substr(symbol.begin, symbol.length);
    const auto byte_token = [&](char c) { return options_.byte_tokens[static_cast<uint8_t>(c)]; };
    if (std::all_of(bytes.begin(), bytes.end(), [&](char c) { return byte_token(c) >= 0; })) {
      for (const char c : bytes) ids->push_back(byte_token(c));
      after_unknown = false;
    } else if (options_.unknown >= 0) {
      if (!(after_unknown && options_.fuse_unknown)) ids->push_back(options_.unknown);
      after_unknown = true;
    }
  }
}

}  // namespace sluice
