// Rows of a weight times any number of input rows. A panel of rows is decoded once, some hundred columns at a
// time, into the first-level cache, and multiplied with all inputs before the next columns are decoded.

inline constexpr int64_t kInputBlock = 256;  // input rows whose sums are kept at a time

// A product has kGroups and kInputs, the groups of rows and the inputs that it multiplies at once; kChunk,
// the columns decoded at a time; kUnit, columns that one step decodes; kTakesWoven, whether weights may be
// woven; kLead; and steps(), how often the rows of the next panel are fetched while it decodes. One that
// kIsFused decodes again for each kInputs inputs, of which it takes no fewer; others have kInputStep, of
// which they take multiples where they can. How rows lie (layout.inl.h) is for each call to say.

template <class Decode>
inline constexpr int kPlanesOf = Decode::kHasScalePlanes ? 3 : 1;

// Int8 inputs that woven weights are multiplied with as they are decoded: at once, and in several tiles.
template <class Decode>
struct FusedInputs {
  static constexpr int kTile = Decode::kIsLight ? kFusedInputs : kFusedInputs / 2;
  static constexpr int kMost = kTile < 2 ? 1 : Decode::kIsLight ? 2 * kTile : kTile;
};

// How often decode_panel() fetches while it decodes `cols` columns, at least.
template <class Decode>
inline int64_t decode_steps(int64_t cols) {
  int64_t step = Decode::kHasEight ? 32 : Decode::kUnit;
  if constexpr (Decode::kHasScalePlanes) step = Decode::kBulk;
  return cols < step ? kPanelGroups : cols / step * kPanelGroups;
}

// n_cols <= 512 columns of kPanelGroups groups of rows.
template <class Decode, class Rows, class Ahead>
inline void decode_panel(const Rows* rows, int64_t col, int64_t n_cols, Ahead& ahead,
                         typename Decode::Block (*block)[kPanelGroups]) {
  constexpr int64_t kUnit = Decode::kUnit;
  int64_t c = 0;
  if constexpr (Decode::kHasScalePlanes) {
    for (int g = 0; g < kPanelGroups; ++g) Decode::put_scales(rows[g], col, n_cols, &block[0][g]);
    if constexpr (Decode::kBulk > kUnit) {
      for (; c + Decode::kBulk <= n_cols; c += Decode::kBulk) {
        for (int g = 0; g < kPanelGroups; ++g) {
          Decode::template put_values<Decode::kBulk>(rows[g], col + c, &block[c / 32][g]);
          ahead.fetch();
        }
      }
    }
  }
  if constexpr (Decode::kHasEight) {
    for (; c + 256 <= n_cols; c += 256) {
      for (int g = 0; g < kPanelGroups; ++g) {
        Decode::eight(rows[g], col + c,
                      [&](int i, const typename Decode::Block& decoded) SLUICE_LAMBDA_INLINE {
                        block[c / 32 + i][g] = decoded;
                        ahead.fetch();
                      });
      }
    }
  }
  for (; c < n_cols; c += kUnit) {
    for (int g = 0; g < kPanelGroups; ++g) {
      Decode::unit(rows[g], col + c, &block[c / 32][g]);
      ahead.fetch();
    }
  }
}

// Integer weights, few int8 inputs.
template <class Decode>
struct Int8Product {
  static constexpr int kGroups = kPanelGroups, kInputs = kTileInputs, kPlanes = kPlanesOf<Decode>;
  static constexpr int kInputStep = 1;
  static constexpr Lead kLead = Lead::kFar;
  static constexpr bool kTakesWoven = FusedInputs<Decode>::kMost < kFewInputs;
  static constexpr int64_t kUnit = Decode::kUnit;
  static constexpr int64_t kChunk = 256;
  struct alignas(64) Panel {
    typename Decode::Block block[kChunk / 32][kPanelGroups];
  };
  static int64_t steps(int64_t cols) { return decode_steps<Decode>(cols); }

  template <class Rows, class Ahead>
  static void decode(const Rows* rows, int64_t col, int64_t n_cols, Ahead& ahead, Panel* panel) {
    decode_panel<Decode>(rows, col, n_cols, ahead, panel->block);
  }

  template <int kN>
  static void dot(const Panel& panel, int64_t col, int64_t n_cols, const std::byte* const* input,
                  float* sum) {
    const ActivationBlock* x[kN];
    for (int t = 0; t < kN; ++t) x[t] = reinterpret_cast<const ActivationBlock*>(input[t]) + col / 32;
    using Format = typename Decode::Format;
    dot_int8<Format, kN>(&panel.block[0][0], n_cols / 32, RowInputs<Format>{x}, sum);
  }

  static constexpr bool kIsFused = false;
};

