// Rows of a weight times any number of input rows. A panel of rows is decoded once, some hundred columns at a
// time, into the first-level cache, and multiplied with all inputs before the next columns are decoded.

inline constexpr int64_t kInputBlock = 256;  // input rows whose sums are kept at a time
#if SLUICE_AMX
inline constexpr int64_t kBlockRows = 256;  // weight rows that many inputs are packed for
#else
inline constexpr int64_t kBlockRows = 128;
#endif

// Bytes of `chunk` columns of each plane of a row.
template <int kPlanes>
struct ChunkBytes {
  uint64_t plane[kPlanes];

  ChunkBytes(const MatmulArgs& a, int64_t chunk) {
    for (int p = 0; p < kPlanes; ++p) {
      plane[p] = a.row_bytes[p] * static_cast<uint64_t>(chunk) / static_cast<uint64_t>(a.cols);
    }
  }
};

// The columns that are decoded after the present ones, brought into the second-level cache meanwhile, a few
// lanes at a time.
template <int kPlanes>
class Ahead {
 public:
  // Chunk `index` of n_lanes rows from `row` on, `apart` rows from lane to lane.
  Ahead(const MatmulArgs& a, int64_t row, int64_t apart, int64_t n_lanes, const ChunkBytes<kPlanes>& bytes,
        uint64_t index, int64_t n_steps)
      : args_(a), row_(row), apart_(apart), left_(n_lanes), step_((n_lanes + n_steps - 1) / n_steps) {
    SLUICE_UNROLL for (int p = 0; p < kPlanes; ++p) {
      begin_[p] = bytes.plane[p] * index;
      end_[p] = begin_[p] + bytes.plane[p];
      if (end_[p] > a.row_bytes[p]) end_[p] = a.row_bytes[p];  // and nothing where that ends before it begins
    }
  }

  void fetch() {
    for (int64_t i = 0; i < step_ && left_ > 0 && row_ < args_.rows; ++i, --left_, row_ += apart_) {
      SLUICE_UNROLL for (int p = 0; p < kPlanes; ++p) {
        const std::byte* const start = args_.plane[p] + static_cast<uint64_t>(row_) * args_.stride[p];
        const std::byte* const end = start + end_[p];
        // A line that begins earlier belongs to the columns before.
        for (const std::byte* at = line_at(start + begin_[p]); at < end; at += 64) prefetch_far(at);
      }
    }
  }

 private:
  static const std::byte* line_at(const std::byte* p) {  // the first not before p
    return p + (-reinterpret_cast<uintptr_t>(p) & 63);
  }

  const MatmulArgs& args_;
  int64_t row_, apart_, left_, step_;
  uint64_t begin_[kPlanes], end_[kPlanes];  // bytes within a row
};

// A product has kGroups and kInputs, the groups of rows and the inputs that it multiplies at once;
// kInputStep, of which it takes multiples where it can; kChunk, the columns decoded at a time for many
// inputs; kShortChunk, the same for few inputs, where decoding and multiplying should overlap; kUnit, columns
// that one step decodes; and steps(), the pieces in which the rows of the next panel are fetched.

template <class Decode>
inline constexpr int kPlanesOf = Decode::kHasScalePlanes ? 3 : 1;

// How often decode_panel() fetches while it decodes `cols` columns, at least.
template <class Decode>
inline int64_t decode_steps(int64_t cols) {
  int64_t step = Decode::kHasEight ? 32 : Decode::kUnit;
  if constexpr (Decode::kHasScalePlanes) step = Decode::kBulk;
  return cols < step ? kPanelGroups : cols / step * kPanelGroups;
}

