// From the bytes of kLanes weight rows to one shape that the products share: blocks of 32 columns whose
// integers lie transposed, lane r holding row r, so that a product needs no sum across lanes. Layouts in
// prose: encoding/block_<name>.h. Not here: the products (dot.inl.h).
//
// A decoder has a PanelFormat and
//   kUnit            columns that unit() decodes at once
//   unit(rows, col, out)   out: kUnit / 32 blocks, kPanelGroups apart (the groups of a panel alternate)
//   kHasEight        whether eight(rows, col, take) decodes the eight blocks from col on as take(index,
//                    block), one by one in registers, with fewer reads than eight times unit()
//   kIsFollowed      memory's prefetchers follow its reads of woven rows without help
//   kInTurns         groups of woven rows may be read in turns (Int8InTurns): begin(rows, col) returns what
//                    step<0>() to step<kSteps - 1>() share, which take the eight blocks as eight() does
//   kLooksUp         values come from a table of 16
//   kIsLight         so little to do that it may as well be done again for every few inputs
//   kHasScalePlanes  scales are in planes of their own: see DecodeAffine

// Whether woven rows are read a whole line at a time.
inline constexpr bool kVectorsAreLines = kLanes == kWovenRows;
// Halves of lines are followed badly (Zen 3, from memory: Q4_0 and Q8_0 1.3 and 1.1 times as fast with help).
inline constexpr bool kBlocksAreFollowed = 2 * kLanes != kWovenRows;

template <int kRunOf, bool kMin>
struct PanelBlock {
  static constexpr int kRuns = 32 / kRunOf;
  I q[8];  // word j: columns 4j to 4j + 3; wide ones 128 less than unsigned where kWideIsSigned
  F scale[kRuns];
  F min[kRuns];
};
template <int kRunOf>
struct PanelBlock<kRunOf, false> {
  static constexpr int kRuns = 32 / kRunOf;
  I q[8];
  F scale[kRuns];
};

// What is left of an encoding once it is decoded. Encodings that leave the same share the code of their
// products.
//   kRun        columns that share a scale: 32 or 16
//   kHasMin     value = scale * q + min instead of scale * q
//   kZeroShift  -1, or log2 of the zero point: value = scale * (q - (1 << kZeroShift))
//   kIsWide     bytes use the whole range (else 0 to 127); its zero point is 128
//   kSpan       columns of an input that share a scale: input_span()
//   kPairWords  words whose products RunSum adds in 16 bits
template <int kRunOf, bool kMin, int kZero, bool kWide, int kPairWordsOf = 1,
          int64_t kSpanOf = kActivationBlock>
struct PanelFormat {
  using Format = PanelFormat;
  using Block = PanelBlock<kRunOf, kMin>;
  static constexpr int kRun = kRunOf, kZeroShift = kZero;
  static constexpr int kPairWords = kPairWordsOf;
  static constexpr int64_t kSpan = kSpanOf;
  static constexpr bool kHasMin = kMin, kIsWide = kWide, kHasEight = false, kIsFollowed = false,
                        kInTurns = false, kLooksUp = false, kIsLight = false;
};

// Of weights of `bits` bits: pairs of their products are at most 2 * 127 * (2^bits - 1).
constexpr int pair_words([[maybe_unused]] int bits) {
#if SLUICE_ADDS_PAIRS
  return bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
#else
  return 1;
#endif
}

SLUICE_INLINE I low_nibbles(I v) { return i_and(v, i_set(0x0f0f0f0f)); }
SLUICE_INLINE I high_nibbles(I v) { return i_and(i_shr<4>(v), i_set(0x0f0f0f0f)); }
// Bits kShift and kShift + 1 of each byte.
template <int kShift>
SLUICE_INLINE I crumbs(I v) {
  return i_and(i_shr<kShift>(v), i_set(0x03030303));
}
// Bits kFrom and kFrom + 1 of each byte as kTo and kTo + 1.
template <int kFrom, int kTo>
SLUICE_INLINE I two_bits(I v) {
  const I moved = kTo >= kFrom ? i_shl<(kTo - kFrom) & 7>(v) : i_shr<(kFrom - kTo) & 7>(v);
  return i_and(moved, i_set(0x03030303u << kTo));
}
// Bit kBit of each byte, as kTo.
template <int kBit, int kTo>
SLUICE_INLINE I one_bit(I v) {
  if constexpr (kTo >= kBit)
    return i_and(i_shl<kTo - kBit>(v), i_set(0x01010101u << kTo));
  else
    return i_and(i_shr<kBit - kTo>(v), i_set(0x01010101u << kTo));
}
// Byte k of each word as a float.
template <int k>
SLUICE_INLINE F u8_to_f(I v) {
  return i_to_f(i_and(i_shr<8 * k>(v), i_set(0xff)));
}
template <int k>
SLUICE_INLINE F s8_to_f(I v) {
  return i_to_f(i_sar<24>(i_shl<24 - 8 * k>(v)));
}
// Bytes as wide decoders keep them, from unsigned or signed ones.
SLUICE_INLINE I wide_from_unsigned(I v) {
  if constexpr (kWideIsSigned) return i_xor(v, i_set(0x80808080));
  return v;
}
SLUICE_INLINE I wide_from_signed(I v) {
  if constexpr (kWideIsSigned) return v;
  return i_xor(v, i_set(0x80808080));
}
SLUICE_INLINE F f_negate(F x) { return as_f(i_xor(as_i(x), i_set(0x80000000))); }

