// Products of bf16 weights with inputs rounded to bf16 (to nearest even), two columns in one instruction.
//
// Output (t, r) is one chain in ascending pairs of columns, an odd last one beside a zero:
//   sum = VDPBF16PS(sum, weights, inputs)
// The products are exact in f32; how both are added to the sum is the CPU's. Denormal numbers count as zero.

inline constexpr int64_t kPairCols = 2;

SLUICE_INLINE F dot_bf16(F acc, I weights, I inputs) {
  return _mm512_dpbf16_ps(acc, __builtin_bit_cast(__m512bh, weights), __builtin_bit_cast(__m512bh, inputs));
}

// x [n] as pairs, in whole vectors of them.
inline void round_pairs(const float* x, int64_t n, uint32_t* pairs) {
  const auto put = [&](F low, F high) SLUICE_LAMBDA_INLINE {
    i_store(pairs, __builtin_bit_cast(I, _mm512_cvtne2ps_pbh(high, low)));
  };
  for (; n >= 2 * kLanes; n -= 2 * kLanes, x += 2 * kLanes, pairs += kLanes) {
    put(f_load(x), f_load(x + kLanes));
  }
  if (n == 0) return;
  float rest[2 * kLanes] = {};
  __builtin_memcpy(rest, x, static_cast<size_t>(n) * sizeof(float));
  put(f_load(rest), f_load(rest + kLanes));
}

// See table.h.
inline void round_rows(const float* const* rows, int64_t n, int64_t n_cols, RoundedInputs* out) noexcept {
  constexpr int64_t kAheadRows = 4;
  for (int64_t t = 0; t < n; ++t) {
    if (t + kAheadRows < n) {
      for (int64_t c = 0; c < n_cols; c += 16) prefetch(rows[t + kAheadRows] + c);
    }
    round_pairs(rows[t], n_cols, out->pair[t]);
  }
}

// Some columns of kLanes rows in each of kGroups groups, as pairs: where woven weights have them, or
// transposed here.
template <int64_t kCols, int kGroups>
struct PairPanel {
  static constexpr int64_t kUnit = 32;
  static_assert(kLanes == kWovenRows);
  const float* pairs[kGroups];  // [columns / kPairCols, kLanes] of each: bits, not numbers
  alignas(64) float transposed[kGroups][kCols / kPairCols][kLanes];

  static int64_t steps(int64_t cols) { return (cols + kUnit - 1) / kUnit * kGroups; }

  template <class Ahead>
  void put(const RowsOf<WovenLanes>* rows, int64_t col, int64_t n_cols, Ahead& ahead) {
    for (int g = 0; g < kGroups; ++g)
      pairs[g] = reinterpret_cast<const float*>(rows[g].plane[0].word(col * 2));
    for (int64_t i = 0; i < steps(n_cols); ++i) ahead.fetch();
  }
  template <class Ahead>
  void put(const RowsOf<LaneRows>* rows, int64_t col, int64_t n_cols, Ahead& ahead) {
    for (int64_t c = 0; c < n_cols; c += kUnit) {
      const int64_t n = n_cols - c < kUnit ? n_cols - c : kUnit;
      for (int g = 0; g < kGroups; ++g) {
        transpose_rows<WordF32>(rows[g].plane[0], (col + c) * 2, n * 2, transposed[g][c / kPairCols], kLanes);
        ahead.fetch();
      }
    }
    for (int g = 0; g < kGroups; ++g) pairs[g] = transposed[g][0];
  }

  // sum [kN][kGroups * kLanes] += panel x inputs, `x` of input 0, the others `apart` pairs from one to the
  // next.
  template <int kN>
  void dot(int64_t n_cols, const uint32_t* x, int64_t apart, float* sum) const {
    const float* at[kGroups];
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) at[g] = pairs[g];
    F total[kN][kGroups];
    SLUICE_UNROLL for (int t = 0; t < kN; ++t) {
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) total[t][g] = f_load(sum + (t * kGroups + g) * kLanes);
    }
    for (int64_t c = 0; c < (n_cols + 1) / kPairCols; ++c) {
      I w[kGroups];
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) w[g] = i_load(at[g] + c * kLanes);
      SLUICE_UNROLL for (int t = 0; t < kN; ++t) {
        const I two = i_set(x[t * apart + c]);
        SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) total[t][g] = dot_bf16(total[t][g], w[g], two);
      }
    }
    SLUICE_UNROLL for (int t = 0; t < kN; ++t) {
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) f_store(sum + (t * kGroups + g) * kLanes, total[t][g]);
    }
  }
};

// A few inputs, rounded for each panel anew.
template <int kGroupsOf>
struct BF16Product {
  static constexpr int kGroups = kGroupsOf, kInputs = kFloatInputs, kPlanes = 1, kInputStep = 1;
  static constexpr Lead kLead = Lead::kFar;
  static constexpr bool kTakesWoven = true, kIsFused = false;
  static constexpr int64_t kChunk = 128;
  using Panel = PairPanel<kChunk, kGroups>;
  static constexpr int64_t kUnit = Panel::kUnit;
  static int64_t steps(int64_t cols) { return Panel::steps(cols); }

