// Attention of up to kAttentionRows query rows over blocks of 64 keys, with an online softmax (Milakov and
// Gimelshein 2018; Dao et al. 2022).
//
// For each row and each block in ascending order, over the keys that the row sees:
//   score = scale * chain over d of fma(q[d], k[d], .)
//   m' = max(m, scores);  p = exp(score - m');  c = exp(m - m')
//   total = total * c + sum of p, 64 lanes in a fixed order
//   out[d] = chain over keys of fma(p, v[d], out[d] * c)
// and in the end out / total. Nothing depends on the other rows: they share loads, not sums. Keys that a row
// does not see are never multiplied, for they may be anything.

inline constexpr int64_t kBlockKeys = kKvBlockTokens;
inline constexpr int64_t kKeyDims = 128;  // dimensions of a transposed key block at a time
inline constexpr int kVectors = 4;        // vectors of keys or values in registers

template <KvType kType>
struct Kv;
template <>
struct Kv<KvType::kF32> {
  using Word = WordF32;
  static constexpr int64_t kBytes = 4;
  static F load(const std::byte* p) { return f_load(p); }
};
template <>
struct Kv<KvType::kF16> {
  using Word = WordF16;
  static constexpr int64_t kBytes = 2;
  static F load(const std::byte* p) { return f16_load(p); }
};
template <>
struct Kv<KvType::kBF16> {
  using Word = WordBF16;
  static constexpr int64_t kBytes = 2;
  static F load(const std::byte* p) { return bf16_load(p); }
};

// Dimensions [d, d + n) of keys [begin, end) to out [n][64]; beside them whatever the block holds there.
template <KvType kType>
inline void transpose_keys(const std::byte* keys, int64_t head_dim, int64_t begin, int64_t end, int64_t d,
                           int64_t n, float* out) {
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  for (int64_t first = begin / kLanes * kLanes; first < end; first += kLanes) {
    const LaneRows row = lane_rows(keys + first * head_dim * kBytes, head_dim * kBytes, kLanes);
    transpose_rows<typename Kv<kType>::Word>(row, d * kBytes, n * kBytes, out + first, kBlockKeys);
  }
}

// score [kRows][64] += q [kRows][n] x keys [n][64], or = if it is the first part.
template <int kRows>
inline void dot_keys(const float* const* q, const float* keys, int64_t n, bool is_first, float* score) {
  for (int64_t k = 0; k < kBlockKeys; k += kVectors * kLanes) {
    F sum[kRows][kVectors];
    SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
      SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) {
        sum[t][v] = is_first ? f_set(0) : f_load(score + t * kBlockKeys + k + v * kLanes);
      }
    }
    for (int64_t d = 0; d < n; ++d) {
      F key[kVectors];
      SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) key[v] =
          f_load(keys + d * kBlockKeys + k + v * kLanes);
      SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
        const F x = f_set(q[t][d]);
        SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) sum[t][v] = f_fma(x, key[v], sum[t][v]);
      }
    }
    SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
      SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) {
        f_store(score + t * kBlockKeys + k + v * kLanes, sum[t][v]);
      }
    }
  }
}
template <int kRows>
inline void dot_keys_some(int64_t n_rows, const float* const* q, const float* keys, int64_t n, bool is_first,
                          float* score) {
  if (n_rows == kRows) return dot_keys<kRows>(q, keys, n, is_first, score);
  if constexpr (kRows > 1) dot_keys_some<kRows - 1>(n_rows, q, keys, n, is_first, score);
}

// One row's running softmax.
struct Softmax {
  float maximum;
  float total;
  float correction;  // what the sums so far are multiplied with
};

// score [64] of one block to weights, in place; 0 outside [begin, end).
inline void softmax_block(float* score, float scale, int64_t begin, int64_t end, Softmax* state) {
  const float kNone = -__builtin_inff();
  for (int64_t k = 0; k < kBlockKeys; k += kLanes) f_store(score + k, f_mul(f_load(score + k), f_set(scale)));
  for (int64_t k = 0; k < begin; ++k) score[k] = kNone;
  for (int64_t k = end; k < kBlockKeys; ++k) score[k] = kNone;
  F greatest = f_set(kNone);
  for (int64_t k = 0; k < kBlockKeys; k += kLanes) greatest = f_max(greatest, f_load(score + k));
  const float block_maximum = f_max_lane(greatest);
  const float maximum = block_maximum > state->maximum ? block_maximum : state->maximum;
  float correction[kLanes];
  f_store(correction, f_exp(f_set(state->maximum - maximum)));
  F total = f_set(0);
  for (int64_t k = 0; k < kBlockKeys; k += kLanes) {
    const F weight = f_exp(f_sub(f_load(score + k), f_set(maximum)));
    f_store(score + k, weight);
    total = f_add(total, weight);
  }
  state->correction = correction[0];
  state->total = state->total * correction[0] + f_sum(total);
  state->maximum = maximum;
}

// `kN` vectors of values (the last one `part` wide, if not 0) of keys [begin, end) into kRows outputs.
template <KvType kType, int kRows, int kN>
inline void add_values(const std::byte* values, int64_t row_bytes, int64_t begin, int64_t end,
                       const float* weight, const Softmax* state, float* const* out, int64_t part) {
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  F sum[kRows][kN];
  SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
    const F correction = f_set(state[t].correction);
    SLUICE_UNROLL for (int v = 0; v < kN; ++v) {
      const F before = part == 0 ? f_load(out[t] + v * kLanes) : f_load_part(out[t], part);
      sum[t][v] = f_mul(before, correction);
    }
  }
  for (int64_t k = begin; k < end; ++k) {
    const std::byte* at = values + k * row_bytes;
    std::byte rest[kLanes * kBytes] = {};
    if (part != 0) {
      __builtin_memcpy(rest, at, static_cast<size_t>(part * kBytes));
      at = rest;
    }
    F value[kN];
    SLUICE_UNROLL for (int v = 0; v < kN; ++v) value[v] = Kv<kType>::load(at + v * kLanes * kBytes);
    SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
      const F w = f_set(weight[t * kBlockKeys + k]);
      SLUICE_UNROLL for (int v = 0; v < kN; ++v) sum[t][v] = f_fma(w, value[v], sum[t][v]);
    }
  }
  SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
    SLUICE_UNROLL for (int v = 0; v < kN; ++v) {
      if (part == 0)
        f_store(out[t] + v * kLanes, sum[t][v]);
      else
        f_store_part(out[t], sum[t][v], part);
    }
  }
}