// Fifth bits: bit i of `high` to bit 4 of value i.
template <int j>
SLUICE_INLINE void add_fifth_bits(I high, I* q) {
  const I four = i_and(i_shr<4 * j>(high), i_set(0x0f));
  const I two = i_or(four, i_shl<7>(four));
  const I one = i_and(i_or(two, i_shl<14>(two)), i_set(0x01010101));
  q[j] = i_or(q[j], i_shl<4>(one));
  if constexpr (j < 7) add_fifth_bits<j + 1>(high, q);
}

template <int kAt>
SLUICE_INLINE F half_at(const I* read) {
  return kAt % 4 == 0 ? f16_low(read[kAt / 4]) : f16_high(read[kAt / 4]);
}
// 32 values as 16 bytes of nibbles, the first half of the values in the low ones.
template <int kAt>
SLUICE_INLINE void nibbles_at(const I* read, I* q) {
  I v[4];
  words_at<kAt, 4>(read, v);
  SLUICE_UNROLL for (int j = 0; j < 4; ++j) {
    q[j] = low_nibbles(v[j]);
    q[4 + j] = high_nibbles(v[j]);
  }
}
// What such nibbles stand for in a table of 16.
template <int kAt>
SLUICE_INLINE void levels_at(const uint8_t* table, const I* read, I* q) {
  I v[4];
  words_at<kAt, 4>(read, v);
  SLUICE_UNROLL for (int j = 0; j < 4; ++j) {
    q[j] = i_lookup(table, v[j]);
    q[4 + j] = i_lookup(table, i_shr<4>(v[j]));
  }
}

// Eight neighbouring blocks of Decode::kBytes bytes of rows that lie apart, read in pieces of 32 bytes:
// take(b, block) for each.
template <class Decode, int b, int kRead, class Take>
SLUICE_INLINE void take_blocks(const LaneRows& row, int64_t at, I* words, const Take& take) {
  constexpr int kBytes = Decode::kBytes, kLeft = 8 * kBytes - kRead, kPiece = kLeft < 32 ? kLeft : 32;
  if constexpr (kRead < kBytes * (b + 1)) {
    load_rows<kPiece>(row, at + kRead, words + kRead / 4);
    take_blocks<Decode, b, kRead + kPiece>(row, at, words, take);
  } else {
    typename Decode::Block block;
    if constexpr (Decode::kLoose > 0) block.scale[0] = Decode::template scale_at<kBytes * b>(words);
    Decode::template rest<kBytes * b + Decode::kLoose>(words, &block);
    take(b, block);
    if constexpr (b < 7) take_blocks<Decode, b + 1, kRead>(row, at, words, take);
  }
}

// The eight blocks from col on, a step after the other.
template <class Decode, int kStep, class Rows, class State, class Take>
SLUICE_INLINE void steps_from(const Rows& rows, int64_t col, const State& state, const Take& take) {
  Decode::template step<kStep>(rows, col, state, take);
  if constexpr (kStep + 1 < Decode::kSteps) steps_from<Decode, kStep + 1>(rows, col, state, take);
}
template <class Decode, class Rows, class Take>
SLUICE_INLINE void all_steps(const Rows& rows, int64_t col, const Take& take) {
  const typename Decode::State state = Decode::begin(rows, col);
  steps_from<Decode, 0>(rows, col, state, take);
}

// Encodings in blocks of 32 columns that stand alone. Decode::rest<kAt>(words, &block) makes one, but for a
// scale that is loose, from words that were read, where what is not loose begins at byte kAt.
template <class Decode, class Format, Encoding kEncoding>
struct DecodeBlocks : Format {
  using Block = typename Format::Block;
  static constexpr int kUnit = 32, kBytes = woven_form(kEncoding).block, kLoose = woven_form(kEncoding).loose;
  static constexpr bool kHasScalePlanes = false, kHasEight = true, kIsFollowed = kBlocksAreFollowed,
                        kInTurns = kVectorsAreLines, kIsLight = true;