// n_cols <= 512 columns of kPanelGroups groups of rows.
template <class Decode>
inline void decode_panel(const Rows* rows, int64_t col, int64_t n_cols, Ahead<kPlanesOf<Decode>>& ahead,
                         typename Decode::Block (*block)[kPanelGroups]) {
  constexpr int64_t kUnit = Decode::kUnit;
  int64_t c = 0;
  if constexpr (Decode::kHasScalePlanes) {
    for (int g = 0; g < kPanelGroups; ++g) Decode::scales(rows[g], col, n_cols, &block[0][g]);
    if constexpr (Decode::kBulk > kUnit) {
      for (; c + Decode::kBulk <= n_cols; c += Decode::kBulk) {
        for (int g = 0; g < kPanelGroups; ++g) {
          Decode::bulk(rows[g], col + c, &block[c / 32][g]);
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

// Integer weights, int8 inputs.
template <class Decode>
struct Int8Product {
  static constexpr int kGroups = kPanelGroups, kInputs = kTileInputs, kPlanes = kPlanesOf<Decode>;
  static constexpr int kInputStep = 1;
  static constexpr int64_t kUnit = Decode::kUnit;
  static constexpr int64_t kChunk = 512;
  static constexpr int64_t kShortChunk = 512;
  struct alignas(64) Panel {
    typename Decode::Block block[kChunk / 32][kPanelGroups];
  };
  static int64_t steps(int64_t cols) { return decode_steps<Decode>(cols); }

  static void decode(const Rows* rows, int64_t col, int64_t n_cols, Ahead<kPlanes>& ahead, Panel* panel) {
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

// The same for one input: blocks are multiplied as they are decoded. It takes fewer rows at once, for the
// fewer the streams, the better the memory's prefetcher follows them.
template <class Decode>
struct Int8One {
  using Format = typename Decode::Format;
  using Block = typename Decode::Block;
  static constexpr int kGroups = kLanes < 16 ? 16 / kLanes : 1, kInputs = 1, kPlanes = kPlanesOf<Decode>;
  static constexpr int kInputStep = 1;
  static constexpr int64_t kUnit = Decode::kUnit, kChunk = 512, kShortChunk = 512;
  static constexpr bool kIsFused = true;
  struct Panel {};
  static int64_t steps(int64_t cols) { return cols / 32 * kGroups; }

  static void multiply(const Rows* rows, int64_t col, int64_t n_cols, Ahead<kPlanes>& ahead,
                       const std::byte* input, float* sum) {
    const ActivationBlock* const row = reinterpret_cast<const ActivationBlock*>(input) + col / 32;
    const RowInputs<Format> x{&row};
    for (int g = 0; g < kGroups; ++g, sum += kLanes) {
      F total[1][1] = {{f_load(sum)}};
      const auto add = [&](int64_t b, const Block& block) SLUICE_LAMBDA_INLINE {
        add_block<Format, 1, 1>(&block, b, x, total);
        ahead.fetch();
      };
      int64_t c = 0;
      if constexpr (Decode::kHasScalePlanes) {
        Block block[kChunk / 32 * kPanelGroups];
        Decode::scales(rows[g], col, n_cols, block);
        const auto add_from = [&](int64_t n) SLUICE_LAMBDA_INLINE {
          for (int64_t end = c + n; c < end; c += 32) add(c / 32, block[c / 32 * kPanelGroups]);
        };
        if constexpr (Decode::kBulk > kUnit) {
          while (c + Decode::kBulk <= n_cols) {
            Decode::bulk(rows[g], col + c, &block[c / 32 * kPanelGroups]);
            add_from(Decode::kBulk);
          }
        }
        while (c < n_cols) {
          Decode::unit(rows[g], col + c, &block[c / 32 * kPanelGroups]);
          add_from(kUnit);
        }
      } else {
        if constexpr (Decode::kHasEight) {
          for (; c + 256 <= n_cols; c += 256) {
            Decode::eight(rows[g], col + c,
                          [&](int i, const Block& block) SLUICE_LAMBDA_INLINE { add(c / 32 + i, block); });
          }
        }
        for (; c < n_cols; c += kUnit) {
          Block block[kUnit / 32 * kPanelGroups];
          Decode::unit(rows[g], col + c, block);
          for (int64_t i = 0; i < kUnit / 32; ++i) add(c / 32 + i, block[i * kPanelGroups]);
        }
      }
      f_store(sum, total[0][0]);
    }
  }
};

// Any weights, f32 inputs. `Source::columns(rows, col, n, out)` puts columns [col, col + n) of kLanes rows
// to out, `apart` floats from column to column; n <= Source::kUnit, less only at the end of a row.
template <class Source, int kGroupsOf = kFloatGroups>
struct F32Product {
  static constexpr int kGroups = kGroupsOf, kInputs = kFloatInputs, kPlanes = Source::kPlanes;
  static constexpr int kInputStep = 1;
  static constexpr int64_t kUnit = Source::kUnit;
  static constexpr int64_t kChunk = kUnit > 128 ? kUnit : 128;
  static constexpr int64_t kShortChunk = kChunk;
  struct alignas(64) Panel {
    float value[kChunk][kGroups * kLanes];
  };
  static int64_t steps(int64_t cols) { return (cols + kUnit - 1) / kUnit * kGroups; }
  static constexpr bool kIsFused = false;

  static void decode(const Rows* rows, int64_t col, int64_t n_cols, Ahead<kPlanes>& ahead, Panel* panel) {
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
  static void columns(const Rows& rows, int64_t col, int64_t, float* out, int64_t apart) {
    typename Decode::Block block[kUnit / 32 * kPanelGroups];
    if constexpr (Decode::kHasScalePlanes) Decode::scales(rows, col, kUnit, block);
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
inline void transpose_rows(const LaneRows& row, int64_t offset, int64_t n_bytes, float* out, int64_t apart) {
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
  for (int r = 0; r < kLanes; ++r) {
    __builtin_memcpy(rest[r], row.at(r, offset), static_cast<size_t>(n_bytes));
  }
  load_rows<16>(lane_rows(rest[0], sizeof rest[0], kLanes), 0, word);
  for (int j = 0; 4 * j < n_bytes; ++j, out += Word::kPerWord * apart) Word::put(word[j], out, apart);
}

template <class Word>
struct FloatSource {
  static constexpr int kPlanes = 1;
  static constexpr int64_t kUnit = 32;
  static void columns(const Rows& rows, int64_t col, int64_t n, float* out, int64_t apart) {
    constexpr int64_t kBytes = 4 / Word::kPerWord;
    transpose_rows<Word>(rows.plane[0], col * kBytes, n * kBytes, out, apart);
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

// How the rows of one task lie in the lanes of a panel: lane l holds rows [first + l * length, first + (l +
// 1) * length), one after another, so that memory sees long streams, which its prefetcher follows, instead of
// short pieces of neighbouring rows. Fewer rows than lanes are streams of one row; some lanes have none then.
struct Streams {
  int64_t first;
  int64_t length;
  int64_t n_lanes;  // with rows
};

// Row `step` of each stream, times all inputs, to output.
template <class Product>
inline void multiply_streams(const MatmulArgs& a, const Streams& streams, int64_t step,
                             const ChunkBytes<Product::kPlanes>& bytes, int64_t chunk,
                             const std::byte* const* input, int64_t first_input, int64_t n_inputs,
                             typename Product::Panel& panel, float* sum) {
  constexpr int64_t kRows = Product::kGroups * kLanes;
  const int64_t first = streams.first + step, apart = streams.length;
  Rows rows[Product::kGroups];
  for (int64_t g = 0; g < Product::kGroups; ++g) {
    const int64_t lane = g * kLanes < streams.n_lanes ? g * kLanes : streams.n_lanes - 1;
    rows[g] = rows_at(a, first + lane * apart, apart, streams.n_lanes - lane);
  }
  for (int64_t i = 0; i < n_inputs * kRows; ++i) sum[i] = 0;
  uint64_t index = 0;
  for (int64_t col = 0; col < a.cols; col += chunk) {
    const int64_t n_cols = a.cols - col < chunk ? a.cols - col : chunk;
    const bool is_last = col + chunk >= a.cols;
    const int64_t next = !is_last ? first : step + 1 < streams.length ? first + 1 : a.next_row;
    index = is_last ? 0 : index + 1;
    Ahead<Product::kPlanes> ahead(a, next, apart, kRows, bytes, index, Product::steps(n_cols));
    if constexpr (Product::kIsFused) {
      Product::multiply(rows, col, n_cols, ahead, input[0], sum);
    } else {
      Product::decode(rows, col, n_cols, ahead, &panel);
      int64_t n_tiles = (n_inputs + Product::kInputs - 1) / Product::kInputs;
      for (int64_t t = 0; t < n_inputs; --n_tiles) {
        const int64_t n = tile_size<Product::kInputStep>(n_inputs - t, n_tiles);
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

template <class Product>
void matmul_rows(const MatmulArgs& a) noexcept {
  constexpr int64_t kRows = Product::kGroups * kLanes;
  typename Product::Panel panel;
  alignas(64) float sum[kInputBlock * kRows];  // [input, row]
  const std::byte* input[kInputBlock];
  const int64_t chunk = a.n_inputs <= Product::kInputs ? Product::kShortChunk : Product::kChunk;
  const ChunkBytes<Product::kPlanes> bytes(a, chunk);
  const int64_t length = (a.row_end - a.row_begin) / kRows;
  const Streams streams{a.row_begin, length, kRows};
  const int64_t rest = a.row_begin + length * kRows;
  for (int64_t first = 0; first < a.n_inputs; first += kInputBlock) {
    const int64_t n_inputs = a.n_inputs - first < kInputBlock ? a.n_inputs - first : kInputBlock;
    for (int64_t t = 0; t < n_inputs; ++t) {
      const int64_t row = a.input_rows == nullptr ? first + t : a.input_rows[first + t];
      input[t] = a.input + row * a.input_stride;
    }
    for (int64_t step = 0; step < length; ++step) {
      multiply_streams<Product>(a, streams, step, bytes, chunk, input, first, n_inputs, panel, sum);
    }
    if (rest < a.row_end) {
      multiply_streams<Product>(a, {rest, 1, a.row_end - rest}, 0, bytes, chunk, input, first, n_inputs,
                                panel, sum);
    }
  }
}

// What matmul_packed() decodes at once.
template <class Format>
struct PackedPanel {
  alignas(64) typename Format::Block block[kPackedCols / 32][kPanelGroups];
};

// How matmul_packed() multiplies, by dot_int8(). Instruction sets that multiply matrices have others: tuned/.
template <class Format>
struct PackedProduct {
  static constexpr int64_t kFewest = 17;  // inputs; for fewer, memory is the limit and matmul_rows() better
  using Panel = PackedPanel<Format>;

  // What a panel needs besides decode_panel().
  static void prepare(Panel*, int64_t /*n_blocks*/) {}

  // sum [n][kPanelGroups * kLanes] += panel x inputs. `next` is what the next call will take.
  static void dot(const Panel& panel, int64_t n_blocks, const PackedInputs<Format>& x,
                  const PackedInputs<Format>& /*next*/, int64_t n, float* sum) {
    int64_t n_tiles = (n + kTileInputs - 1) / kTileInputs;
    for (int64_t t = 0; t < n; --n_tiles) {
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

// Many int8 inputs: blocked over the second-level cache, where the packed inputs of some columns stay while
// several panels of these columns are decoded into the first-level cache and multiplied.
template <class Decode, class Product>
inline void matmul_packed(const MatmulArgs& a) noexcept {
  using Format = typename Decode::Format;
  constexpr int64_t kRows = kPanelGroups * kLanes, kPanels = kBlockRows / kRows;
  typename Product::Panel panel;
  PackedInputs<Format> packed[kInputBlock / kPackedRows];
  alignas(64) float sum[kPanels][kInputBlock * kRows];  // [panel][input, row]
  const ChunkBytes<kPlanesOf<Decode>> bytes(a, kPackedCols);
  for (int64_t first = 0; first < a.n_inputs; first += kInputBlock) {
    const int64_t n_inputs = a.n_inputs - first < kInputBlock ? a.n_inputs - first : kInputBlock;
    for (int64_t block = a.row_begin; block < a.row_end; block += kBlockRows) {
      const int64_t end_row = a.row_end - block < kBlockRows ? a.row_end : block + kBlockRows;
      for (int64_t col = 0; col < a.cols; col += kPackedCols) {
        const int64_t n_cols = a.cols - col < kPackedCols ? a.cols - col : kPackedCols;
        for (int64_t t = 0; t < n_inputs; t += kPackedRows) {
          const ActivationBlock* input[kPackedRows];
          const int64_t n = n_inputs - t < kPackedRows ? n_inputs - t : kPackedRows;
          for (int64_t i = 0; i < n; ++i) {
            const int64_t row = a.input_rows == nullptr ? first + t + i : a.input_rows[first + t + i];
            input[i] = reinterpret_cast<const ActivationBlock*>(a.input + row * a.input_stride) + col / 32;
          }
          packed[t / kPackedRows].pack(input, n, n_cols / 32);
        }
        for (int64_t row = block, p = 0; row < end_row; row += kRows, ++p) {
          Rows rows[kPanelGroups];
          for (int64_t g = 0; g < kPanelGroups; ++g) {
            const int64_t at = row + g * kLanes < end_row ? row + g * kLanes : end_row - 1;
            rows[g] = rows_at(a, at, 1, end_row - at);
          }
          const bool is_last = row + kRows >= end_row;
          Ahead<kPlanesOf<Decode>> ahead(a, is_last ? block : row + kRows, 1, kRows, bytes,
                                         static_cast<uint64_t>(col / kPackedCols + (is_last ? 1 : 0)),
                                         decode_steps<Decode>(n_cols));
          decode_panel<Decode>(rows, col, n_cols, ahead, panel.block);
          Product::prepare(&panel, n_cols / 32);
          if (col == 0) {
            for (int64_t i = 0; i < n_inputs * kRows; ++i) sum[p][i] = 0;
          }
          for (int64_t t = 0; t < n_inputs; t += kPackedRows) {
            const int64_t n = n_inputs - t < kPackedRows ? n_inputs - t : kPackedRows;
            const PackedInputs<Format>* const x = &packed[t / kPackedRows];
            Product::dot(panel, n_cols / 32, *x, x[t + kPackedRows < n_inputs ? 1 : 0], n,
                         sum[p] + t * kRows);
          }
        }
      }
      for (int64_t t = 0; t < n_inputs; ++t) {
        float* const to = a.output + (first + t) * a.output_stride;
        for (int64_t row = block, p = 0; row < end_row; row += kRows, ++p) {
          store_lanes<kRows>(to + row, sum[p] + t * kRows, end_row - row);
        }
      }
    }
  }
}

// Few int8 inputs.
template <class Decode>
inline void matmul_few(const MatmulArgs& a) noexcept {
  if (a.n_inputs == 1) return matmul_rows<Int8One<Decode>>(a);
  matmul_rows<Int8Product<Decode>>(a);
}

template <class Decode>
void matmul_int8(const MatmulArgs& a) noexcept {
  using Product = PackedProduct<typename Decode::Format>;
  if (a.n_inputs < Product::kFewest) return matmul_few<Decode>(a);
  matmul_packed<Decode, Product>(a);
}

// Float inputs. A few of them take fewer rows at once: 64 streams are more than a prefetcher follows.
template <class Source>
void matmul_f32(const MatmulArgs& a) noexcept {
  constexpr int kFewGroups = kFloatGroups > 2 ? 2 : kFloatGroups;
  if (a.n_inputs <= 2) return matmul_rows<F32Product<Source, kFewGroups>>(a);
  matmul_rows<F32Product<Source, kFloatGroups>>(a);
}