// The same for one input, and with woven weights for as many as leave a block its registers: it is multiplied
// as it is decoded. Takes fewer rows at once, for the fewer the streams, the better the memory's prefetcher
// follows them.
template <class Decode, int kInputsOf>
struct Int8Fused {
  using Format = typename Decode::Format;
  using Block = typename Decode::Block;
  static constexpr int kGroups = kLanes < 16 ? 16 / kLanes : 1, kInputs = kInputsOf;
  static constexpr int kPlanes = kPlanesOf<Decode>;
  static constexpr int64_t kUnit = Decode::kUnit, kChunk = 512;
  static constexpr bool kIsFused = true;
  static constexpr bool kTakesWoven = true;
  static constexpr Lead kLead = kInputs > 1           ? Lead::kFar
                                : Decode::kIsFollowed ? Lead::kNone
                                : kPlanes == 1        ? Lead::kNear
                                                      : Lead::kFar;
  static constexpr int kFetchEvery = kInputs > 1 || !kBlocksAreFollowed ? 2 : 1;  // blocks
  // With several inputs code for all blocks of a line takes long to compile and is hardly faster.
  static constexpr bool kIsShort = kInputs > 1 && kUnit == 32;
  struct Panel {};
  static int64_t steps(int64_t cols) { return (cols / 32 + kFetchEvery - 1) / kFetchEvery * kGroups; }

  template <class Rows, class Ahead>
  static void multiply(const Rows* rows, int64_t col, int64_t n_cols, Ahead& ahead,
                       const std::byte* const* input, float* sum) {
    constexpr int kRows = kGroups * kLanes;
    const ActivationBlock* row[kInputs];
    for (int t = 0; t < kInputs; ++t) row[t] = reinterpret_cast<const ActivationBlock*>(input[t]) + col / 32;
    const RowInputs<Format> x{row};
    for (int g = 0; g < kGroups; ++g, sum += kLanes) {
      F total[kInputs][1];
      SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) total[t][0] = f_load(sum + t * kRows);
      const auto add = [&](int64_t b, const Block& block) SLUICE_LAMBDA_INLINE {
        add_block<Format, kInputs, 1>(&block, b, x, total);
        if (b % kFetchEvery == 0) ahead.fetch();
      };
      if constexpr (Decode::kHasScalePlanes) {
        Decode::blocks(rows[g], col, n_cols, add);
      } else if constexpr (Format::kSpan == kLongSpan) {
        for (int64_t c = 0; c < n_cols; c += kLongSpan) {
          F part[kInputs][1];
          set_zero<kInputs>(part);
          Decode::eight(rows[g], col + c, [&](int i, const Block& block) SLUICE_LAMBDA_INLINE {
            add_block<Format, kInputs, 1>(&block, c / 32 + i, x, part);
            if (i % kFetchEvery == 0) ahead.fetch();
          });
          add_span<kInputs>(part, c / 32, x, total);
        }
      } else {
        int64_t c = 0;
        if constexpr (Decode::kHasEight && !kIsShort) {
          for (; c + 256 <= n_cols; c += 256) {
            Decode::eight(rows[g], col + c,
                          [&](int i, const Block& block) SLUICE_LAMBDA_INLINE { add(c / 32 + i, block); });
          }
        }
        if constexpr (kIsShort) {
          for (; c + 64 <= n_cols; c += 64) {
            const int64_t first = c;
            SLUICE_UNROLL for (int i = 0; i < 2; ++i) {
              Block block;
              Decode::unit(rows[g], col + first + 32 * i, &block);
              add(first / 32 + i, block);
            }
          }
        }
        for (; c < n_cols; c += 32) {
          Block block;
          Decode::unit(rows[g], col + c, &block);
          add(c / 32, block);
        }
      }
      SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) f_store(sum + t * kRows, total[t][0]);
    }
  }
};

// Woven rows times one long input, kTurnRows at once: a step of each group in turns.
template <class Decode>
struct Int8InTurns {
  using Format = typename Decode::Format;
  using Block = typename Decode::Block;
  static constexpr int kGroups = kTurnRows / kLanes, kInputs = 1, kPlanes = 1;
  static constexpr int64_t kUnit = Decode::kUnit, kChunk = 512;
  static constexpr bool kIsFused = true;
  static constexpr Lead kLead = Lead::kNone;
  struct Panel {};
  static int64_t steps(int64_t cols) { return cols; }