  template <class Rows, class Ahead>
  static void decode(const Rows* rows, int64_t col, int64_t n_cols, Ahead& ahead, Panel* panel) {
    panel->put(rows, col, n_cols, ahead);
  }
  template <int kN>
  static void dot(const Panel& panel, int64_t col, int64_t n_cols, const std::byte* const* input,
                  float* sum) {
    alignas(64) uint32_t x[kN][kChunk / kPairCols];
    for (int t = 0; t < kN; ++t) round_pairs(reinterpret_cast<const float*>(input[t]) + col, n_cols, x[t]);
    panel.template dot<kN>(n_cols, x[0], kChunk / kPairCols, sum);
  }
};

// Woven weights times one input, without a panel: several chains of sums side by side.
struct BF16One {
  static constexpr int kGroups = 4, kInputs = 1, kPlanes = 1;
  static constexpr Lead kLead = Lead::kNone;
  static constexpr int64_t kUnit = kPairCols, kChunk = 512;
  static constexpr bool kIsFused = true;
  struct Panel {};
  static int64_t steps(int64_t cols) { return cols; }

  template <class Rows, class Ahead>
  static void multiply(const Rows* rows, int64_t col, int64_t n_cols, Ahead&, const std::byte* const* input,
                       float* sum) {
    alignas(64) uint32_t x[kChunk / kPairCols];
    round_pairs(reinterpret_cast<const float*>(input[0]) + col, n_cols, x);
    F total[kGroups];
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) total[g] = f_load(sum + g * kLanes);
    for (int64_t c = 0; c < n_cols / kPairCols; ++c) {
      const I two = i_set(x[c]);
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) {
        I word;
        load_rows<4>(rows[g].plane[0], (col / kPairCols + c) * kWovenWord, &word);
        total[g] = dot_bf16(total[g], word, two);
      }
    }
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) f_store(sum + g * kLanes, total[g]);
  }
};

// Many inputs.
struct PackedBF16 {
  using Inputs = RoundedInputs;
  using Panel = PairPanel<kPackedCols, kPanelGroups>;
  static constexpr int kGroups = kPanelGroups, kPlanes = 1;
  static constexpr Lead kLead = Lead::kFar;
  static constexpr int kTile = 12;  // inputs: 2 x 12 sums fill 24 of 32 registers
  static constexpr int64_t kFewest = kFewInputs + 1;
  static constexpr int64_t kInputBytes = sizeof(Inputs), kFetches = (kPackedRows + kTile - 1) / kTile;
  static int64_t steps(int64_t cols) { return Panel::steps(cols); }

  static void pack_inputs(const std::byte* const* input, int64_t n, int64_t col, int64_t n_cols,
                          Inputs* out) {
    const float* rows[kPackedRows];
    for (int64_t t = 0; t < n; ++t) rows[t] = reinterpret_cast<const float*>(input[t]) + col;
    round_rows(rows, n, n_cols, out);
  }
  template <class Rows, class Ahead>
  static void decode(const Rows* rows, int64_t col, int64_t n_cols, Ahead& ahead, Panel* panel) {
    panel->put(rows, col, n_cols, ahead);
  }
  static void dot(const Panel& panel, int64_t n_cols, const Inputs& x, const Inputs& /*next*/, int64_t n,
                  InputsAhead ahead, float* sum) {
    int64_t n_tiles = (n + kTile - 1) / kTile;
    for (int64_t t = 0; t < n; --n_tiles) {
      ahead.fetch();
      const int64_t n_tile = tile_size<1>(n - t, n_tiles);
      dot_some<kTile>(n_tile, panel, n_cols, x.pair[t], sum + t * kPanelGroups * kLanes);
      t += n_tile;
    }
  }

 private:
  // n <= kN of them.
  template <int kN>
  static void dot_some(int64_t n, const Panel& panel, int64_t n_cols, const uint32_t* x, float* sum) {
    if (n == kN) return panel.dot<kN>(n_cols, x, kPackedCols / kPairCols, sum);
    if constexpr (kN > 1) dot_some<kN - 1>(n, panel, n_cols, x, sum);
  }
};

inline void matmul_bf16(const MatmulArgs& a) noexcept {
  if (a.n_inputs >= PackedBF16::kFewest) return matmul_packed<PackedBF16>(a);
  if (a.n_inputs <= 2) {
    if (a.is_woven && a.n_inputs == 1) return multiply_rows<BF16One, Woven>(a);
    return matmul_rows<BF16Product<2>>(a);
  }
  matmul_rows<BF16Product<kFloatGroups>>(a);
}
