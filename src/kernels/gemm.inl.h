// Rows of a weight times any number of input rows. A panel of rows is decoded once, some hundred columns at a
// time, into the first-level cache, and multiplied with all inputs before the next columns are decoded. One
// input row takes the same way: decoding costs less than reading the weights from memory does.

inline constexpr int kFloatRows = kFloatGroups * kLanes;
inline constexpr int64_t kInputBlock = 256;  // input rows whose sums are kept at a time
inline constexpr int64_t kAhead = 512;       // columns that weights are fetched ahead

// The columns of a panel that are decoded after the present ones, fetched meanwhile a few rows at a time.
struct Ahead {
  const MatmulArgs& args;
  int64_t row;  // next to fetch
  int64_t end_row;
  uint64_t begin[kMaxPlanes], end[kMaxPlanes];  // bytes within a row

  Ahead(const MatmulArgs& a, int64_t panel_row, int64_t panel_rows, int64_t col, int64_t chunk)
      : args(a), row(panel_row) {
    int64_t col_begin = col + chunk;
    if (col_begin >= a.cols) {
      col_begin = 0;
      row = panel_row + panel_rows < a.row_end ? panel_row + panel_rows : a.next_row;
    }
    const int64_t col_end = col_begin + chunk < a.cols ? col_begin + chunk : a.cols;
    end_row = row + panel_rows < a.rows ? row + panel_rows : a.rows;
    for (size_t p = 0; p < kMaxPlanes; ++p) {
      begin[p] = a.row_bytes[p] * static_cast<uint64_t>(col_begin) / static_cast<uint64_t>(a.cols);
      end[p] = a.row_bytes[p] * static_cast<uint64_t>(col_end) / static_cast<uint64_t>(a.cols);
    }
  }

  void fetch(int64_t n_rows) {
    for (const int64_t stop = row + n_rows < end_row ? row + n_rows : end_row; row < stop; ++row) {
      for (size_t p = 0; p < kMaxPlanes; ++p) {
        const std::byte* start = args.plane[p] + static_cast<uint64_t>(row) * args.stride[p];
        for (uint64_t at = begin[p]; at < end[p]; at += 64) prefetch(start + at);
      }
    }
  }
};

// A product has kGroups and kInputs, the groups of rows and the inputs that it multiplies at once; kChunk,
// the columns decoded at a time for many inputs; kShortChunk, the same for few inputs, where decoding and
// multiplying should overlap; and kUnit, columns that one step decodes.

// Integer weights, int8 inputs.
template <class Decode>
struct Int8Product {
  static constexpr int kGroups = kPanelGroups, kInputs = kTileInputs;
  static constexpr int64_t kUnit = Decode::kUnit;
  static constexpr int64_t kChunk = 512;
  static constexpr int64_t kShortChunk = 512;
  struct alignas(64) Panel {
    typename Decode::Block block[kChunk / 32][kPanelGroups];
  };

  static void decode(const Rows* rows, int64_t col, int64_t n_cols, int64_t fetch_rows, Ahead& ahead,
                     Panel* panel) {
    int64_t c = 0;
    if constexpr (Decode::kHasScalePlanes) {
      for (int g = 0; g < kPanelGroups; ++g) Decode::scales(rows[g], col, n_cols, &panel->block[0][g]);
      if constexpr (Decode::kBulk > kUnit) {
        for (; c + Decode::kBulk <= n_cols; c += Decode::kBulk) {
          for (int g = 0; g < kPanelGroups; ++g) {
            Decode::bulk(rows[g], col + c, &panel->block[c / 32][g]);
            ahead.fetch(fetch_rows * (Decode::kBulk / kUnit));
          }
        }
      }
    }
    for (; c < n_cols; c += kUnit) {
      for (int g = 0; g < kPanelGroups; ++g) {
        Decode::unit(rows[g], col + c, &panel->block[c / 32][g]);
        ahead.fetch(fetch_rows);
      }
    }
  }