  template <int kAt>
  static SLUICE_INLINE F scale_at(const I* words) {
    return half_at<kAt>(words);
  }
  template <class BlockOf>
  static SLUICE_INLINE F scale_of(const BlockOf& block) {
    return block.half();
  }
  template <class Take>
  static SLUICE_INLINE void eight(const RowsOf<LaneRows>& rows, int64_t col, const Take& take) {
    I words[2 * kBytes];
    take_blocks<Decode, 0, 0>(rows.plane[0], col / 32 * kBytes, words, take);
  }
  template <class Take>
  static SLUICE_INLINE void eight(const RowsOf<WovenLanes>& rows, int64_t col, const Take& take) {
    all_steps<Decode>(rows, col, take);
  }
  struct State {};
  static constexpr int kSteps = 4;
  static SLUICE_INLINE State begin(const RowsOf<WovenLanes>&, int64_t) { return {}; }
  template <int kStep, class Take>
  static SLUICE_INLINE void step(const RowsOf<WovenLanes>& rows, int64_t col, const State&,
                                 const Take& take) {
    SLUICE_UNROLL for (int b = 2 * kStep; b < 2 * kStep + 2; ++b) {
      Block block;
      unit(rows, col + 32 * b, &block);
      take(b, block);
    }
  }
  template <class Rows>
  static SLUICE_INLINE void unit(const Rows& rows, int64_t col, Block* out) {
    const auto block = block_of<kEncoding>(rows, col / 32);
    I words[(kBytes - kLoose) / 4];
    if constexpr (kLoose > 0) out->scale[0] = Decode::scale_of(block);
    block.template read<kLoose, kBytes - kLoose>(words);
    Decode::template rest<0>(words, out);
  }
};

struct DecodeQ4_0
    : DecodeBlocks<DecodeQ4_0, PanelFormat<32, false, 3, false, pair_words(4)>, Encoding::kQ4_0> {
  template <int kAt>
  static SLUICE_INLINE void rest(const I* words, Block* out) {
    nibbles_at<kAt>(words, out->q);
  }
};

struct DecodeQ4_1
    : DecodeBlocks<DecodeQ4_1, PanelFormat<32, true, -1, false, pair_words(4)>, Encoding::kQ4_1> {
  template <int kAt>
  static SLUICE_INLINE void rest(const I* words, Block* out) {
    out->scale[0] = half_at<kAt>(words);
    out->min[0] = half_at<kAt + 2>(words);
    nibbles_at<kAt + 4>(words, out->q);
  }
};

struct DecodeQ5_0
    : DecodeBlocks<DecodeQ5_0, PanelFormat<32, false, 4, false, pair_words(5)>, Encoding::kQ5_0> {
  template <int kAt>
  static SLUICE_INLINE void rest(const I* words, Block* out) {
    I high;
    words_at<kAt, 1>(words, &high);
    nibbles_at<kAt + 4>(words, out->q);
    add_fifth_bits<0>(high, out->q);
  }
};

struct DecodeQ5_1
    : DecodeBlocks<DecodeQ5_1, PanelFormat<32, true, -1, false, pair_words(5)>, Encoding::kQ5_1> {
  template <int kAt>
  static SLUICE_INLINE void rest(const I* words, Block* out) {
    out->scale[0] = half_at<kAt>(words);
    out->min[0] = half_at<kAt + 2>(words);
    nibbles_at<kAt + 8>(words, out->q);
    add_fifth_bits<0>(words[kAt / 4 + 1], out->q);
  }
};

struct DecodeQ8_0 : DecodeBlocks<DecodeQ8_0, PanelFormat<32, false, 7, true>, Encoding::kQ8_0> {
  static constexpr bool kInTurns = false;
  template <int kAt>
  static SLUICE_INLINE void rest(const I* words, Block* out) {
    words_at<kAt, 8>(words, out->q);
    SLUICE_UNROLL for (int j = 0; j < 8; ++j) out->q[j] = wide_from_signed(out->q[j]);
  }
};

// The levels of IQ4_NL and IQ4_XS, as wide decoders keep bytes.
struct WideLevels {
  uint8_t at[16];
};
inline constexpr WideLevels kWideLevels = [] {
  WideLevels levels{};
  for (int i = 0; i < 16; ++i)
    levels.at[i] = static_cast<uint8_t>(kIQ4Levels[i] ^ (kWideIsSigned ? 0 : -128));
  return levels;
}();

struct DecodeIQ4_NL : DecodeBlocks<DecodeIQ4_NL, PanelFormat<32, false, 7, true>, Encoding::kIQ4_NL> {
  static constexpr bool kLooksUp = true;
  template <int kAt>
  static SLUICE_INLINE void rest(const I* words, Block* out) {
    levels_at<kAt>(kWideLevels.at, words, out->q);
  }
};

