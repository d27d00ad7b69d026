// The innermost products: one panel of weights (kPanelGroups x kLanes rows, decoded) times a few input rows.
//
// Here the order rule is made. Output (t, r) is a single chain in ascending columns:
//   int8:  for each run of 32 (16) columns   sum = fma(float(dot), weight_scale * input_scale, sum)
//          and for encodings with a min       sum = fma(min, input_sum, sum)
//          where dot is an exact 32-bit integer
//   f32:   for each column                    sum = fma(weight, input, sum)
// and every shape of call goes through these functions, so nothing else can change the result. The int8
// chain has no freedom left: all instruction sets agree bit for bit.

// sum [kInputs][kPanelGroups * kLanes] += panel x inputs, for n blocks of 32 columns.
template <class Decode, int kInputs>
SLUICE_INLINE void dot_int8(const typename Decode::Block* panel, int64_t n_blocks,
                            const ActivationBlock* const* input, float* sum) {
  constexpr int kRuns = 32 / Decode::kRun, kWords = Decode::kRun / 4;
  constexpr bool kHasZero = Decode::kZeroShift >= 0 && !(Decode::kIsWide && kWideIsSigned);
  F total[kInputs][kPanelGroups];
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
      total[t][g] = f_load(sum + (t * kPanelGroups + g) * kLanes);
    }
  }
  for (int64_t b = 0; b < n_blocks; ++b, panel += kPanelGroups) {
    SLUICE_UNROLL for (int run = 0; run < kRuns; ++run) {
      I dot[kInputs][kPanelGroups];
      SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
        const ActivationBlock& x = input[t][b];
        I start = i_set(0);
        if constexpr (kHasZero) {
          const int32_t neg_q = kRuns == 1 ? x.neg_q : x.neg_q16[run];
          start = i_shl<Decode::kZeroShift>(i_set(static_cast<uint32_t>(neg_q)));
        }
        SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) dot[t][g] = start;
      }
      SLUICE_UNROLL for (int j = 0; j < kWords; ++j) {
        I w[kPanelGroups];
        SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) w[g] = panel[g].q[run * kWords + j];
        SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
          uint32_t four;
          __builtin_memcpy(&four, input[t][b].q + 4 * (run * kWords + j), 4);
          const I x = i_set(four);
          SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
            dot[t][g] = Decode::kIsWide ? dot_wide(dot[t][g], w[g], x) : dot_narrow(dot[t][g], w[g], x);
          }
        }
      }
      SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
        const ActivationBlock& x = input[t][b];
        const F scale = f_set(x.scale);
        SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
          total[t][g] = f_fma(i_to_f(dot[t][g]), f_mul(panel[g].scale[run], scale), total[t][g]);
        }
        if constexpr (Decode::kHasMin) {
          const F x_sum = f_set(kRuns == 1 ? x.sum : x.sum16[run]);
          SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
            total[t][g] = f_fma(panel[g].min[run], x_sum, total[t][g]);
          }
        }
      }
    }
  }
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kPanelGroups; ++g) {
      f_store(sum + (t * kPanelGroups + g) * kLanes, total[t][g]);
    }
  }
}

// The same for a panel of floats [n_cols][kFloatGroups * kLanes].
template <int kInputs>
SLUICE_INLINE void dot_f32(const float* panel, int64_t n_cols, const float* const* input, float* sum) {
  F total[kInputs][kFloatGroups];
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kFloatGroups; ++g) {
      total[t][g] = f_load(sum + (t * kFloatGroups + g) * kLanes);
    }
  }
  for (int64_t c = 0; c < n_cols; ++c, panel += kFloatGroups * kLanes) {
    F w[kFloatGroups];
    SLUICE_UNROLL for (int g = 0; g < kFloatGroups; ++g) w[g] = f_load(panel + g * kLanes);
    SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
      const F x = f_set(input[t][c]);
      SLUICE_UNROLL for (int g = 0; g < kFloatGroups; ++g) total[t][g] = f_fma(w[g], x, total[t][g]);
    }
  }
  SLUICE_UNROLL for (int t = 0; t < kInputs; ++t) {
    SLUICE_UNROLL for (int g = 0; g < kFloatGroups; ++g) {
      f_store(sum + (t * kFloatGroups + g) * kLanes, total[t][g]);
    }
  }
}
