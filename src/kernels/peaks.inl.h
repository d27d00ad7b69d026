// What bounds the kernels of this instruction set, for measuring: products on registers alone, and reads of
// memory. Not part of any model's arithmetic.

// In independent sums, which hide the latency of the products.
inline int64_t int8_rounds(int64_t n, int32_t* sums) noexcept {
  using Format = PanelFormat<kActivationBlock, false, -1, false, pair_words(4)>;
  constexpr int kWords = Format::kRun / 4, kSums = Format::kPairWords > 1 ? 6 : 12;
  RunSum<Format> sum[kSums];
  SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i].begin(i_set(static_cast<uint32_t>(i)));
  I input = i_set(0x01020304);
  for (int64_t round = 0; round < n; ++round) {
    SLUICE_UNROLL for (int word = 0; word < kWords; ++word) {
      SLUICE_UNROLL for (int i = 0; i < kSums; ++i) {
        i_forget(input);  // or one product would serve all sums
        sum[i].add(word, i_set(0x05030201), input);
      }
    }
  }
  SLUICE_UNROLL for (int i = 1; i < kSums; ++i) sum[0].dot = i_add(sum[0].dot, sum[i].dot);
  i_store(sums, sum[0].dot);
  return n * kSums * kLanes * Format::kRun * 2;
}

inline int64_t f32_rounds(int64_t n, float* sums) noexcept {
  constexpr int kSums = 12;
  F sum[kSums];
  SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i] = f_set(static_cast<float>(i));
  const F weight = f_set(0.5f), input = f_set(0.25f);
  for (int64_t round = 0; round < n; ++round) {
    SLUICE_UNROLL for (int i = 0; i < kSums; ++i) sum[i] = f_fma(weight, input, sum[i]);
  }
  SLUICE_UNROLL for (int i = 1; i < kSums; ++i) sum[0] = f_add(sum[0], sum[i]);
  f_store(sums, sum[0]);
  return n * kSums * kLanes * 2;
}

// Four lines of each stream in turn.
template <int kStreams, bool kAhead>
inline I read_side_by_side(const std::byte* data, size_t stream_bytes, size_t ahead) noexcept {
  constexpr size_t kStepVectors = kReadStep / sizeof(I);
  I sum[4] = {i_set(0), i_set(0), i_set(0), i_set(0)};
  for (size_t at = 0; at + kReadStep <= stream_bytes; at += kReadStep) {
    SLUICE_UNROLL for (int s = 0; s < kStreams; ++s) {
      const std::byte* const p = data + static_cast<size_t>(s) * stream_bytes + at;
      if constexpr (kAhead) {  // past the end is harmless
        SLUICE_UNROLL for (size_t line = 0; line < kReadStep; line += 64) prefetch(p + ahead + line);
      }
      SLUICE_UNROLL for (size_t v = 0; v < kStepVectors; ++v) {
        sum[v % 4] = i_add(sum[v % 4], i_load(p + v * sizeof(I)));
      }
    }
  }
  return i_add(i_add(sum[0], sum[1]), i_add(sum[2], sum[3]));
}

template <int kStreams>
inline I read_stretches(const std::byte* data, size_t stream_bytes, size_t ahead) noexcept {
  return ahead > 0 ? read_side_by_side<kStreams, true>(data, stream_bytes, ahead)
                   : read_side_by_side<kStreams, false>(data, stream_bytes, ahead);
}

inline void read_streams(const std::byte* data, size_t stream_bytes, int n_streams, size_t ahead,
                         int32_t* sums) noexcept {
  i_store(sums, n_streams == 1   ? read_stretches<1>(data, stream_bytes, ahead)
                : n_streams == 2 ? read_stretches<2>(data, stream_bytes, ahead)
                : n_streams == 4 ? read_stretches<4>(data, stream_bytes, ahead)
                                 : read_stretches<8>(data, stream_bytes, ahead));
}