struct DecodeMXFP4
    : DecodeBlocks<DecodeMXFP4, PanelFormat<32, false, 4, false, pair_words(5)>, Encoding::kMXFP4> {
  static constexpr bool kLooksUp = true;
  // The doubled levels, 16 above.
  static constexpr uint8_t kLevels[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};
  // 2^(e - 128) from e in the exponent of a float, which is 2^(e - 127) but where e is 0 or 255: those get
  // the highest bit of the mantissa, for 2^-127 and NaN.
  static SLUICE_INLINE F power(I exponent) {
    const I is_inner = i_and(i_add(exponent, i_set(1 << 23)), i_set(0x7f000000));
    const I mantissa = i_and(i_shr<9>(i_sub(is_inner, i_set(1))), i_set(1 << 22));
    return f_mul(as_f(i_or(exponent, mantissa)), f_set(0.5f));
  }
  template <int kAt>
  static SLUICE_INLINE F scale_at(const I* words) {
    constexpr int kUp = 23 - kAt % 4 * 8;
    const I word = kUp >= 0 ? i_shl<(kUp & 31)>(words[kAt / 4]) : i_shr<(-kUp & 31)>(words[kAt / 4]);
    return power(i_and(word, i_set(0x7f800000)));
  }
  template <class BlockOf>
  static SLUICE_INLINE F scale_of(const BlockOf& block) {
    return power(i_shl<23>(block.byte()));
  }
  template <int kAt>
  static SLUICE_INLINE void rest(const I* words, Block* out) {
    levels_at<kAt>(kLevels, words, out->q);
  }
};

// Runs 0-7 of Q4_K and Q5_K from their first 16 bytes.
struct SixBitRuns {
  F scale, neg_min;
  I scales[2], mins[2];  // four runs in each word
};
template <class BlockOf>
SLUICE_INLINE SixBitRuns six_bit_runs(const BlockOf& block) {
  I head[4];
  block.template read<0, 16>(head);
  SixBitRuns runs;
  runs.scale = f16_low(head[0]);
  runs.neg_min = f_negate(f16_high(head[0]));
  runs.scales[0] = i_and(head[1], i_set(0x3f3f3f3f));
  runs.mins[0] = i_and(head[2], i_set(0x3f3f3f3f));
  runs.scales[1] = i_or(low_nibbles(head[3]), i_and(i_shr<2>(head[1]), i_set(0x30303030)));
  runs.mins[1] = i_or(high_nibbles(head[3]), i_and(i_shr<2>(head[2]), i_set(0x30303030)));
  return runs;
}
template <int r>
SLUICE_INLINE void set_run(const SixBitRuns& runs, PanelBlock<32, true>* block) {
  block->scale[0] = f_mul(runs.scale, u8_to_f<r % 4>(runs.scales[r / 4]));
  block->min[0] = f_mul(runs.neg_min, u8_to_f<r % 4>(runs.mins[r / 4]));
}

// Encodings in blocks of 256 columns.
template <class Decode, class Format>
struct DecodeSuperblocks : Format {
  using Block = typename Format::Block;
  static constexpr int kUnit = 256;
  static constexpr bool kHasScalePlanes = false, kHasEight = true;
  static_assert(Format::kSpan == kUnit);
  template <class Rows>
  static SLUICE_INLINE void unit(const Rows& rows, int64_t col, Block* out) {
    Decode::eight(rows, col,
                  [&](int i, const Block& block) SLUICE_LAMBDA_INLINE { out[i * kPanelGroups] = block; });
  }
};

struct DecodeQ4_K
    : DecodeSuperblocks<DecodeQ4_K, PanelFormat<32, true, -1, false, pair_words(4), kLongSpan>> {
  static constexpr bool kIsFollowed = kVectorsAreLines, kInTurns = kVectorsAreLines, kIsLight = true;
  using State = SixBitRuns;
  static constexpr int kSteps = 4;
  template <class Rows>
  static SLUICE_INLINE State begin(const Rows& rows, int64_t col) {
    return six_bit_runs(block_of<Encoding::kQ4_K>(rows, col / 256));
  }
  template <int kPair, class Rows, class Take>
  static SLUICE_INLINE void step(const Rows& rows, int64_t col, const State& runs, const Take& take) {
    I v[8];
    block_of<Encoding::kQ4_K>(rows, col / 256).template read<16 + 32 * kPair, 32>(v);
    Block block;
    set_run<2 * kPair>(runs, &block);
    SLUICE_UNROLL for (int j = 0; j < 8; ++j) block.q[j] = low_nibbles(v[j]);
    take(2 * kPair, block);
    set_run<2 * kPair + 1>(runs, &block);
    SLUICE_UNROLL for (int j = 0; j < 8; ++j) block.q[j] = high_nibbles(v[j]);
    take(2 * kPair + 1, block);
  }
  template <class Rows, class Take>
  static SLUICE_INLINE void eight(const Rows& rows, int64_t col, const Take& take) {
    all_steps<DecodeQ4_K>(rows, col, take);
  }
};

