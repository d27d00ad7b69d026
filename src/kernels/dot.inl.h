// The innermost products: one panel of weights (kPanelGroups x kLanes rows, decoded) times a few input rows.
//
// Here the order rule is made. Output (t, r) is a single chain in ascending columns:
//   int8:  for each run of 32 (16) columns   sum = fma(float(dot), weight_scale * input_scale, sum)
//          and for encodings with a min       sum = fma(min, input_sum, sum)
//          where dot is an exact 32-bit integer; where 256 columns share an input_scale, they are such a
//          chain from 0 without it, called part, and then   sum = fma(part, input_scale, sum)
//   f32:   for each column                    sum = fma(weight, input, sum)
// and every shape of call goes through these functions, so nothing else can change the result. The int8
// chain has no freedom left: all instruction sets agree bit for bit.

// How a kernel sees its int8 input rows t, block b of 32 columns, `run` of Format::kRun columns in it.

// Rows as they were quantised.
template <class Format>
struct RowInputs {
  static constexpr int kRuns = 32 / Format::kRun;
  const ActivationBlock* const* row;

  const int8_t* q(int t, int64_t b, int run) const { return row[t][b].q + run * Format::kRun; }
  float scale(int t, int64_t b) const { return row[t][b].scale; }
  int32_t neg_q(int t, int64_t b, int run) const {
    return kRuns == 1 ? row[t][b].neg_q : row[t][b].neg_q16[run];
  }
  float sum(int t, int64_t b, int run) const { return kRuns == 1 ? row[t][b].sum : row[t][b].sum16[run]; }
};

// PackedInputs. With i8mm eight columns of rows 2p and 2p + 1 lie side by side, then the next eight: see
// tuned/gemm_pairs.inl.h.
#if SLUICE_NEON_I8MM
inline constexpr bool kPacksPairs = true;
#else
inline constexpr bool kPacksPairs = false;
#endif
// See table.h. Rows from n on keep what they held.
inline void pack(const ActivationBlock* const* rows, int64_t n, int64_t n_blocks,
                 PackedInputs* out) noexcept {
  constexpr int64_t kAheadRows = 4;
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t b = 0; b < n_blocks; ++b) {
      if (t + kAheadRows < n) prefetch(&rows[t + kAheadRows][b]);
      const ActivationBlock& block = rows[t][b];
      if constexpr (kPacksPairs) {
        int8_t* const to = out->q[b][t / 2 * 2] + t % 2 * 8;
        SLUICE_UNROLL for (int i = 0; i < kActivationBlock; i += 8)
            __builtin_memcpy(to + 2 * i, block.q + i, 8);
      } else {
        __builtin_memcpy(out->q[b][t], block.q, kActivationBlock);
      }
      out->scale[b][t] = block.scale;
      out->sum[b][t] = block.sum;
      out->neg_q[b][t] = block.neg_q;
      SLUICE_UNROLL for (int half = 0; half < 2; ++half) {
        out->sum16[b][half][t] = block.sum16[half];
        out->neg_q16[b][half][t] = block.neg_q16[half];
      }
    }
  }
}
// Packed rows from `first` on.
template <class Format>
struct PackedRows {
  static constexpr int kRuns = 32 / Format::kRun;
  const PackedInputs& inputs;
  int64_t first;

  const int8_t* q(int t, int64_t b, int run) const { return inputs.q[b][first + t] + run * Format::kRun; }
  float scale(int t, int64_t b) const { return inputs.scale[b][first + t]; }
  int32_t neg_q(int t, int64_t b, int run) const {
    return kRuns == 1 ? inputs.neg_q[b][first + t] : inputs.neg_q16[b][run][first + t];
  }
  float sum(int t, int64_t b, int run) const {
    return kRuns == 1 ? inputs.sum[b][first + t] : inputs.sum16[b][run][first + t];
  }
};

// The sum of the words of a run, each times a word of the input, from `start` on.
template <class Format>
struct RunSum {
  I dot;

  SLUICE_INLINE void begin(I start) { dot = start; }
  SLUICE_INLINE void add(int /*word*/, I weight, I input) {
    dot = Format::kIsWide ? dot_wide(dot, weight, input) : dot_narrow(dot, weight, input);
  }
};
#if SLUICE_ADDS_PAIRS
// Products of Format::kPairWords words are added in 16 bits before they are widened.
template <class Format>
requires(Format::kPairWords > 1) struct RunSum<Format> {
  static constexpr int kWords = Format::kRun / 4;
  static constexpr int kStretch = Format::kPairWords < kWords ? Format::kPairWords : kWords;
  I dot, pairs;

  SLUICE_INLINE void begin(I start) { dot = start; }
  SLUICE_INLINE void add(int word, I weight, I input) {
    const I both = pairs_of(weight, input);
    pairs = word % kStretch == 0 ? both : add_pairs(pairs, both);
    i_forget(pairs);  // see dot_narrow()
    if (word % kStretch == kStretch - 1) dot = i_add(dot, widen_pairs(pairs));
  }
};
#endif