// All head_dim values, for rows that see the same keys.
template <KvType kType, int kRows>
inline void add_values_some(int64_t n_rows, const std::byte* values, int64_t head_dim, int64_t begin,
                            int64_t end, const float* weight, const Softmax* state, float* const* out) {
  if constexpr (kRows > 1) {
    if (n_rows < kRows) {
      return add_values_some<kType, kRows - 1>(n_rows, values, head_dim, begin, end, weight, state, out);
    }
  }
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  int64_t d = 0;
  const auto at = [&](float** moved) {
    for (int t = 0; t < kRows; ++t) moved[t] = out[t] + d;
    return values + d * kBytes;
  };
  float* moved[kRows];
  for (; d + kVectors * kLanes <= head_dim; d += kVectors * kLanes) {
    const std::byte* v = at(moved);
    add_values<kType, kRows, kVectors>(v, head_dim * kBytes, begin, end, weight, state, moved, 0);
  }
  for (; d + kLanes <= head_dim; d += kLanes) {
    const std::byte* v = at(moved);
    add_values<kType, kRows, 1>(v, head_dim * kBytes, begin, end, weight, state, moved, 0);
  }
  if (d < head_dim) {
    const std::byte* v = at(moved);
    add_values<kType, kRows, 1>(v, head_dim * kBytes, begin, end, weight, state, moved, head_dim - d);
  }
}

template <KvType kType>
void attention_rows(const AttentionArgs& a) noexcept {
  const int64_t n_rows = a.row_end - a.row_begin;
  alignas(64) float keys[kKeyDims * kBlockKeys];
  alignas(64) float score[kAttentionRows * kBlockKeys];
  const float* q[kAttentionRows];
  float* out[kAttentionRows];
  Softmax state[kAttentionRows];
  int64_t first_key[kAttentionRows] = {}, end_key[kAttentionRows] = {};
  for (int64_t i = 0; i < n_rows; ++i) {
    const int64_t t = (a.row_begin + i) / a.group, head = (a.row_begin + i) % a.group;
    const int64_t position = a.first_position + t;
    q[i] = a.q + t * a.q_stride + head * a.head_dim;
    out[i] = a.out + t * a.out_stride + head * a.head_dim;
    end_key[i] = position + 1;
    first_key[i] = a.window > 0 && position + 1 > a.window ? position + 1 - a.window : 0;
    state[i] = {-__builtin_inff(), 0, 0};
    for (int64_t d = 0; d < a.head_dim; ++d) out[i][d] = 0;
  }

  // Both ends ascend with the row.
  for (int64_t block = first_key[0] / kBlockKeys; block * kBlockKeys < end_key[n_rows - 1]; ++block) {
    const int64_t base = block * kBlockKeys;
    int64_t begin[kAttentionRows], end[kAttentionRows];
    int64_t first_row = n_rows, end_row = 0;
    for (int64_t i = 0; i < n_rows; ++i) {
      begin[i] = first_key[i] > base ? first_key[i] - base : 0;
      end[i] = end_key[i] - base < kBlockKeys ? end_key[i] - base : kBlockKeys;
      if (begin[i] >= end[i]) continue;
      first_row = i < first_row ? i : first_row;
      end_row = i + 1;
    }
    const std::byte* block_keys = a.blocks[block] + a.k_offset;
    const std::byte* block_values = a.blocks[block] + a.v_offset;
    for (int64_t d = 0; d < a.head_dim; d += kKeyDims) {
      const int64_t n = a.head_dim - d < kKeyDims ? a.head_dim - d : kKeyDims;
      transpose_keys<kType>(block_keys, a.head_dim, begin[first_row], end[end_row - 1], d, n, keys);
      for (int64_t i = first_row; i < end_row;) {
        const int64_t n_tile = end_row - i < kTileInputs ? end_row - i : kTileInputs;
        const float* moved[kTileInputs];
        for (int64_t t = 0; t < n_tile; ++t) moved[t] = q[i + t] + d;
        dot_keys_some<kTileInputs>(n_tile, moved, keys, n, d == 0, score + i * kBlockKeys);
        i += n_tile;
      }
    }
    for (int64_t i = first_row; i < end_row; ++i) {
      softmax_block(score + i * kBlockKeys, a.scale, begin[i], end[i], &state[i]);
    }
    for (int64_t i = first_row; i < end_row;) {
      int64_t n_tile = 1;
      while (n_tile < kTileInputs && i + n_tile < end_row && begin[i + n_tile] == begin[i] &&
             end[i + n_tile] == end[i]) {
        ++n_tile;
      }
      add_values_some<kType, kTileInputs>(n_tile, block_values, a.head_dim, begin[i], end[i],
                                          score + i * kBlockKeys, state + i, out + i);
      i += n_tile;
    }
  }
  for (int64_t i = 0; i < n_rows; ++i) {
    const float inverse = 1.0f / state[i].total;
    for (int64_t d = 0; d < a.head_dim; ++d) out[i][d] *= inverse;
  }
}