struct DecodeQ5_K
    : DecodeSuperblocks<DecodeQ5_K, PanelFormat<32, true, -1, false, pair_words(5), kLongSpan>> {
  static constexpr bool kIsFollowed = kVectorsAreLines;
  template <int pair, class BlockOf, class Take>
  static SLUICE_INLINE void take_pairs(const BlockOf& superblock, const SixBitRuns& runs, const I* high,
                                       const Take& take) {
    I v[8];
    superblock.template read<48 + 32 * pair, 32>(v);
    Block block;
    set_run<2 * pair>(runs, &block);
    SLUICE_UNROLL for (int j = 0; j < 8; ++j) {
      block.q[j] = i_or(low_nibbles(v[j]), one_bit<2 * pair, 4>(high[j]));
    }
    take(2 * pair, block);
    set_run<2 * pair + 1>(runs, &block);
    SLUICE_UNROLL for (int j = 0; j < 8; ++j) {
      block.q[j] = i_or(high_nibbles(v[j]), one_bit<2 * pair + 1, 4>(high[j]));
    }
    take(2 * pair + 1, block);
    if constexpr (pair < 3) take_pairs<pair + 1>(superblock, runs, high, take);
  }
  template <class Rows, class Take>
  static SLUICE_INLINE void eight(const Rows& rows, int64_t col, const Take& take) {
    const auto block = block_of<Encoding::kQ5_K>(rows, col / 256);
    const SixBitRuns runs = six_bit_runs(block);
    I high[8];
    block.template read<16, 32>(high);
    take_pairs<0>(block, runs, high, take);
  }
};

struct DecodeQ6_K
    : DecodeSuperblocks<DecodeQ6_K, PanelFormat<16, false, 5, false, pair_words(6), kLongSpan>> {
  struct Half {
    I low[16], two[8];
    F scale;
    const I* run_scales;
  };
  template <int i, int part, class Take>  // block i, the part-th of its half
  static SLUICE_INLINE void take_block(const Half& half, const Take& take) {
    Block block;
    block.scale[0] = f_mul(half.scale, s8_to_f<i % 2 * 2>(half.run_scales[i / 2]));
    block.scale[1] = f_mul(half.scale, s8_to_f<i % 2 * 2 + 1>(half.run_scales[i / 2]));
    SLUICE_UNROLL for (int j = 0; j < 8; ++j) {
      const I low = half.low[part % 2 * 8 + j];
      block.q[j] = i_or(part < 2 ? low_nibbles(low) : high_nibbles(low), two_bits<2 * part, 4>(half.two[j]));
    }
    take(i, block);
    if constexpr (part < 3) take_block<i + 1, part + 1>(half, take);
  }
  template <class Rows, class Take>
  static SLUICE_INLINE void eight(const Rows& rows, int64_t col, const Take& take) {
    const auto block = block_of<Encoding::kQ6_K>(rows, col / 256);
    I run_scales[4];
    Half half;
    half.scale = block.half();
    block.template read<192, 16>(run_scales);
    half.run_scales = run_scales;
    block.template read<0, 64>(half.low);
    block.template read<128, 32>(half.two);
    take_block<0, 0>(half, take);
    block.template read<64, 64>(half.low);
    block.template read<160, 32>(half.two);
    take_block<4, 0>(half, take);
  }
};

struct DecodeQ2_K
    : DecodeSuperblocks<DecodeQ2_K, PanelFormat<16, true, -1, false, pair_words(2), kLongSpan>> {
  struct Runs {
    F scale, neg_min;
    I both[4];  // four runs in each word: scales in the low nibbles, mins in the high ones
  };
  template <int i, class Take>  // block i and the rest of its half
  static SLUICE_INLINE void take_from(const Runs& runs, const I* v, const Take& take) {
    Block block;
    const I scales = low_nibbles(runs.both[i / 2]), mins = high_nibbles(runs.both[i / 2]);
    constexpr int kFirst = i % 2 * 2;
    block.scale[0] = f_mul(runs.scale, u8_to_f<kFirst>(scales));
    block.scale[1] = f_mul(runs.scale, u8_to_f<kFirst + 1>(scales));
    block.min[0] = f_mul(runs.neg_min, u8_to_f<kFirst>(mins));
    block.min[1] = f_mul(runs.neg_min, u8_to_f<kFirst + 1>(mins));
    SLUICE_UNROLL for (int j = 0; j < 8; ++j) block.q[j] = crumbs<i % 4 * 2>(v[j]);
    take(i, block);
    if constexpr (i % 4 < 3) take_from<i + 1>(runs, v, take);
  }
  template <class Rows, class Take>
  static SLUICE_INLINE void eight(const Rows& rows, int64_t col, const Take& take) {
    const auto block = block_of<Encoding::kQ2_K>(rows, col / 256);
    Runs runs;
    I both, v[8];
    block.template read<0, 16>(runs.both);
    block.template read<80, 4>(&both);
    runs.scale = f16_low(both);
    runs.neg_min = f_negate(f16_high(both));
    block.template read<16, 32>(v);
    take_from<0>(runs, v, take);
    block.template read<48, 32>(v);
    take_from<4>(runs, v, take);
  }
};