  template <class Rows, class Ahead>
  static void multiply(const Rows* rows, int64_t col, int64_t n_cols, Ahead&, const std::byte* const* input,
                       float* sum) {
    const ActivationBlock* row = reinterpret_cast<const ActivationBlock*>(input[0]) + col / 32;
    F total[kGroups][1][1];
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) total[g][0][0] = f_load(sum + g * kLanes);
    int64_t c = 0;
    for (; c + 256 <= n_cols; c += 256, row += 8) {
      typename Decode::State state[kGroups];
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) state[g] = Decode::begin(rows[g], col + c);
      const RowInputs<Format> x{&row};
      if constexpr (Format::kSpan == kLongSpan) {
        F part[kGroups][1][1];
        SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) set_zero<1>(part[g]);
        turns<0>(rows, col + c, state, x, part);
        SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) add_span<1>(part[g], 0, x, total[g]);
      } else {
        turns<0>(rows, col + c, state, x, total);
      }
    }
    if constexpr (kUnit == 32) {
      for (; c < n_cols; c += 32, ++row) {
        for (int g = 0; g < kGroups; ++g) {
          Block block;
          Decode::unit(rows[g], col + c, &block);
          add_block<Format, 1, 1>(&block, 0, RowInputs<Format>{&row}, total[g]);
        }
      }
    }
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) f_store(sum + g * kLanes, total[g][0][0]);
  }

 private:
  template <int kStep, class Rows>
  static SLUICE_INLINE void turns(const Rows* rows, int64_t col, const typename Decode::State* state,
                                  const RowInputs<Format>& x, F (*total)[1][1]) {
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) {
      Decode::template step<kStep>(rows[g], col, state[g],
                                   [&](int64_t b, const Block& block) SLUICE_LAMBDA_INLINE {
                                     add_block<Format, 1, 1>(&block, b, x, total[g]);
                                   });
    }
    if constexpr (kStep + 1 < Decode::kSteps) turns<kStep + 1>(rows, col, state, x, total);
  }
};

// Any weights, f32 inputs. `Source::columns(rows, col, n, out)` puts columns [col, col + n) of kLanes rows
// to out, `apart` floats from column to column; n <= Source::kUnit, less only at the end of a row.
template <class Source, int kGroupsOf = kFloatGroups>
struct F32Product {
  static constexpr int kGroups = kGroupsOf, kInputs = kFloatInputs, kPlanes = Source::kPlanes;
  static constexpr int kInputStep = 1;
  static constexpr Lead kLead = Lead::kFar;
  static constexpr bool kTakesWoven = Source::kTakesWoven;
  static constexpr int64_t kUnit = Source::kUnit;
  static constexpr int64_t kChunk = kUnit > 128 ? kUnit : 128;
  struct alignas(64) Panel {
    float value[kChunk][kGroups * kLanes];
  };
  static int64_t steps(int64_t cols) { return (cols + kUnit - 1) / kUnit * kGroups; }
  static constexpr bool kIsFused = false;

  template <class Rows, class Ahead>
  static void decode(const Rows* rows, int64_t col, int64_t n_cols, Ahead& ahead, Panel* panel) {
    for (int64_t c = 0; c < n_cols; c += kUnit) {
      for (int g = 0; g < kGroups; ++g) {
        Source::columns(rows[g], col + c, n_cols - c < kUnit ? n_cols - c : kUnit,
                        &panel->value[c][g * kLanes], kGroups * kLanes);
        ahead.fetch();
      }
    }
  }

  template <int kN>
  static void dot(const Panel& panel, int64_t col, int64_t n_cols, const std::byte* const* input,
                  float* sum) {
    const float* x[kN];
    for (int t = 0; t < kN; ++t) x[t] = reinterpret_cast<const float*>(input[t]) + col;
    dot_f32<kN, kGroups>(&panel.value[0][0], n_cols, x, sum);
  }
};

// The values of integer weights as floats.
template <class Decode>
struct IntegerSource {
  static constexpr bool kTakesWoven = false;  // see weave()
  static constexpr int kPlanes = kPlanesOf<Decode>;
  static constexpr int64_t kUnit = Decode::kUnit;

  template <int k>
  static F integer(I word) {
    if constexpr (Decode::kIsWide && kWideIsSigned) {
      return s8_to_f<k>(word);  // the zero point is in them
    } else {
      constexpr float kZero = Decode::kZeroShift < 0 ? 0 : 1 << (Decode::kZeroShift & 31);
      return f_sub(u8_to_f<k>(word), f_set(kZero));
    }
  }
  static F value(F integer, const typename Decode::Block& block, int run) {
    if constexpr (Decode::kHasMin)
      return f_fma(block.scale[run], integer, block.min[run]);
    else
      return f_mul(block.scale[run], integer);
  }
  template <class Rows>
  static void columns(const Rows& rows, int64_t col, int64_t, float* out, int64_t apart) {
    typename Decode::Block block[kUnit / 32 * kPanelGroups];
    if constexpr (Decode::kHasScalePlanes) Decode::put_scales(rows, col, kUnit, block);
    Decode::unit(rows, col, block);
    for (int i = 0; i < kUnit / 4; ++i, out += 4 * apart) {
      const typename Decode::Block& b = block[i / 8 * kPanelGroups];
      const I word = b.q[i % 8];
      const int run = i % 8 * 4 / Decode::kRun;
      f_store(out, value(integer<0>(word), b, run));
      f_store(out + apart, value(integer<1>(word), b, run));
      f_store(out + 2 * apart, value(integer<2>(word), b, run));
      f_store(out + 3 * apart, value(integer<3>(word), b, run));
    }
  }
};

