// Products with several int8 inputs by i8mm: one instruction adds the products of two weight rows, two inputs
// and eight columns to four exact 32-bit integers. These are the integers of dot_int8() and go through the
// same chain of sums in the same order, so the results are equal bit for bit.
//
// Vectors of four here hold a pair of weight rows (r, r + 1) times a pair of inputs (t, t + 1):
//   (r, t) (r, t + 1) (r + 1, t) (r + 1, t + 1)

static_assert(kPanelGroups == 2 && kLanes == 4 && kPacksPairs);

inline constexpr int kRowPairs = kPanelGroups * kLanes / 2;
inline constexpr int kTilePairs = 2;  // of inputs: 2 x 4 sums and 2 x 4 dots fill 16 of 32 registers

SLUICE_INLINE I zip_low(I a, I b) { return vzip1q_u32(a, b); }
SLUICE_INLINE I zip_high(I a, I b) { return vzip2q_u32(a, b); }
SLUICE_INLINE I dot_pairs(I acc, I weights, I inputs) {
  return as_u32(vmmlaq_s32(as_s32(acc), vreinterpretq_s8_u32(weights), vreinterpretq_s8_u32(inputs)));
}

// How a kernel sees pairs of inputs: operands() gives columns [16 part, 16 part + 16) of a run of inputs 2p
// and 2p + 1, eight columns of both in each vector.

// Rows as they were quantised, an even number of them.
template <class Format>
struct RowPairs {
  RowInputs<Format> rows;

  void operands(int p, int64_t b, int run, int part, I* out) const {
    const I even = i_load(rows.q(2 * p, b, run) + 16 * part);
    const I odd = i_load(rows.q(2 * p + 1, b, run) + 16 * part);
    out[0] = low_pairs(even, odd);
    out[1] = high_pairs(even, odd);
  }
  F scale(int p, int64_t b) const { return both(rows.scale(2 * p, b), rows.scale(2 * p + 1, b)); }
  F sum(int p, int64_t b, int run) const {
    return both(rows.sum(2 * p, b, run), rows.sum(2 * p + 1, b, run));
  }
  static F both(float even, float odd) {
    const float32x2_t two = vset_lane_f32(odd, vdup_n_f32(even), 1);
    return vcombine_f32(two, two);
  }
};

// Packed ones, from pair `first` on.
template <class Format>
struct PackedPairs {
  static constexpr int kRuns = 32 / Format::kRun;
  const PackedInputs& inputs;
  int64_t first;

  void operands(int p, int64_t b, int run, int part, I* out) const {
    const int8_t* const at = inputs.q[b][2 * (first + p)] + 2 * run * Format::kRun + 32 * part;
    out[0] = i_load(at);
    out[1] = i_load(at + 16);
  }
  F scale(int p, int64_t b) const { return both(&inputs.scale[b][2 * (first + p)]); }
  F sum(int p, int64_t b, int run) const {
    return both(&(kRuns == 1 ? inputs.sum[b] : inputs.sum16[b][run])[2 * (first + p)]);
  }
  static F both(const float* from) {
    uint64_t two;
    __builtin_memcpy(&two, from, 8);
    return vreinterpretq_f32_u64(vdupq_n_u64(two));
  }
};

// How PackedInt8 multiplies.
template <class Format>
struct PairProduct {
  static constexpr int64_t kFewest = 4;  // inputs; the products of fewer do not pay for preparing the weights
  static constexpr int kInputs = 2 * kTilePairs;
  static constexpr int64_t kChunk = 512;
  static constexpr int kRuns = 32 / Format::kRun;
  // Of `block` the q alone, as signed bytes without zero point: q[2i + k] holds columns 8i to 8i + 7 of lanes
  // 2k and 2k + 1.
  struct alignas(64) Panel {
    typename Format::Block block[kChunk / 32][kPanelGroups];
    F scale[kChunk / Format::kRun][kRowPairs];
    F min[Format::kHasMin ? kChunk / Format::kRun : 1][kRowPairs];
  };