struct DecodeQ3_K
    : DecodeSuperblocks<DecodeQ3_K, PanelFormat<16, false, 2, false, pair_words(3), kLongSpan>> {
  template <int k>
  static SLUICE_INLINE F run_scale(F scale, I run_scales) {
    return f_mul(scale, f_sub(u8_to_f<k>(run_scales), f_set(32)));
  }
  template <int i, class Take>  // block i and the rest of its half
  static SLUICE_INLINE void take_from(F scale, const I* run_scales, const I* high, const I* v,
                                      const Take& take) {
    Block block;
    block.scale[0] = run_scale<i % 2 * 2>(scale, run_scales[i / 2]);
    block.scale[1] = run_scale<i % 2 * 2 + 1>(scale, run_scales[i / 2]);
    SLUICE_UNROLL for (int j = 0; j < 8; ++j) {
      block.q[j] = i_or(crumbs<i % 4 * 2>(v[j]), one_bit<i, 2>(high[j]));
    }
    take(i, block);
    if constexpr (i % 4 < 3) take_from<i + 1>(scale, run_scales, high, v, take);
  }
  template <class Rows, class Take>
  static SLUICE_INLINE void eight(const Rows& rows, int64_t col, const Take& take) {
    const auto block = block_of<Encoding::kQ3_K>(rows, col / 256);
    const F scale = block.half();
    I packed[3];
    block.template read<96, 12>(packed);
    const I run_scales[4] = {
        i_or(low_nibbles(packed[0]), i_shl<4>(crumbs<0>(packed[2]))),
        i_or(low_nibbles(packed[1]), i_shl<4>(crumbs<2>(packed[2]))),
        i_or(high_nibbles(packed[0]), i_shl<4>(crumbs<4>(packed[2]))),
        i_or(high_nibbles(packed[1]), i_shl<4>(crumbs<6>(packed[2]))),
    };
    I high[8], v[8];
    block.template read<0, 32>(high);
    block.template read<32, 32>(v);
    take_from<0>(scale, run_scales, high, v, take);
    block.template read<64, 32>(v);
    take_from<4>(scale, run_scales, high, v, take);
  }
};

struct DecodeIQ4_XS : DecodeSuperblocks<DecodeIQ4_XS, PanelFormat<32, false, 7, true, 1, kLongSpan>> {
  static constexpr bool kIsFollowed = kVectorsAreLines, kInTurns = kVectorsAreLines, kLooksUp = true,
                        kIsLight = true;
  struct State {
    F scale;
    I high, low;  // of the run scales: two bits each in the upper half, four bits each
  };
  static constexpr int kSteps = 2;
  template <int r, class Take>  // block r and the rest of its half
  static SLUICE_INLINE void take_from(const State& state, const I* v, const Take& take) {
    const I low = i_and(i_shr<4 * r>(state.low), i_set(15));
    const I high = i_and(i_shr<16 + 2 * r>(state.high), i_set(3));
    Block block;
    block.scale[0] = f_mul(state.scale, f_sub(i_to_f(i_or(low, i_shl<4>(high))), f_set(32)));
    levels_at<r % 4 * 16>(kWideLevels.at, v, block.q);
    take(r, block);
    if constexpr (r % 4 < 3) take_from<r + 1>(state, v, take);
  }
  template <class Rows>
  static SLUICE_INLINE State begin(const Rows& rows, int64_t col) {
    I head[4];
    block_of<Encoding::kIQ4_XS>(rows, col / 256).template read<0, 16>(head);
    return {f16_low(head[0]), head[0], head[1]};
  }
  template <int kHalf, class Rows, class Take>
  static SLUICE_INLINE void step(const Rows& rows, int64_t col, const State& state, const Take& take) {
    I v[16];
    block_of<Encoding::kIQ4_XS>(rows, col / 256).template read<8 + 64 * kHalf, 64>(v);
    take_from<4 * kHalf>(state, v, take);
  }
  template <class Rows, class Take>
  static SLUICE_INLINE void eight(const Rows& rows, int64_t col, const Take& take) {
    all_steps<DecodeIQ4_XS>(rows, col, take);
  }
};

// Word `j` (values 4j to 4j + 3, a byte each) of a stream of kBits-bit values.
template <int kBits, int j>
SLUICE_INLINE I stream_word(const I* stream) {
  constexpr int kBit = 4 * j * kBits, kWord = kBit / 32, kShift = kBit % 32;
  if constexpr (kShift + 4 * kBits > 32) {
    return spread_fields<kBits, 0>(i_or(i_shr<kShift>(stream[kWord]), i_shl<32 - kShift>(stream[kWord + 1])));
  } else {
    return spread_fields<kBits, kShift>(stream[kWord]);
  }
}
template <int kBits, int j>
SLUICE_INLINE void stream_words(const I* stream, I* q) {
  q[j] = stream_word<kBits, j>(stream);
  if constexpr (j < 7) stream_words<kBits, j + 1>(stream, q);
}
// 4 * kBits bytes, in pieces of 16 and a rest of 4, 8 or 12.
template <int kBits, class Row>
SLUICE_INLINE void load_stream(const Row& row, int64_t at, I* stream) {
  constexpr int kRest = 4 * kBits % 16;
  if constexpr (kBits >= 4) load_rows<16>(row, at, stream);
  if constexpr (kBits == 8) load_rows<16>(row, at + 16, stream + 4);
  if constexpr (kRest != 0) load_rows<kRest>(row, at + 4 * kBits - kRest, stream + kBits - kRest / 4);
}

