// Weights that stay in memory may be *woven*: of every kWovenRows neighbouring rows, the words (four bytes)
// that decoders read first lie side by side, then the next ones, so that a vector of rows is one load and
// memory is read in order. Bytes are moved, none is changed, and as many are there as before. Rows that are
// left over stay as they are, and so does a weight with a plane whose rows are not whole words.
//
// An encoding whose blocks are not whole words has one f16 or byte in each that would be in the way of the
// others. Those of as many neighbouring blocks as make a word lie in one line of 64 bytes before the words of
// these blocks: row 0 to row 15 of the first block, then of the second.
//
//   Q8_0, rows 0 to 15, blocks 0 and 1    line 0        their scales
//   (34 bytes a block)                    lines 1-8     words 0 to 7 of block 0
//                                         lines 9-16    words 0 to 7 of block 1
#pragma once

#include <array>
#include <cstdint>

#include "encoding/encoding.h"

namespace sluice {

inline constexpr int64_t kWovenRows = 16;
inline constexpr int kWovenWord = 4;                            // bytes
inline constexpr int64_t kWovenLine = kWovenRows * kWovenWord;  // bytes

// Rows, from the first, that can be woven.
constexpr int64_t weavable_rows(int64_t rows, uint64_t row_bytes) {
  return row_bytes % kWovenWord == 0 ? rows - rows % kWovenRows : 0;
}

// In which order the bytes of a block are woven.
struct WovenForm {
  struct Part {
    int at, bytes;  // whole words, side by side in a block
  };
  int block;                 // bytes
  int loose_at, loose;       // where what makes no words begins, and its bytes: 0, 1 or 2
  std::array<Part, 5> part;  // the words, as they are read; those that are not there have no bytes

  constexpr int n_unit_blocks() const { return loose == 0 ? 1 : kWovenWord / loose; }
  constexpr int n_words() const { return (block - loose) / kWovenWord; }  // of a block
  constexpr int n_unit_lines() const { return n_unit_blocks() * n_words() + (loose > 0); }
  // The place among the words of a block of the one at byte `at`; negative: in no part.
  constexpr int word_of(int at) const {
    int before = 0;
    for (const Part& p : part) {
      if (at >= p.at && at < p.at + p.bytes) return (before + at - p.at) / kWovenWord;
      before += p.bytes;
    }
    return -1;
  }
};

// Of plane 0 of GGUF's blocks, and of any plane of the others, whose words keep their order.
constexpr WovenForm woven_form(Encoding encoding) {
  switch (encoding) {
    case Encoding::kQ4_0:
    case Encoding::kIQ4_NL:
      return {18, 0, 2, {{{2, 16}}}};
    case Encoding::kQ4_1:
      return {20, 0, 0, {{{0, 20}}}};
    case Encoding::kQ5_0:
      return {22, 0, 2, {{{2, 20}}}};
    case Encoding::kQ5_1:
      return {24, 0, 0, {{{0, 24}}}};
    case Encoding::kQ8_0:
      return {34, 0, 2, {{{2, 32}}}};
    case Encoding::kMXFP4:
      return {17, 0, 1, {{{1, 16}}}};
    case Encoding::kQ2_K:
      return {84, 0, 0, {{{0, 16}, {80, 4}, {16, 64}}}};
    case Encoding::kQ3_K:
      return {110, 108, 2, {{{96, 12}, {0, 96}}}};
    case Encoding::kQ4_K:
      return {144, 0, 0, {{{0, 144}}}};
    case Encoding::kQ5_K:
      return {176, 0, 0, {{{0, 176}}}};
    case Encoding::kQ6_K:
      return {210, 208, 2, {{{192, 16}, {0, 64}, {128, 32}, {64, 64}, {160, 32}}}};
    case Encoding::kIQ4_XS:
      return {136, 0, 0, {{{0, 136}}}};
    default:
      return {kWovenWord, 0, 0, {{{0, kWovenWord}}}};
  }
}

// each(at, place, bytes, width) for the runs that make a row, in the order in which they are woven: piece j
// of `width` bytes (a word, or what is loose) of the `bytes` from byte `at` of row r of a group lies at byte
// place + (j * kWovenRows + r) * width of the group.
template <class Each>
void for_each_woven_run(const WovenForm& form, uint64_t row_bytes, const Each& each) {
  if (form.part[0].bytes == form.block) return each(uint64_t{0}, uint64_t{0}, row_bytes, int{kWovenWord});
  const auto block = static_cast<uint64_t>(form.block);
  const uint64_t unit = block * static_cast<uint64_t>(form.n_unit_blocks());
  uint64_t place = 0;
  const auto run = [&](uint64_t at, int bytes, int width) {
    each(at, place, static_cast<uint64_t>(bytes), width);
    place += static_cast<uint64_t>(bytes) * kWovenRows;
  };
  for (uint64_t begin = 0; begin < row_bytes; begin += unit) {
    for (uint64_t at = begin; form.loose > 0 && at < begin + unit; at += block) {
      run(at + static_cast<uint64_t>(form.loose_at), form.loose, form.loose);
    }
    for (uint64_t at = begin; at < begin + unit; at += block) {
      for (const WovenForm::Part& part : form.part) {
        if (part.bytes > 0) run(at + static_cast<uint64_t>(part.at), part.bytes, kWovenWord);
      }
    }
  }
}

}  // namespace sluice