// Words of a row of float weights as kPerWord columns each.
struct WordF32 {
  static constexpr int kPerWord = 1;
  static SLUICE_INLINE void columns(I word, F* out) { out[0] = as_f(word); }
};
struct WordF16 {
  static constexpr int kPerWord = 2;
  static SLUICE_INLINE void columns(I word, F* out) {
    out[0] = f16_low(word);
    out[1] = f16_high(word);
  }
};
struct WordBF16 {
  static constexpr int kPerWord = 2;
  static SLUICE_INLINE void columns(I word, F* out) {
    out[0] = as_f(i_shl<16>(word));
    out[1] = as_f(i_and(word, i_set(0xffff0000)));
  }
};
template <class Word>
SLUICE_INLINE void put_columns(I word, float* out, int64_t apart) {
  F column[Word::kPerWord];
  Word::columns(word, column);
  SLUICE_UNROLL for (int k = 0; k < Word::kPerWord; ++k) f_store(out + k * apart, column[k]);
}

// The less than 16 bytes of kLanes rows from `offset` on that a row ends with, and zeros after them.
SLUICE_INLINE void load_rest(const LaneRows& row, int64_t offset, int64_t n_bytes, I* word) {
  std::byte rest[kLanes][16] = {};
  for (int r = 0; r < kLanes; ++r) {
    __builtin_memcpy(rest[r], row.at(r, offset), static_cast<size_t>(n_bytes));
  }
  load_rows<16>(lane_rows(rest[0], sizeof rest[0], kLanes), 0, word);
}
SLUICE_INLINE void load_rest(const WovenLanes& row, int64_t offset, int64_t n_bytes, I* word) {
  for (int64_t at = 0; at < n_bytes; at += 4) load_rows<4>(row, offset + at, word + at / 4);
}

// The columns of kLanes rows of floats, `n_bytes` each from `offset` on, transposed to out, `apart` floats
// from column to column. Reads these bytes only; with an odd number of 16-bit values one more column of
// zeros is written.
template <class Word, class Row>
inline void transpose_rows(const Row& row, int64_t offset, int64_t n_bytes, float* out, int64_t apart) {
  I line[16];
  for (; n_bytes >= 64; n_bytes -= 64, offset += 64) {
    load_rows<64>(row, offset, line);
    SLUICE_UNROLL for (int j = 0; j < 16; ++j, out += Word::kPerWord * apart)
        put_columns<Word>(line[j], out, apart);
  }
  I word[4];
  for (; n_bytes >= 16; n_bytes -= 16, offset += 16) {
    load_rows<16>(row, offset, word);
    SLUICE_UNROLL for (int j = 0; j < 4; ++j, out += Word::kPerWord * apart)
        put_columns<Word>(word[j], out, apart);
  }
  if (n_bytes == 0) return;
  load_rest(row, offset, n_bytes, word);
  for (int j = 0; 4 * j < n_bytes; ++j, out += Word::kPerWord * apart) put_columns<Word>(word[j], out, apart);
}

template <class Word>
struct FloatSource {
  static constexpr bool kTakesWoven = true;
  static constexpr int kPlanes = 1;
  static constexpr int64_t kUnit = 32;
  template <class Rows>
  static void columns(const Rows& rows, int64_t col, int64_t n, float* out, int64_t apart) {
    constexpr int64_t kBytes = 4 / Word::kPerWord;
    transpose_rows<Word>(rows.plane[0], col * kBytes, n * kBytes, out, apart);
  }
};

// Woven floats times one input, without a panel: several chains of sums side by side.
template <class Word>
struct FloatOne {
  static constexpr int kGroups = 4, kInputs = 1, kPlanes = 1;
  static constexpr Lead kLead = Lead::kNone;
  static constexpr int64_t kUnit = 2, kChunk = 512;
  static constexpr bool kIsFused = true;
  struct Panel {};
  static int64_t steps(int64_t cols) { return cols; }

  template <class Rows, class Ahead>
  static void multiply(const Rows* rows, int64_t col, int64_t n_cols, Ahead&, const std::byte* const* input,
                       float* sum) {
    const float* const x = reinterpret_cast<const float*>(input[0]) + col;
    F total[kGroups];
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) total[g] = f_load(sum + g * kLanes);
    int64_t at = col * 4 / Word::kPerWord;
    for (int64_t c = 0; c < n_cols; c += Word::kPerWord, at += 4) {
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) {
        I word;
        load_rows<4>(rows[g].plane[0], at, &word);
        F column[Word::kPerWord];
        Word::columns(word, column);
        SLUICE_UNROLL for (int k = 0; k < Word::kPerWord; ++k) {
          total[g] = f_fma(column[k], f_set(x[c + k]), total[g]);
        }
      }
    }
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) f_store(sum + g * kLanes, total[g]);
  }
};