// Words of two 16-bit scales each.
template <int kWords>
SLUICE_INLINE void widen_scales(const I* word, ScaleType type, F* out) {
  SLUICE_UNROLL for (int j = 0; j < kWords; ++j) {
    const bool is_f16 = type == ScaleType::kF16;
    out[2 * j] = is_f16 ? f16_low(word[j]) : as_f(i_shl<16>(word[j]));
    out[2 * j + 1] = is_f16 ? f16_high(word[j]) : as_f(i_and(word[j], i_set(0xffff0000)));
  }
}

// Entries [index, index + n) of a plane of scales, each from kLanes rows; n <= 16.
template <class Row>
SLUICE_INLINE void load_scales(const Row& row, ScaleType type, int64_t index, int64_t n, F* out) {
  I word[4];
  if (type == ScaleType::kF32) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
      load_rows<16>(row, 4 * (index + i), word);
      SLUICE_UNROLL for (int j = 0; j < 4; ++j) out[i + j] = as_f(word[j]);
    }
    for (; i < n; ++i) {
      load_rows<4>(row, 4 * (index + i), word);
      out[i] = as_f(word[0]);
    }
    return;
  }
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    load_rows<16>(row, 2 * (index + i), word);
    widen_scales<4>(word, type, out + i);
  }
  for (; i + 2 <= n; i += 2) {
    load_rows<4>(row, 2 * (index + i), word);
    widen_scales<1>(word, type, out + i);
  }
  if (i < n) {
    const I half = load_rows_u16(row, 2 * (index + i));
    out[i] = type == ScaleType::kF16 ? f16_low(half) : as_f(i_shl<16>(half));
  }
}

template <int kBits>
struct DecodeAffine : PanelFormat<32, true, kBits == 8 ? 7 : -1, kBits == 8, pair_words(kBits)> {
  using Block = PanelBlock<32, true>;
  static constexpr int kUnit = 32;
  static constexpr bool kHasScalePlanes = true, kIsFollowed = kVectorsAreLines, kIsLight = kBits == 8;
  // 8-bit values are counted from 128, so that the sums stay small.
  static SLUICE_INLINE F min_of(F scale, F min) {
    return DecodeAffine::kIsWide ? f_fma(scale, f_set(128), min) : min;
  }
  // put(b, scale, min) for each block b of n_cols <= 512 columns; col need not begin a group.
  template <class Rows, class Put>
  static void scales(const Rows& rows, int64_t col, int64_t n_cols, const Put& put) {
    const int64_t group = rows.params.group, first = col / group;
    const int64_t n = (col + n_cols - 1) / group - first + 1;
    F scale[16], min[16];
    load_scales(rows.plane[1], rows.params.scale_type, first, n, scale);
    load_scales(rows.plane[2], rows.params.scale_type, first, n, min);
    int64_t left = group - (col - first * group), i = 0;  // columns of group i still to come
    for (int64_t b = 0; b < n_cols / 32; ++b) {
      if (left == 0) {
        left = group;
        ++i;
      }
      left -= 32;
      put(b, scale[i], min_of(scale[i], min[i]));
    }
  }
  // Columns whose bytes fill 64, where that is a whole number of blocks.
  static constexpr int kBulk = kBits == 2 || kBits == 4 || kBits == 8 ? 512 / kBits : kUnit;
  // take(b, block) for each block of kCols (kBulk or kUnit) columns, which has its values alone.
  template <int kCols, class Rows, class Take>
  static SLUICE_INLINE void values(const Rows& rows, int64_t col, const Take& take) {
    I stream[16];
    if constexpr (kCols == kUnit)
      load_stream<kBits>(rows.plane[0], col / 8 * kBits, stream);
    else
      load_rows<64>(rows.plane[0], col / 8 * kBits, stream);
    SLUICE_UNROLL for (int b = 0; b < kCols / 32; ++b) {
      Block block;
      if constexpr (DecodeAffine::kIsWide) {
        SLUICE_UNROLL for (int j = 0; j < 8; ++j) block.q[j] = wide_from_unsigned(stream[b * kBits + j]);
      } else {
        stream_words<kBits, 0>(stream + b * kBits, block.q);
      }
      take(b, block);
    }
  }
  // take(b, block) for each block b of n_cols <= 512 columns; col begins two groups.
  template <class Take>
  static SLUICE_INLINE void blocks(const RowsOf<LaneRows>& rows, int64_t col, int64_t n_cols,
                                   const Take& take) {
    F scale[16], min[16];
    scales(rows, col, n_cols, [&](int64_t b, F block_scale, F block_min) SLUICE_LAMBDA_INLINE {
      scale[b] = block_scale;
      min[b] = block_min;
    });
    int64_t c = 0;
    const auto take_values = [&](int b, Block& block) SLUICE_LAMBDA_INLINE {
      block.scale[0] = scale[c / 32 + b];
      block.min[0] = min[c / 32 + b];
      take(c / 32 + b, block);
    };
    for (; c + kBulk <= n_cols; c += kBulk) values<kBulk>(rows, col + c, take_values);
    for (; c < n_cols; c += kUnit) values<kUnit>(rows, col + c, take_values);
  }
  // Here a word of 16-bit scales is one load, made where its two groups begin.
  template <class Take>
  static SLUICE_INLINE void blocks(const RowsOf<WovenLanes>& rows, int64_t col, int64_t n_cols,
                                   const Take& take) {
    const ScaleType type = rows.params.scale_type;
    const int64_t group = rows.params.group, n_halves = type == ScaleType::kF32 ? 1 : 2;
    int64_t c = 0;
    for (int64_t at = col / group * (4 / n_halves); c < n_cols; at += 4) {
      I word[2];
      F scale[2], min[2];
      load_rows<4>(rows.plane[1], at, word);
      load_rows<4>(rows.plane[2], at, word + 1);
      if (type == ScaleType::kF32) {
        scale[0] = scale[1] = as_f(word[0]);
        min[0] = min[1] = as_f(word[1]);
      } else {
        widen_scales<1>(word, type, scale);
        widen_scales<1>(word + 1, type, min);
      }
      for (int64_t half = 0; half < n_halves && c < n_cols; ++half) {
        const F block_scale = half == 0 ? scale[0] : scale[1];
        const F block_min = min_of(block_scale, half == 0 ? min[0] : min[1]);
        for (const int64_t end = c + group < n_cols ? c + group : n_cols; c < end; c += 32) {
          values<kUnit>(rows, col + c, [&](int, Block& block) SLUICE_LAMBDA_INLINE {
            block.scale[0] = block_scale;
            block.min[0] = block_min;
            take(c / 32, block);
          });
        }
      }
    }
  }
  // As other decoders do, but for the scales.
  template <int kCols, class Rows>
  static SLUICE_INLINE void put_values(const Rows& rows, int64_t col, Block* out) {
    values<kCols>(rows, col, [&](int b, const Block& block) SLUICE_LAMBDA_INLINE {
      SLUICE_UNROLL for (int j = 0; j < 8; ++j) out[b * kPanelGroups].q[j] = block.q[j];
    });
  }
  template <class Rows>
  static SLUICE_INLINE void unit(const Rows& rows, int64_t col, Block* out) {
    put_values<kUnit>(rows, col, out);
  }
  template <class Rows>
  static void put_scales(const Rows& rows, int64_t col, int64_t n_cols, Block* out) {
    scales(rows, col, n_cols, [&](int64_t b, F scale, F min) SLUICE_LAMBDA_INLINE {
      out[b * kPanelGroups].scale[0] = scale;
      out[b * kPanelGroups].min[0] = min;
    });
  }
};

