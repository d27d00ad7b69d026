// Products with many int8 inputs by AMX tiles: 16 inputs x 16 weight rows of exact 32-bit integers at once.
// The integers are those of dot_int8() and go through the same chain of sums in the same order, so the
// results are equal bit for bit. What the tiles ask of weights, a word of four columns for each of sixteen
// rows, is what PanelBlock::q holds already.

static_assert(kPanelGroups == 2 && kLanes == 16 && kPackedRows == 32);

inline constexpr int kTileInputRows = 16;  // inputs of one tile

// Tiles 0-3 hold dots, 4-5 inputs [16][kRun], 6-7 weights [kRun / 4][16 words]. The state belongs to the
// thread, so it is set for the length of one call.
template <int kRun>
class TileScope {
 public:
  TileScope() {
    Config config = {};
    config.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      config.row_bytes[tile] = tile == 4 || tile == 5 ? kRun : 64;
      config.rows[tile] = tile < 6 ? kTileInputRows : kRun / 4;
    }
    asm volatile("" : : "r"(&config) : "memory");  // GCC's intrinsic names the first eight bytes alone
    _tile_loadconfig(&config);
  }
  ~TileScope() { _tile_release(); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;

 private:
  struct Config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
  static_assert(sizeof(Config) == 64);
};

// Dots of one run: [half of the inputs][group of weight rows][input][weight row].
struct alignas(64) TileDots {
  int32_t dot[2][kPanelGroups][kTileInputRows][kLanes];
};

template <class Format>
struct TiledProduct {
  using Block = typename Format::Block;
  static constexpr int64_t kFewest = 12;  // inputs; for fewer, memory is the limit and matmul_rows() better
  static constexpr int kRuns = 32 / Format::kRun;
  static constexpr bool kIsLong = Format::kSpan == kLongSpan;

  using Panel = PackedPanel<Format>;

  // Takes the zero point away: weights as signed bytes.
  static void prepare(Panel* panel, int64_t n_blocks) {
    if constexpr (Format::kZeroShift >= 0) {
      const I zero = i_set((1u << Format::kZeroShift) * 0x01010101u);
      Block* const block = &panel->block[0][0];
      for (int64_t i = 0; i < n_blocks * kPanelGroups; ++i) {
        SLUICE_UNROLL for (int j = 0; j < 8; ++j) block[i].q[j] = _mm512_sub_epi8(block[i].q[j], zero);
      }
    }
  }