// Of the first of n_tiles tiles for n inputs. Tiles are of nearly equal size: small ones cost most.
template <int kStep>
inline int64_t tile_size(int64_t n, int64_t n_tiles) {
  const int64_t steps = (n + kStep - 1) / kStep, size = (steps + n_tiles - 1) / n_tiles * kStep;
  return size < n ? size : n;
}

// n <= kN input rows.
template <class Product, int kN>
inline void dot_some(int64_t n, const typename Product::Panel& panel, int64_t col, int64_t n_cols,
                     const std::byte* const* input, float* sum) {
  if (n == kN) return Product::template dot<kN>(panel, col, n_cols, input, sum);
  if constexpr (kN > 1) dot_some<Product, kN - 1>(n, panel, col, n_cols, input, sum);
}

// The rows of kRows lanes in order; only n lanes have rows.
template <int64_t kRows>
inline void store_lanes(float* to, const float* sum, int64_t n) {
  for (int64_t g = 0; g < kRows; g += kLanes) {
    if (n >= g + kLanes) {
      f_store(to + g, f_load(sum + g));
    } else if (n > g) {
      for (int lane = 0; lane < kLanes; ++lane) to[g + row_of_lane(lane, n - g)] = sum[g + lane];
    }
  }
}

// How the rows of one task lie in the lanes of its panels: lane l of panel `step` is row first + l * apart +
// step * per_step.
struct Streams {
  int64_t first, apart, per_step;
  int64_t n_lanes;  // with rows
  int64_t n_steps;
};

// Row `step` of each stream, times all inputs, to output.
template <class Product, class Layout>
inline void multiply_streams(const MatmulArgs& a, const Streams& streams, int64_t step,
                             const ChunkBytes<Product::kPlanes>& bytes, const std::byte* const* input,
                             int64_t first_input, int64_t n_inputs, typename Product::Panel& panel,
                             float* sum) {
  constexpr int64_t kRows = Product::kGroups * kLanes;
  const int64_t first = streams.first + step * streams.per_step, apart = streams.apart;
  typename Layout::Rows rows[Product::kGroups];
  for (int64_t g = 0; g < Product::kGroups; ++g) {
    const int64_t lane = g * kLanes < streams.n_lanes ? g * kLanes : streams.n_lanes - 1;
    rows[g] = Layout::rows_at(a, first + lane * apart, apart, streams.n_lanes - lane);
  }
  // Tiles of inputs; those of a fused product are full.
  const int64_t n_tiles = (n_inputs + Product::kInputs - 1) / Product::kInputs;
  const int64_t n_sums = (Product::kIsFused ? n_tiles * Product::kInputs : n_inputs) * kRows;
  for (int64_t i = 0; i < n_sums; ++i) sum[i] = 0;
  uint64_t index = 0;
  for (int64_t col = 0; col < a.cols; col += Product::kChunk) {
    const int64_t n_cols = a.cols - col < Product::kChunk ? a.cols - col : Product::kChunk;
    const bool is_last = col + Product::kChunk >= a.cols;
    const int64_t next = !is_last                     ? first
                         : step + 1 < streams.n_steps ? first + streams.per_step
                                                      : a.next_row;
    index = is_last ? 0 : index + 1;
    // Equal parts are fetched while the panel is decoded and before each tile of inputs.
    const int64_t n_fetches = Product::steps(n_cols);
    typename Layout::template AheadFor<Product> ahead(a, next, apart, kRows, bytes, index,
                                                      n_fetches * (!Product::kIsFused + n_tiles));
    if constexpr (Product::kIsFused) {
      for (int64_t t = 0; t < n_inputs; t += Product::kInputs) {
        Product::multiply(rows, col, n_cols, ahead, input + t, sum + t * kRows);
      }
    } else {
      Product::decode(rows, col, n_cols, ahead, &panel);
      int64_t n_left = n_tiles;
      for (int64_t t = 0; t < n_inputs; --n_left) {
        for (int64_t i = 0; i < n_fetches; ++i) ahead.fetch();
        const int64_t n = tile_size<Product::kInputStep>(n_inputs - t, n_left);
        dot_some<Product, Product::kInputs>(n, panel, col, n_cols, input + t, sum + t * kRows);
        t += n;
      }
    }
  }
  for (int64_t t = 0; t < n_inputs; ++t, sum += kRows) {
    float* const to = a.output + (first_input + t) * a.output_stride + first;
    if (streams.n_lanes == kRows) {
      for (int64_t lane = 0; lane < kRows; ++lane) to[lane * apart] = sum[lane];
    } else {
      store_lanes<kRows>(to, sum, streams.n_lanes);
    }
  }
}