template <Encoding kEncodingOf, class DecodeOf>
struct DecoderFor {
  static constexpr Encoding kEncoding = kEncodingOf;
  using Decode = DecodeOf;
};
// each(DecoderFor<...>()) for every encoding of integers.
template <class Each>
constexpr void for_each_decoder(const Each& each) {
  each(DecoderFor<Encoding::kQ4_0, DecodeQ4_0>());
  each(DecoderFor<Encoding::kQ4_1, DecodeQ4_1>());
  each(DecoderFor<Encoding::kQ5_0, DecodeQ5_0>());
  each(DecoderFor<Encoding::kQ5_1, DecodeQ5_1>());
  each(DecoderFor<Encoding::kQ8_0, DecodeQ8_0>());
  each(DecoderFor<Encoding::kQ2_K, DecodeQ2_K>());
  each(DecoderFor<Encoding::kQ3_K, DecodeQ3_K>());
  each(DecoderFor<Encoding::kQ4_K, DecodeQ4_K>());
  each(DecoderFor<Encoding::kQ5_K, DecodeQ5_K>());
  each(DecoderFor<Encoding::kQ6_K, DecodeQ6_K>());
  each(DecoderFor<Encoding::kIQ4_NL, DecodeIQ4_NL>());
  each(DecoderFor<Encoding::kIQ4_XS, DecodeIQ4_XS>());
  each(DecoderFor<Encoding::kMXFP4, DecodeMXFP4>());
  each(DecoderFor<Encoding::kAffine2, DecodeAffine<2>>());
  each(DecoderFor<Encoding::kAffine3, DecodeAffine<3>>());
  each(DecoderFor<Encoding::kAffine4, DecodeAffine<4>>());
  each(DecoderFor<Encoding::kAffine5, DecodeAffine<5>>());
  each(DecoderFor<Encoding::kAffine6, DecodeAffine<6>>());
  each(DecoderFor<Encoding::kAffine8, DecodeAffine<8>>());
}