// total += kGroups blocks of weights x block b of the inputs, but for the scale of a long span.
template <class Format, int kInputs, int kGroups, class Inputs>
SLUICE_INLINE void add_block(const typename Format::Block* block, int64_t b, const Inputs& x,
                             F (*total)[kGroups]) {
  constexpr int kRuns = 32 / Format::kRun, kWords = Format::kRun / 4;
  constexpr bool kHasZero = Format::kZeroShift >= 0 && !(Format::kIsWide && kWideIsSigned);
  SLUICE_UNROLL for (int run = 0; run < kRuns; ++run) {
    RunSum<Format> sum[kInputs][kGroups];
    SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
      I start = i_set(0);
      if constexpr (kHasZero) {
        start = i_shl<Format::kZeroShift>(i_set(static_cast<uint32_t>(x.neg_q(t, b, run))));
      }
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) sum[t][g].begin(start);
    }
    SLUICE_UNROLL for (int j = 0; j < kWords; ++j) {
      I w[kGroups];
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) w[g] = block[g].q[run * kWords + j];
      SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
        uint32_t four;
        __builtin_memcpy(&four, x.q(t, b, run) + 4 * j, 4);
        const I input = i_set(four);
        SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) sum[t][g].add(j, w[g], input);
      }
    }
    SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) {
        F scale = block[g].scale[run];
        if constexpr (Format::kSpan != kLongSpan) scale = f_mul(scale, f_set(x.scale(t, b)));
        total[t][g] = f_fma(i_to_f(sum[t][g].dot), scale, total[t][g]);
      }
      if constexpr (Format::kHasMin) {
        const F x_sum = f_set(x.sum(t, b, run));
        SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) {
          total[t][g] = f_fma(block[g].min[run], x_sum, total[t][g]);
        }
      }
    }
  }
}

template <int kInputs, int kGroups>
SLUICE_INLINE void set_zero(F (*part)[kGroups]) {
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) part[t][g] = f_set(0);
  }
}
// total += part, that of a long span of the inputs which begins with block b.
template <int kInputs, int kGroups, class Inputs>
SLUICE_INLINE void add_span(const F (*part)[kGroups], int64_t b, const Inputs& x, F (*total)[kGroups]) {
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    const F scale = f_set(x.scale(t, b));
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) total[t][g] = f_fma(part[t][g], scale, total[t][g]);
  }
}

// sum [kInputs][kPanelGroups * kLanes] += panel x inputs, for n blocks of 32 columns.
template <class Format, int kInputs, class Inputs>
inline void dot_int8(const typename Format::Block* panel, int64_t n_blocks, const Inputs& x, float* sum) {
  F total[kInputs][kPanelGroups];
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
      total[t][g] = f_load(sum + (t * kPanelGroups + g) * kLanes);
    }
  }
  constexpr int64_t kSpanBlocks = Format::kSpan / 32;
  for (int64_t b = 0; b < n_blocks; b += kSpanBlocks) {
    if constexpr (kSpanBlocks == 1) {
      add_block<Format, kInputs, kPanelGroups>(panel + b * kPanelGroups, b, x, total);
    } else {
      F part[kInputs][kPanelGroups];
      set_zero<kInputs>(part);
      for (int64_t i = b; i < b + kSpanBlocks; ++i) {
        add_block<Format, kInputs, kPanelGroups>(panel + i * kPanelGroups, i, x, part);
      }
      add_span<kInputs>(part, b, x, total);
    }
  }
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
      f_store(sum + (t * kPanelGroups + g) * kLanes, total[t][g]);
    }
  }
}

// The same for a panel of floats [n_cols][kGroups * kLanes].
template <int kInputs, int kGroups>
inline void dot_f32(const float* panel, int64_t n_cols, const float* const* input, float* sum) {
  F total[kInputs][kGroups];
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) {
      total[t][g] = f_load(sum + (t * kGroups + g) * kLanes);
    }
  }
  for (int64_t c = 0; c < n_cols; ++c, panel += kGroups * kLanes) {
    F w[kGroups];
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) w[g] = f_load(panel + g * kLanes);
    SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
      const F x = f_set(input[t][c]);
      SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) total[t][g] = f_fma(w[g], x, total[t][g]);
    }
  }
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kGroups; ++g) {
      f_store(sum + (t * kGroups + g) * kLanes, total[t][g]);
    }
  }
}