template <class Product, class Layout>
inline void multiply_rows(const MatmulArgs& a) {
  constexpr int64_t kRows = Product::kGroups * kLanes;
  typename Product::Panel panel;
  alignas(64) float sum[kInputBlock * kRows];  // [input, row]
  const std::byte* input[kInputBlock];
  const ChunkBytes<Product::kPlanes> bytes(a, Product::kChunk);
  const int64_t n_steps = (a.row_end - a.row_begin) / kRows;
  const bool has_streams = Layout::kHasStreams;
  const Streams streams{a.row_begin, has_streams ? n_steps : 1, has_streams ? 1 : kRows, kRows, n_steps};
  const int64_t rest = a.row_begin + n_steps * kRows;
  for (int64_t first = 0; first < a.n_inputs; first += kInputBlock) {
    const int64_t n_inputs = a.n_inputs - first < kInputBlock ? a.n_inputs - first : kInputBlock;
    for (int64_t t = 0; t < n_inputs; ++t) {
      const int64_t row = a.input_rows == nullptr ? first + t : a.input_rows[first + t];
      input[t] = a.input + row * a.input_stride;
    }
    if constexpr (Product::kIsFused) {
      for (int64_t t = n_inputs; t % Product::kInputs != 0; ++t) input[t] = input[0];
    }
    for (int64_t step = 0; step < n_steps; ++step) {
      multiply_streams<Product, Layout>(a, streams, step, bytes, input, first, n_inputs, panel, sum);
    }
    if (rest < a.row_end) {  // lanes of one row each, some without any
      multiply_streams<Product, Layout>(a, {rest, 1, 1, a.row_end - rest, 1}, 0, bytes, input, first,
                                        n_inputs, panel, sum);
    }
  }
}

template <class Product>
void matmul_rows(const MatmulArgs& a) noexcept {
  if constexpr (Product::kTakesWoven) {
    if (a.is_woven) return multiply_rows<Product, Woven>(a);
  }
  multiply_rows<Product, RowMajor>(a);
}

// What PackedInt8 decodes at once.
template <class Format>
struct PackedPanel {
  alignas(64) typename Format::Block block[kPackedCols / 32][kPanelGroups];
};

// Inputs of the next columns, brought into the second-level cache while the present ones are multiplied: each
// panel fetches a part, by `n_fetches` calls of fetch().
class InputsAhead {
 public:
  // Null: nothing.
  InputsAhead(const void* inputs, int64_t n_bytes, int64_t part, int64_t n_parts, int64_t n_fetches) {
    if (inputs == nullptr) return;
    const int64_t bytes = (n_bytes / 64 + n_parts - 1) / n_parts * 64;
    const auto* const begin = static_cast<const std::byte*>(inputs);
    at_ = begin + part * bytes;
    end_ = (part + 1) * bytes < n_bytes ? at_ + bytes : begin + n_bytes;
    step_ = (bytes / 64 + n_fetches - 1) / n_fetches * 64;
  }

  void fetch() {
    const std::byte* const until = end_ - at_ < step_ ? end_ : at_ + step_;
    for (; at_ < until; at_ += 64) prefetch_far(at_);
  }

 private:
  const std::byte *at_ = nullptr, *end_ = nullptr;
  int64_t step_ = 0;
};

// How PackedInt8 multiplies, by dot_int8(). Instruction sets that multiply matrices have others: tuned/.
template <class Format>
struct PackedProduct {
  static constexpr int64_t kFewest = kFewInputs + 1;
  using Panel = PackedPanel<Format>;

  // What a panel needs besides decode_panel().
  static void prepare(Panel*, int64_t /*n_blocks*/) {}

  static constexpr int64_t kFetches =
      (kPackedRows + kTileInputs - 1) / kTileInputs;  // with kPackedRows inputs

  // sum [n][kPanelGroups * kLanes] += panel x inputs. `next` is what the next call will take, `ahead` what a
  // later one will.
  static void dot(const Panel& panel, int64_t n_blocks, const PackedInputs& x, const PackedInputs& /*next*/,
                  int64_t n, InputsAhead ahead, float* sum) {
    int64_t n_tiles = (n + kTileInputs - 1) / kTileInputs;
    for (int64_t t = 0; t < n; --n_tiles) {
      ahead.fetch();
      const int64_t n_tile = tile_size<1>(n - t, n_tiles);
      dot_some<kTileInputs>(n_tile, &panel.block[0][0], n_blocks, {x, t}, sum + t * kPanelGroups * kLanes);
      t += n_tile;
    }
  }

 private:
  // n <= kN of them.
  template <int kN>
  static void dot_some(int64_t n, const typename Format::Block* panel, int64_t n_blocks,
                       const PackedRows<Format>& x, float* sum) {
    if (n == kN) return dot_int8<Format, kN>(panel, n_blocks, x, sum);
    if constexpr (kN > 1) dot_some<kN - 1>(n, panel, n_blocks, x, sum);
  }
};