  static void prepare(Panel* panel, int64_t n_blocks) {
    for (int64_t b = 0; b < n_blocks; ++b) {
      SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
        typename Format::Block& block = panel->block[b][g];
        SLUICE_UNROLL for (int j = 0; j < 8; j += 2) {
          const I even = without_zero(block.q[j]), odd = without_zero(block.q[j + 1]);
          block.q[j] = zip_low(even, odd);
          block.q[j + 1] = zip_high(even, odd);
        }
        SLUICE_UNROLL for (int run = 0; run < kRuns; ++run) {
          each_twice(block.scale[run], &panel->scale[b * kRuns + run][2 * g]);
          if constexpr (Format::kHasMin) each_twice(block.min[run], &panel->min[b * kRuns + run][2 * g]);
        }
      }
    }
  }
  static I without_zero(I q) {
    if constexpr (Format::kZeroShift < 0 || (Format::kIsWide && kWideIsSigned)) return q;
    const uint8x16_t zero = vdupq_n_u8(1u << (Format::kZeroShift & 7));
    return vreinterpretq_u32_u8(vsubq_u8(vreinterpretq_u8_u32(q), zero));
  }
  static void each_twice(F x, F* out) {
    out[0] = as_f(zip_low(as_i(x), as_i(x)));
    out[1] = as_f(zip_high(as_i(x), as_i(x)));
  }

  // total += block b of the panel x block b of the inputs, but for the scale of a long span.
  template <int kPairs, class Inputs>
  static SLUICE_INLINE void add_block(const Panel& panel, int64_t b, const Inputs& x, F (*total)[kRowPairs]) {
    constexpr int kParts = Format::kRun / 16;
    SLUICE_UNROLL for (int run = 0; run < kRuns; ++run) {
      I dot[kPairs][kRowPairs];
      SLUICE_UNROLL for (int p = 0; p < kPairs; ++p) {
        SLUICE_UNROLL for (int r = 0; r < kRowPairs; ++r) dot[p][r] = i_set(0);
      }
      SLUICE_UNROLL for (int part = 0; part < kParts; ++part) {
        I input[kPairs][2];
        SLUICE_UNROLL for (int p = 0; p < kPairs; ++p) x.operands(p, b, run, part, input[p]);
        SLUICE_UNROLL for (int half = 0; half < 2; ++half) {
          const int j = 2 * (2 * (run * kParts + part) + half);
          SLUICE_UNROLL for (int r = 0; r < kRowPairs; ++r) {
            const I w = panel.block[b][r / 2].q[j + r % 2];
            SLUICE_UNROLL for (int p = 0; p < kPairs; ++p) {
              dot[p][r] = dot_pairs(dot[p][r], w, input[p][half]);
            }
          }
        }
      }
      SLUICE_UNROLL for (int p = 0; p < kPairs; ++p) {
        SLUICE_UNROLL for (int r = 0; r < kRowPairs; ++r) {
          F scale = panel.scale[b * kRuns + run][r];
          if constexpr (Format::kSpan != kLongSpan) scale = f_mul(scale, x.scale(p, b));
          total[p][r] = f_fma(i_to_f(dot[p][r]), scale, total[p][r]);
        }
        if constexpr (Format::kHasMin) {
          const F x_sum = x.sum(p, b, run);
          SLUICE_UNROLL for (int r = 0; r < kRowPairs; ++r) {
            total[p][r] = f_fma(panel.min[b * kRuns + run][r], x_sum, total[p][r]);
          }
        }
      }
    }
  }

  // total += part, that of a long span of the inputs which begins with block b.
  template <int kPairs, class Inputs>
  static SLUICE_INLINE void add_span(const F (*part)[kRowPairs], int64_t b, const Inputs& x,
                                     F (*total)[kRowPairs]) {
    SLUICE_UNROLL for (int p = 0; p < kPairs; ++p) {
      const F scale = x.scale(p, b);
      SLUICE_UNROLL for (int r = 0; r < kRowPairs; ++r) total[p][r] = f_fma(part[p][r], scale, total[p][r]);
    }
  }

  // sum [n][kPanelGroups * kLanes] += panel x inputs; n is 2 kPairs or one less.
  template <int kPairs, class Inputs>
  static void multiply(const Panel& panel, int64_t n_blocks, const Inputs& x, int64_t n, float* sum) {
    constexpr int kRows = kPanelGroups * kLanes;
    const int last = n == 2 * kPairs ? 1 : 0;  // input of the last pair
    const auto at = [&](int p, int t, int g) SLUICE_LAMBDA_INLINE {
      return sum + (2 * p + (p + 1 < kPairs || t < last ? t : last)) * kRows + g * kLanes;
    };
    F total[kPairs][kRowPairs];
    SLUICE_UNROLL for (int p = 0; p < kPairs; ++p) {
      SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
        const I even = i_load(at(p, 0, g)), odd = i_load(at(p, 1, g));
        total[p][2 * g] = as_f(zip_low(even, odd));
        total[p][2 * g + 1] = as_f(zip_high(even, odd));
      }
    }
    constexpr int64_t kSpanBlocks = Format::kSpan / 32;
    for (int64_t b = 0; b < n_blocks; b += kSpanBlocks) {
      if constexpr (kSpanBlocks == 1) {
        add_block<kPairs>(panel, b, x, total);
      } else {
        F part[kPairs][kRowPairs];
        set_zero<kPairs>(part);
        for (int64_t i = b; i < b + kSpanBlocks; ++i) add_block<kPairs>(panel, i, x, part);
        add_span<kPairs>(part, b, x, total);
      }
    }
    SLUICE_UNROLL for (int p = 0; p < kPairs; ++p) {
      SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
        // The first last: it may stand in for the second.
        f_store(at(p, 1, g), vuzp2q_f32(total[p][2 * g], total[p][2 * g + 1]));
        f_store(at(p, 0, g), vuzp1q_f32(total[p][2 * g], total[p][2 * g + 1]));
      }
    }
  }

  static constexpr int64_t kFetches = (kPackedRows + kInputs - 1) / kInputs;
  static void dot(const Panel& panel, int64_t n_blocks, const PackedInputs& x, const PackedInputs& /*next*/,
                  int64_t n, InputsAhead ahead, float* sum) {
    int64_t n_tiles = (n + kInputs - 1) / kInputs;
    for (int64_t t = 0; t < n; --n_tiles) {
      ahead.fetch();
      const int64_t n_tile = tile_size<2>(n - t, n_tiles);
      dot_packed<kTilePairs>(panel, n_blocks, {x, t / 2}, n_tile, sum + t * kPanelGroups * kLanes);
      t += n_tile;
    }
  }
  template <int kPairs>
  static SLUICE_INLINE void dot_packed(const Panel& panel, int64_t n_blocks, const PackedPairs<Format>& x,
                                       int64_t n, float* sum) {
    if (n > 2 * kPairs - 2) return multiply<kPairs>(panel, n_blocks, x, n, sum);
    if constexpr (kPairs > 1) dot_packed<kPairs - 1>(panel, n_blocks, x, n, sum);
  }
};