  // sum [row][kPanelGroups * kLanes] += the dots of `run`, for kRows input rows from `first` on, all of one
  // half. Without the scale of a long span.
  template <int kRows>
  static SLUICE_INLINE void add_rows(const Block* panel, int64_t run, const PackedInputs& x,
                                     const TileDots& dots, int64_t first, float* sum) {
    const Block* const block = panel + run / kRuns * kPanelGroups;
    const float* const scales = &x.scale[run / kRuns][first];
    const float* const sums = &(kRuns == 1 ? x.sum[run] : x.sum16[run / kRuns][run % kRuns])[first];
    const auto* const dot = &dots.dot[first / kTileInputRows][0][first % kTileInputRows];
    float* const at = sum + first * kPanelGroups * kLanes;
    F scale[kPanelGroups], min[kPanelGroups];
    SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
      scale[g] = block[g].scale[run % kRuns];
      if constexpr (Format::kHasMin) min[g] = block[g].min[run % kRuns];
    }
    SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
      SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
        float* const to = at + (t * kPanelGroups + g) * kLanes;
        const F value = i_to_f(i_load(dot[g * kTileInputRows + t]));
        F total = f_fma(value, kIsLong ? scale[g] : f_mul(scale[g], f_set(scales[t])), f_load(to));
        if constexpr (Format::kHasMin) total = f_fma(min[g], f_set(sums[t]), total);
        f_store(to, total);
      }
    }
  }
  // A quarter of the input rows, as far as there are n.
  template <int kQuarter>
  static SLUICE_INLINE void add_quarter(const Block* panel, int64_t run, const PackedInputs& x,
                                        const TileDots& dots, int64_t n, float* sum) {
    constexpr int kRows = kTileInputRows / 2, kFirst = kQuarter * kRows;
    if (n >= kFirst + kRows) return add_rows<kRows>(panel, run, x, dots, kFirst, sum);
    for (int64_t t = kFirst; t < n; ++t) add_rows<1>(panel, run, x, dots, t, sum);
  }

  // kTileInputRows of them, kActivationBlock bytes apart.
  static SLUICE_INLINE const void* inputs(const PackedInputs& x, int64_t run, int half) {
    return x.q[run / kRuns][half * kTileInputRows] + run % kRuns * Format::kRun;
  }

  static SLUICE_INLINE const void* weights(const Block* panel, int64_t run, int group) {
    return panel[run / kRuns * kPanelGroups + group].q + run % kRuns * (Format::kRun / 4);
  }

  // The dots of run `next` by the tiles, between the sums of run `run` by the vectors, so that both are busy.
  // Without kAdd the first half alone.
  template <bool kAdd>
  static SLUICE_INLINE void step(const Block* panel, const PackedInputs& x, int64_t next, TileDots& next_dots,
                                 int64_t run, const TileDots& dots, int64_t n, float* sum) {
    const bool two = n > kTileInputRows;
    _tile_loadd(6, weights(panel, next, 0), 64);
    _tile_loadd(4, inputs(x, next, 0), kActivationBlock);
    _tile_zero(0);
    _tile_dpbssd(0, 4, 6);
    if constexpr (kAdd) add_quarter<0>(panel, run, x, dots, n, sum);
    _tile_loadd(7, weights(panel, next, 1), 64);
    _tile_zero(1);
    _tile_dpbssd(1, 4, 7);
    _tile_stored(0, next_dots.dot[0][0], 64);
    if constexpr (kAdd) add_quarter<1>(panel, run, x, dots, n, sum);
    if (two) {
      _tile_loadd(5, inputs(x, next, 1), kActivationBlock);
      _tile_zero(2);
      _tile_dpbssd(2, 5, 6);
    }
    _tile_stored(1, next_dots.dot[0][1], 64);
    if constexpr (kAdd) add_quarter<2>(panel, run, x, dots, n, sum);
    if (two) {
      _tile_zero(3);
      _tile_dpbssd(3, 5, 7);
      _tile_stored(2, next_dots.dot[1][0], 64);
    }
    if constexpr (kAdd) add_quarter<3>(panel, run, x, dots, n, sum);
    if (two) _tile_stored(3, next_dots.dot[1][1], 64);
  }

  static constexpr int64_t kFetches = kPackedCols / Format::kRun;

  // sum [n][kPanelGroups * kLanes] += panel x inputs.
  // Brings `next`, the inputs of the next call, into the first-level cache: tiles wait for their rows.
  static void dot(const Panel& decoded, int64_t n_blocks, const PackedInputs& x, const PackedInputs& next,
                  int64_t n, InputsAhead later, float* sum) {
    if constexpr (kIsLong) {
      static_assert(kPackedCols == kLongSpan);
      constexpr int64_t kRows = kPanelGroups * kLanes;
      alignas(64) float part[kPackedRows * kRows];
      for (int64_t i = 0; i < n * kRows; i += kLanes) f_store(part + i, f_set(0));
      add(decoded, n_blocks, x, next, n, later, part);
      for (int64_t t = 0; t < n; ++t) {
        const F scale = f_set(x.scale[0][t]);
        for (int64_t i = t * kRows; i < (t + 1) * kRows; i += kLanes) {
          f_store(sum + i, f_fma(f_load(part + i), scale, f_load(sum + i)));
        }
      }
    } else {
      add(decoded, n_blocks, x, next, n, later, sum);
    }
  }

  // The same without the scale of a long span.
  static void add(const Panel& decoded, int64_t n_blocks, const PackedInputs& x, const PackedInputs& next,
                  int64_t n, InputsAhead later, float* sum) {
    const Block* const panel = &decoded.block[0][0];
    TileDots dots[2];
    const int64_t n_runs = n_blocks * kRuns;
    step<false>(panel, x, 0, dots[0], 0, dots[1], n, sum);
    for (int64_t run = 0; run + 1 < n_runs; ++run) {
      later.fetch();
      constexpr int64_t kBytes = kPackedRows * Format::kRun;
      const auto* const ahead = reinterpret_cast<const std::byte*>(next.q) + run * kBytes;
      SLUICE_UNROLL for (int64_t at = 0; at < kBytes; at += 64) prefetch(ahead + at);
      step<true>(panel, x, run + 1, dots[(run + 1) % 2], run, dots[run % 2], n, sum);
    }
    const TileDots& last = dots[(n_runs - 1) % 2];
    add_quarter<0>(panel, n_runs - 1, x, last, n, sum);
    add_quarter<1>(panel, n_runs - 1, x, last, n, sum);
    add_quarter<2>(panel, n_runs - 1, x, last, n, sum);
    add_quarter<3>(panel, n_runs - 1, x, last, n, sum);
  }
};

// For fewer inputs there are avx512-vbmi and avx512.
template <class Decoder>  // a DecoderFor
void matmul_tiled(const MatmulArgs& a) noexcept {
  using Decode = typename Decoder::Decode;
  using Product = TiledProduct<typename Decode::Format>;
  if (a.n_inputs < Product::kFewest) {
    constexpr auto kEncoding = static_cast<size_t>(Decoder::kEncoding);
    constexpr auto kInt8 = static_cast<size_t>(Activation::kInt8);
    const MatmulFn few = avx512_vbmi::kChanges.matmul[kEncoding][kInt8];
    return (few != nullptr ? few : avx512::kTable.matmul[kEncoding][kInt8])(a);
  }
  const TileScope<Decode::kRun> scope;
  matmul_packed<PackedInt8<Decode, Product>>(a);
}

// The tiles' share of int8_rounds() in kernels.h.
inline int64_t tile_rounds(int64_t n, int32_t* sums) noexcept {
  alignas(64) std::byte bytes[4][1024];
  __builtin_memset(bytes, 1, sizeof bytes);
  const TileScope<64> scope;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, bytes[0], 64);
  _tile_loadd(5, bytes[1], 64);
  _tile_loadd(6, bytes[2], 64);
  _tile_loadd(7, bytes[3], 64);
  for (int64_t round = 0; round < n; ++round) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_stored(0, bytes[0], 64);
  __builtin_memcpy(sums, bytes[0], 64);
  return n * 4 * 16 * 16 * 64 * 2;
}