// Integer weights, many int8 inputs. `Dots` is PackedProduct or another way to the same bits.
template <class Decode, class Dots>
struct PackedInt8 {
  using Inputs = PackedInputs;
  using Panel = typename Dots::Panel;
  static constexpr int kGroups = kPanelGroups, kPlanes = kPlanesOf<Decode>;
  static constexpr Lead kLead = Lead::kFar;
  static constexpr int64_t kInputBytes = sizeof Inputs::q + sizeof Inputs::scale;  // what all dots read
  static constexpr int64_t kFetches = Dots::kFetches;                              // of them in a dot()
  static int64_t steps(int64_t cols) { return decode_steps<Decode>(cols); }

  static void pack_inputs(const std::byte* const* input, int64_t n, int64_t col, int64_t n_cols,
                          PackedInputs* out) {
    const ActivationBlock* rows[kPackedRows];
    for (int64_t t = 0; t < n; ++t) rows[t] = reinterpret_cast<const ActivationBlock*>(input[t]) + col / 32;
    pack(rows, n, n_cols / 32, out);
  }
  template <class Rows, class Ahead>
  static void decode(const Rows* rows, int64_t col, int64_t n_cols, Ahead& ahead, Panel* panel) {
    decode_panel<Decode>(rows, col, n_cols, ahead, panel->block);
    Dots::prepare(panel, n_cols / 32);
  }
  static void dot(const Panel& panel, int64_t n_cols, const PackedInputs& x, const PackedInputs& next,
                  int64_t n, InputsAhead ahead, float* sum) {
    Dots::dot(panel, n_cols / 32, x, next, n, ahead, sum);
  }
};

// Many inputs: blocked over the second-level cache, where the packed inputs of some columns stay while
// several panels of these columns are decoded into the first-level cache and multiplied. Inputs that did not
// come packed are packed here, for as many panels as there is room for sums.
template <class Product, class Layout>
inline void multiply_packed(const MatmulArgs& a) {
  using Inputs = typename Product::Inputs;
  constexpr int64_t kRows = kPanelGroups * kLanes;
  typename Product::Panel panel;
  Inputs buffer[kInputBlock / kPackedRows];
  alignas(64) float sum[kBlockRows * kInputBlock];  // [panel][input][row]
  const ChunkBytes<Product::kPlanes> bytes(a, kPackedCols);
  const int64_t n_chunks = (a.cols + kPackedCols - 1) / kPackedCols;
  const auto* const all_inputs = static_cast<const Inputs*>(a.packed);
  for (int64_t first = 0; first < a.n_inputs; first += kInputBlock) {
    const int64_t n_inputs = a.n_inputs - first < kInputBlock ? a.n_inputs - first : kInputBlock;
    const int64_t panel_sums = n_inputs * kRows, block_rows = kBlockRows * kInputBlock / panel_sums * kRows;
    for (int64_t block = a.row_begin; block < a.row_end; block += block_rows) {
      const int64_t end_row = a.row_end - block < block_rows ? a.row_end : block + block_rows;
      for (int64_t col = 0; col < a.cols; col += kPackedCols) {
        const int64_t n_cols = a.cols - col < kPackedCols ? a.cols - col : kPackedCols;
        const Inputs* packed = buffer;  // kPackedRows inputs, `apart` to the next
        int64_t apart = 1;
        if (all_inputs != nullptr) {
          packed = all_inputs + first / kPackedRows * n_chunks + col / kPackedCols;
          apart = n_chunks;
        } else {
          for (int64_t t = 0; t < n_inputs; t += kPackedRows) {
            const std::byte* input[kPackedRows];
            const int64_t n = n_inputs - t < kPackedRows ? n_inputs - t : kPackedRows;
            for (int64_t i = 0; i < n; ++i) {
              const int64_t row = a.input_rows == nullptr ? first + t + i : a.input_rows[first + t + i];
              input[i] = a.input + row * a.input_stride;
            }
            Product::pack_inputs(input, n, col, n_cols, &buffer[t / kPackedRows]);
          }
        }
        const bool is_last_col = col + kPackedCols >= a.cols;
        const int64_t n_panels = (end_row - block + kRows - 1) / kRows;
        for (int64_t row = block, p = 0; row < end_row; row += kRows, ++p) {
          typename Layout::Rows rows[kPanelGroups];
          for (int64_t g = 0; g < kPanelGroups; ++g) {
            const int64_t at = row + g * kLanes < end_row ? row + g * kLanes : end_row - 1;
            rows[g] = Layout::rows_at(a, at, 1, end_row - at);
          }
          const bool is_last = row + kRows >= end_row;
          // Equal parts are fetched while the panel is decoded and before each of the inputs' groups.
          const int64_t n_fetches = Product::steps(n_cols);
          typename Layout::template AheadFor<Product> ahead(
              a, is_last ? block : row + kRows, 1, kRows, bytes,
              static_cast<uint64_t>(col / kPackedCols + (is_last ? 1 : 0)),
              n_fetches * (1 + (n_inputs + kPackedRows - 1) / kPackedRows));
          Product::decode(rows, col, n_cols, ahead, &panel);
          float* const panel_sum = sum + p * panel_sums;
          if (col == 0) {
            for (int64_t i = 0; i < panel_sums; ++i) panel_sum[i] = 0;
          }
          for (int64_t t = 0; t < n_inputs; t += kPackedRows) {
            const int64_t n = n_inputs - t < kPackedRows ? n_inputs - t : kPackedRows;
            const Inputs* const x = packed + t / kPackedRows * apart;
            const InputsAhead ahead_inputs(all_inputs == nullptr || is_last_col ? nullptr : x + 1,
                                           Product::kInputBytes, p, n_panels, Product::kFetches);
            for (int64_t i = 0; i < n_fetches; ++i) ahead.fetch();
            Product::dot(panel, n_cols, *x, x[t + kPackedRows < n_inputs ? apart : 0], n, ahead_inputs,
                         panel_sum + t * kRows);
          }
        }
      }
      for (int64_t t = 0; t < n_inputs; ++t) {
        float* const to = a.output + (first + t) * a.output_stride;
        for (int64_t row = block, p = 0; row < end_row; row += kRows, ++p) {
          store_lanes<kRows>(to + row, sum + p * panel_sums + t * kRows, end_row - row);
        }
      }
    }
  }
}