  template <int kN>
  static void dot(const Panel& panel, int64_t col, int64_t n_cols, const std::byte* const* input,
                  float* sum) {
    const ActivationBlock* x[kN];
    for (int t = 0; t < kN; ++t) x[t] = reinterpret_cast<const ActivationBlock*>(input[t]) + col / 32;
    dot_int8<Decode, kN>(&panel.block[0][0], n_cols / 32, x, sum);
  }
};

// Any weights, f32 inputs. `Source::columns(rows, col, n, out)` puts columns [col, col + n) of kLanes rows
// to out, kFloatRows floats apart; n <= Source::kUnit, less only at the end of a row.
template <class Source>
struct F32Product {
  static constexpr int kGroups = kFloatGroups, kInputs = kFloatInputs;
  static constexpr int64_t kUnit = Source::kUnit;
  static constexpr int64_t kChunk = kUnit > 128 ? kUnit : 128;
  static constexpr int64_t kShortChunk = kUnit;
  struct alignas(64) Panel {
    float value[kChunk][kFloatRows];
  };

  static void decode(const Rows* rows, int64_t col, int64_t n_cols, int64_t fetch_rows, Ahead& ahead,
                     Panel* panel) {
    for (int64_t c = 0; c < n_cols; c += kUnit) {
      for (int g = 0; g < kGroups; ++g) {
        Source::columns(rows[g], col + c, n_cols - c < kUnit ? n_cols - c : kUnit,
                        &panel->value[c][g * kLanes]);
        ahead.fetch(fetch_rows);
      }
    }
  }

  template <int kN>
  static void dot(const Panel& panel, int64_t col, int64_t n_cols, const std::byte* const* input,
                  float* sum) {
    const float* x[kN];
    for (int t = 0; t < kN; ++t) x[t] = reinterpret_cast<const float*>(input[t]) + col;
    dot_f32<kN>(&panel.value[0][0], n_cols, x, sum);
  }
};

// The values of integer weights as floats.
template <class Decode>
struct IntegerSource {
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
  static void columns(const Rows& rows, int64_t col, int64_t, float* out) {
    typename Decode::Block block[kUnit / 32 * kPanelGroups];
    if constexpr (Decode::kHasScalePlanes) Decode::scales(rows, col, kUnit, block);
    Decode::unit(rows, col, block);
    for (int i = 0; i < kUnit / 4; ++i, out += 4 * kFloatRows) {
      const typename Decode::Block& b = block[i / 8 * kPanelGroups];
      const I word = b.q[i % 8];
      const int run = i % 8 * 4 / Decode::kRun;
      f_store(out, value(integer<0>(word), b, run));
      f_store(out + kFloatRows, value(integer<1>(word), b, run));
      f_store(out + 2 * kFloatRows, value(integer<2>(word), b, run));
      f_store(out + 3 * kFloatRows, value(integer<3>(word), b, run));
    }
  }
};

// Words of a row of float weights to kPerWord columns each.
struct WordF32 {
  static constexpr int kPerWord = 1;
  static void put(I word, float* out, int64_t) { f_store(out, as_f(word)); }
};
struct WordF16 {
  static constexpr int kPerWord = 2;
  static void put(I word, float* out, int64_t apart) {
    f_store(out, f16_low(word));
    f_store(out + apart, f16_high(word));
  }
};
struct WordBF16 {
  static constexpr int kPerWord = 2;
  static void put(I word, float* out, int64_t apart) {
    f_store(out, as_f(i_shl<16>(word)));
    f_store(out + apart, as_f(i_and(word, i_set(0xffff0000))));
  }
};

// The columns of kLanes rows of floats, `n_bytes` each from `offset` on, transposed to out, `apart` floats
// from column to column. Reads these bytes only; with an odd number of 16-bit values one more column of
// zeros is written.
template <class Word>
inline void transpose_rows(const std::byte* const* row, int64_t offset, int64_t n_bytes, float* out,
                           int64_t apart) {
  I line[16];
  for (; n_bytes >= 64; n_bytes -= 64, offset += 64) {
    load_rows<64>(row, offset, line);
    SLUICE_UNROLL for (int j = 0; j < 16; ++j, out += Word::kPerWord * apart) Word::put(line[j], out, apart);
  }
  I word[4];
  for (; n_bytes >= 16; n_bytes -= 16, offset += 16) {
    load_rows<16>(row, offset, word);
    SLUICE_UNROLL for (int j = 0; j < 4; ++j, out += Word::kPerWord * apart) Word::put(word[j], out, apart);
  }
  if (n_bytes == 0) return;
  std::byte rest[kLanes][16] = {};
  const std::byte* rest_row[kLanes];
  for (int r = 0; r < kLanes; ++r) {
    __builtin_memcpy(rest[r], row[r] + offset, static_cast<size_t>(n_bytes));
    rest_row[r] = rest[r];
  }
  load_rows<16>(rest_row, 0, word);
  for (int j = 0; 4 * j < n_bytes; ++j, out += Word::kPerWord * apart) Word::put(word[j], out, apart);
}