// A few inputs, as matmul_rows() asks for them.
template <class Decode>
struct FewPairs {
  using Format = typename Decode::Format;
  using Product = PairProduct<Format>;
  static constexpr int kGroups = kPanelGroups, kInputs = Product::kInputs, kPlanes = kPlanesOf<Decode>;
  static constexpr int kInputStep = 2;
  static constexpr Lead kLead = Lead::kFar;
  static constexpr bool kTakesWoven = true;
  static constexpr int64_t kUnit = Decode::kUnit;
  static constexpr int64_t kChunk = Product::kChunk;
  static constexpr bool kIsFused = false;
  using Panel = typename Product::Panel;
  static int64_t steps(int64_t cols) { return decode_steps<Decode>(cols); }

  template <class Rows, class Ahead>
  static void decode(const Rows* rows, int64_t col, int64_t n_cols, Ahead& ahead, Panel* panel) {
    decode_panel<Decode>(rows, col, n_cols, ahead, panel->block);
    Product::prepare(panel, n_cols / 32);
  }

  template <int kN>
  static void dot(const Panel& panel, int64_t col, int64_t n_cols, const std::byte* const* input,
                  float* sum) {
    constexpr int kPairs = (kN + 1) / 2;
    const ActivationBlock* x[2 * kPairs];
    for (int t = 0; t < 2 * kPairs; ++t) {
      x[t] = reinterpret_cast<const ActivationBlock*>(input[t < kN ? t : kN - 1]) + col / 32;
    }
    Product::template multiply<kPairs>(panel, n_cols / 32, RowPairs<Format>{{x}}, kN, sum);
  }
};

// For fewer inputs there is neon-dotprod.
template <class Decoder>  // a DecoderFor
void matmul_pairs(const MatmulArgs& a) noexcept {
  using Decode = typename Decoder::Decode;
  using Product = PairProduct<typename Decode::Format>;
  if (a.n_inputs < Product::kFewest) {
    constexpr auto kEncoding = static_cast<size_t>(Decoder::kEncoding);
    return neon_dotprod::kChanges.matmul[kEncoding][static_cast<size_t>(Activation::kInt8)](a);
  }
  if (a.n_inputs < PackedProduct<typename Decode::Format>::kFewest) return matmul_rows<FewPairs<Decode>>(a);
  matmul_packed<PackedInt8<Decode, Product>>(a);
}