template <class Product>
inline void matmul_packed(const MatmulArgs& a) noexcept {
  if (a.is_woven)
    multiply_packed<Product, Woven>(a);
  else
    multiply_packed<Product, RowMajor>(a);
}

// One int8 input.
template <class Decode>
inline void matmul_one(const MatmulArgs& a) noexcept {
  if constexpr (Decode::kInTurns) {
    MatmulArgs turns = a;
    turns.row_end -= (a.row_end - a.row_begin) % kTurnRows;
    if (a.is_woven && takes_turns(a.cols) && turns.row_begin < turns.row_end) {
      multiply_rows<Int8InTurns<Decode>, Woven>(turns);
      if (turns.row_end == a.row_end) return;
      MatmulArgs rest = a;
      rest.row_begin = turns.row_end;
      return multiply_rows<Int8Fused<Decode, 1>, Woven>(rest);
    }
  }
  matmul_rows<Int8Fused<Decode, 1>>(a);
}

// Woven rows times a few int8 inputs, in the fewest tiles of at most kMost. Some sizes of tiles do: each is a
// product of its own to compile.
template <class Decode, int kMost>
inline void matmul_fused(const MatmulArgs& a) noexcept {
  const int64_t n_tiles = (a.n_inputs + kMost - 1) / kMost, n = (a.n_inputs + n_tiles - 1) / n_tiles;
  if constexpr (kMost > 2) {
    constexpr int kLess = kMost > 4 ? kMost - 2 : kMost - 1;
    if (n <= kLess) return matmul_fused<Decode, kLess>(a);
  }
  multiply_rows<Int8Fused<Decode, kMost>, Woven>(a);
}

// Few int8 inputs.
template <class Decode>
inline void matmul_few(const MatmulArgs& a) noexcept {
  if (a.n_inputs == 1) return matmul_one<Decode>(a);
  using Fused = FusedInputs<Decode>;
  if constexpr (Fused::kMost > 1) {
    if (a.is_woven && a.n_inputs <= Fused::kMost) return matmul_fused<Decode, Fused::kTile>(a);
  }
  matmul_rows<Int8Product<Decode>>(a);
}

template <class Decode>
void matmul_int8(const MatmulArgs& a) noexcept {
  using Product = PackedProduct<typename Decode::Format>;
  if (a.n_inputs < Product::kFewest) return matmul_few<Decode>(a);
  matmul_packed<PackedInt8<Decode, Product>>(a);
}

// Float inputs. A few of them take fewer rows at once: 64 streams are more than a prefetcher follows.
template <class Source>
void matmul_f32(const MatmulArgs& a) noexcept {
  constexpr int kFewGroups = kFloatGroups > 2 ? 2 : kFloatGroups;
  if (a.n_inputs <= 2) return matmul_rows<F32Product<Source, kFewGroups>>(a);
  matmul_rows<F32Product<Source, kFloatGroups>>(a);
}

template <class Word>
void matmul_floats(const MatmulArgs& a) noexcept {
  if (a.is_woven && a.n_inputs == 1) return multiply_rows<FloatOne<Word>, Woven>(a);
  matmul_f32<FloatSource<Word>>(a);
}