template <class Word>
struct FloatSource {
  static constexpr int64_t kUnit = 32;
  static void columns(const Rows& rows, int64_t col, int64_t n, float* out) {
    constexpr int64_t kBytes = 4 / Word::kPerWord;
    transpose_rows<Word>(rows.plane[0], col * kBytes, n * kBytes, out, kFloatRows);
  }
};

// n <= kN input rows.
template <class Product, int kN>
inline void dot_some(int64_t n, const typename Product::Panel& panel, int64_t col, int64_t n_cols,
                     const std::byte* const* input, float* sum) {
  if (n == kN) return Product::template dot<kN>(panel, col, n_cols, input, sum);
  if constexpr (kN > 1) dot_some<Product, kN - 1>(n, panel, col, n_cols, input, sum);
}

template <class Product>
void matmul_rows(const MatmulArgs& a) noexcept {
  constexpr int kRows = Product::kGroups * kLanes;
  typename Product::Panel panel;
  alignas(64) float sum[kInputBlock * kRows];  // [input, row]
  const std::byte* input[kInputBlock];
  for (int64_t first = 0; first < a.n_inputs; first += kInputBlock) {
    const int64_t n_inputs = a.n_inputs - first < kInputBlock ? a.n_inputs - first : kInputBlock;
    for (int64_t t = 0; t < n_inputs; ++t) {
      const int64_t row = a.input_rows == nullptr ? first + t : a.input_rows[first + t];
      input[t] = a.input + row * a.input_stride;
    }
    const int64_t chunk = n_inputs <= Product::kInputs ? Product::kShortChunk : Product::kChunk;
    for (int64_t row = a.row_begin; row < a.row_end; row += kRows) {
      Rows rows[Product::kGroups];
      for (int g = 0; g < Product::kGroups; ++g) rows[g] = rows_at(a, row + g * kLanes);
      for (int64_t i = 0; i < n_inputs * kRows; ++i) sum[i] = 0;
      for (int64_t col = 0; col < a.cols; col += kAhead) {
        const int64_t n_ahead = a.cols - col < kAhead ? a.cols - col : kAhead;
        const int64_t n_units = (n_ahead + Product::kUnit - 1) / Product::kUnit;
        const int64_t fetch_rows = (kLanes + n_units - 1) / n_units;
        Ahead ahead(a, row, kRows, col, kAhead);
        for (int64_t c = 0; c < n_ahead; c += chunk) {
          const int64_t n_cols = n_ahead - c < chunk ? n_ahead - c : chunk;
          Product::decode(rows, col + c, n_cols, fetch_rows, ahead, &panel);
          // Tiles of nearly equal size: the smallest are the least efficient.
          int64_t n_tiles = (n_inputs + Product::kInputs - 1) / Product::kInputs;
          for (int64_t t = 0; t < n_inputs; --n_tiles) {
            const int64_t n = (n_inputs - t + n_tiles - 1) / n_tiles;
            dot_some<Product, Product::kInputs>(n, panel, col + c, n_cols, input + t, sum + t * kRows);
            t += n;
          }
        }
      }
      const int64_t n_rows = a.row_end - row < kRows ? a.row_end - row : kRows;
      for (int64_t t = 0; t < n_inputs; ++t) {
        __builtin_memcpy(a.output + (first + t) * a.output_stride + row, sum + t * kRows,
                         static_cast<size_t>(n_rows) * sizeof(float));
      }
    }
  }
}
