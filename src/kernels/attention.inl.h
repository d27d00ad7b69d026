// Attention of up to kAttentionRows query rows over one segment of the context, with an online softmax over
// its blocks of 64 keys (Milakov and Gimelshein 2018; Dao et al. 2022), and the merging of segments.
//
// For each row and each block of the segment in ascending order, over the keys that the row sees:
//   score = chain over d of fma(q[d], k[d], .), times the key's scale if keys are int8
//   m' = max(m, scores * s) with s = scale / ln 2;  p = 2^(score * s - m');  c = 2^(m - m')
//   total = total * c + sum of p, lane by lane, the lanes summed at the end of the segment
//   out[d] = chain over keys of fma(p, v[d], out[d] * c), p times the value's scale if values are int8
// and over segments in ascending order the same with 2^(m - m') for both sides. Nothing depends on the other
// rows: they share loads, not sums. Keys lie in lanes, so what a row does not see stays in lanes of its own;
// values that it does not see are never multiplied, for they may be anything.
//
// A few rows (decoding) take keys and values as they lie and convert them in registers: that is bound by
// reading memory, so each part fetches the next ahead. Many rows (prefill) share a panel of floats in the
// first-level cache. The sums are the same.

inline constexpr int64_t kBlockKeys = kKvBlockTokens;
inline constexpr int64_t kPanelDims = 128;                // dimensions of a panel
inline constexpr int kTileRows = 6;                       // query rows that share a panel's loads
inline constexpr int kTileVectors = kLanes == 8 ? 2 : 4;  // 6 x 4 sums of 32 registers, 6 x 2 of 16
inline constexpr int kDirectRows = 8;                     // so many or fewer rows use no panel
static_assert(kBlockKeys % (kTileVectors * kLanes) == 0 && kAttentionOutAlign % kLanes == 0);

template <KvType kType>
struct Kv;
template <>
struct Kv<KvType::kF32> {
  static constexpr int64_t kBytes = 4;
  SLUICE_INLINE static F load(const std::byte* p) { return f_load(p); }
};
template <>
struct Kv<KvType::kF16> {
  static constexpr int64_t kBytes = 2;
  SLUICE_INLINE static F load(const std::byte* p) { return f16_load(p); }
};
template <>
struct Kv<KvType::kBF16> {
  static constexpr int64_t kBytes = 2;
  SLUICE_INLINE static F load(const std::byte* p) { return bf16_load(p); }
};
template <>
struct Kv<KvType::kInt8> {
  static constexpr int64_t kBytes = 1;
  SLUICE_INLINE static F load(const std::byte* p) { return i8_load(p); }
};

// 2^x for x <= 0, within 2 ulp; 0 below -127, NaN for NaN. x = n + r with
// |r| <= 1/2; adding 1.5 * 2^23 leaves n in the low bits. The polynomial has relative error 4e-9.
SLUICE_INLINE F f_exp2(F x) {
  const F bounded = f_max(f_set(-127), x);
  const F shifted = f_add(bounded, f_set(12582912));
  const F r = f_sub(bounded, f_sub(shifted, f_set(12582912)));
  F e = f_set(0.000154697322f);
  e = f_fma(e, r, f_set(0.00134100008f));
  e = f_fma(e, r, f_set(0.00961803086f));
  e = f_fma(e, r, f_set(0.0555029735f));
  e = f_fma(e, r, f_set(0.240226507f));
  e = f_fma(e, r, f_set(0.693147242f));
  e = f_fma(e, r, f_set(1));
  return as_f(i_add(as_i(e), i_shl<23>(as_i(shifted))));
}
inline float exp2_of(float x) {
  float lanes[kLanes];
  f_store(lanes, f_exp2(f_set(x)));
  return lanes[0];
}

// Fetches a part of the cache ahead, a line now and then, into the second-level cache: lines on their way to
// the first would hold the few places that loads need. One line of each page in turn, since the hardware
// fetches ahead within a page.
struct Fetch {
  const std::byte* at;
  const std::byte* end;
  int64_t apart, back;

  Fetch(const std::byte* begin, int64_t n_bytes) : at(begin), end(begin + n_bytes) {
    int64_t n_streams = 1;
    while (n_streams < 8 && 2 * n_streams * 4096 <= n_bytes) n_streams *= 2;
    apart = n_bytes / n_streams;
    back = n_bytes - apart - 64;
  }
  SLUICE_INLINE void line() {
    __builtin_prefetch(at, 0, 2);
    const std::byte* next = at + apart;
    at = next < end ? next : at - back;
  }
  void lines(int64_t n) {
    for (int64_t i = 0; i < n; ++i) line();
  }
  // As many bytes as step i of a loop reads.
  template <int64_t kBytes>
  SLUICE_INLINE void step(int64_t i) {
    constexpr int64_t kEvery = kBytes < 64 ? 64 / kBytes : 1;
    if (i % kEvery != 0) return;
    SLUICE_UNROLL for (int64_t b = 0; b < kBytes; b += 64) line();
  }
};

struct NoFetch {
  template <int64_t kBytes>
  SLUICE_INLINE void step(int64_t) {}
};

// score [kRows][64] += q [kRows][n] x keys [n][64], or = if it is the first part. Meanwhile other
// things are fetched ahead.
template <KvType kType, int kRows, int kVectors, class Ahead>
inline void dot_keys(const float* const* q, const std::byte* keys, int64_t n, bool is_first, float* score,
                     Ahead& ahead) {
  Ahead in_registers = ahead;
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  const float* row[kRows];
  SLUICE_UNROLL for (int t = 0; t < kRows; ++t) row[t] = q[t];
  for (int64_t k = 0; k < kBlockKeys; k += kVectors * kLanes) {
    F sum[kRows][kVectors];
    SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
      SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) {
        sum[t][v] = is_first ? f_set(0) : f_load(score + t * kBlockKeys + k + v * kLanes);
      }
    }
    const std::byte* at = keys + k * kBytes;
    for (int64_t d = 0; d < n; ++d, at += kBlockKeys * kBytes) {
      F key[kVectors];
      SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) key[v] = Kv<kType>::load(at + v * kLanes * kBytes);
      in_registers.template step<kVectors * kLanes * kBytes>(d);
      SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
        const F x = f_set(row[t][d]);
        SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) sum[t][v] = f_fma(x, key[v], sum[t][v]);
      }
    }
    SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
      SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) {
        f_store(score + t * kBlockKeys + k + v * kLanes, sum[t][v]);
      }
    }
  }
  ahead = in_registers;
}

// `kVectors` vectors of the values of keys [begin, end), `row_bytes` apart, into kRows outputs, `stride`
// floats apart.
template <KvType kType, int kRows, int kVectors, class Ahead>
inline void add_values(const std::byte* values, int64_t row_bytes, int64_t begin, int64_t end,
                       const float* weight, const float* correction, float* out, int64_t stride,
                       Ahead& ahead) {
  Ahead in_registers = ahead;
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  F sum[kRows][kVectors];
  SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
    const F c = f_set(correction[t]);
    SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) {
      sum[t][v] = f_mul(f_load(out + t * stride + v * kLanes), c);
    }
  }
  const std::byte* at = values + begin * row_bytes;
  for (int64_t k = begin; k < end; ++k, at += row_bytes) {
    F value[kVectors];
    SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) value[v] = Kv<kType>::load(at + v * kLanes * kBytes);
    in_registers.template step<kVectors * kLanes * kBytes>(k);
    SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
      const F w = f_set(weight[t * kBlockKeys + k]);
      SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) sum[t][v] = f_fma(w, value[v], sum[t][v]);
    }
  }
  SLUICE_UNROLL for (int t = 0; t < kRows; ++t) {
    SLUICE_UNROLL for (int v = 0; v < kVectors; ++v) f_store(out + t * stride + v * kLanes, sum[t][v]);
  }
  ahead = in_registers;
}

// Vectors that rows multiply at once: more rows than a tile has share fewer.
constexpr int vectors_of(int n_rows) { return n_rows > kTileRows ? kTileVectors / 2 : kTileVectors; }

// dot_keys() for n_rows <= kRows.
template <KvType kType, int kRows, class Ahead>
inline void dot_some(int64_t n_rows, const float* const* q, const std::byte* keys, int64_t n, bool is_first,
                     float* score, Ahead& ahead) {
  if (n_rows == kRows) {
    return dot_keys<kType, kRows, vectors_of(kRows), Ahead>(q, keys, n, is_first, score, ahead);
  }
  if constexpr (kRows > 1) dot_some<kType, kRows - 1, Ahead>(n_rows, q, keys, n, is_first, score, ahead);
}

// The values of n_rows <= kRows rows that see the same keys; `n` dimensions, a multiple of kLanes.
template <KvType kType, int kRows, class Ahead>
inline void add_some(int64_t n_rows, const std::byte* values, int64_t row_bytes, int64_t n, int64_t begin,
                     int64_t end, const float* weight, const float* correction, float* out, int64_t stride,
                     Ahead& ahead) {
  if constexpr (kRows > 1) {
    if (n_rows < kRows) {
      return add_some<kType, kRows - 1, Ahead>(n_rows, values, row_bytes, n, begin, end, weight, correction,
                                               out, stride, ahead);
    }
  }
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  constexpr int kVectors = vectors_of(kRows);
  int64_t d = 0;
  for (; d + kVectors * kLanes <= n; d += kVectors * kLanes) {
    add_values<kType, kRows, kVectors, Ahead>(values + d * kBytes, row_bytes, begin, end, weight, correction,
                                              out + d, stride, ahead);
  }
  for (; d < n; d += kLanes) {
    add_values<kType, kRows, 1, Ahead>(values + d * kBytes, row_bytes, begin, end, weight, correction,
                                       out + d, stride, ahead);
  }
}

// The same for neighbouring rows, each with keys [begin[t], end[t]) of its own; both ends ascend with the
// row. Corrections are left at 1, which changes no bit of what they multiply.
template <KvType kType, int kRows, class Ahead>
inline void add_tile(int64_t n_rows, const std::byte* values, int64_t row_bytes, int64_t n,
                     const int64_t* begin, const int64_t* end, const float* weight, float* correction,
                     float* out, int64_t stride, Ahead& ahead) {
  const auto add_one = [&](int64_t t, int64_t from, int64_t to) {
    if (from >= to) return;
    NoFetch none;
    add_some<kType, 1, NoFetch>(1, values, row_bytes, n, from, to, weight + t * kBlockKeys, correction + t,
                                out + t * stride, stride, none);
    correction[t] = 1;
  };
  const int64_t common_begin = begin[n_rows - 1];
  const int64_t common_end = end[0] > common_begin ? end[0] : common_begin;
  for (int64_t t = 0; t < n_rows; ++t) add_one(t, begin[t], end[t] < common_begin ? end[t] : common_begin);
  if (common_begin < common_end) {
    add_some<kType, kRows, Ahead>(n_rows, values, row_bytes, n, common_begin, common_end, weight, correction,
                                  out, stride, ahead);
    for (int64_t t = 0; t < n_rows; ++t) correction[t] = 1;
  }
  for (int64_t t = 0; t < n_rows; ++t) add_one(t, common_end, end[t]);
}

// One row's running softmax within a segment.
struct Softmax {
  float maximum;
  float correction;  // what the sums so far are multiplied with
  F total;
};

// score [64] of one block to weights, in place; those outside [begin, end) mean nothing. The scales [64] are
// those of int8 keys and values, or null.
template <bool kHasScales>
inline void softmax_block(float* score, const float* key_scale, const float* value_scale, float scale,
                          int64_t begin, int64_t end, Softmax* state) {
  const float kNone = -__builtin_inff();
  if constexpr (kHasScales) {
    for (int64_t k = 0; k < kBlockKeys; k += kLanes) {
      f_store(score + k, f_mul(f_load(score + k), f_load(key_scale + k)));
    }
  }
  for (int64_t k = 0; k < begin; ++k) score[k] = kNone;
  for (int64_t k = end; k < kBlockKeys; ++k) score[k] = kNone;
  F greatest = f_load(score);
  for (int64_t k = kLanes; k < kBlockKeys; k += kLanes) greatest = f_max(greatest, f_load(score + k));
  const float block_maximum = f_max_lane(greatest) * scale;
  state->correction = 1;
  if (block_maximum > state->maximum) {
    state->correction = exp2_of(state->maximum - block_maximum);
    state->maximum = block_maximum;
  }
  const F maximum = f_set(state->maximum), s = f_set(scale);
  F total = f_mul(state->total, f_set(state->correction));
  for (int64_t k = 0; k < kBlockKeys; k += kLanes) {
    F weight = f_exp2(f_sub(f_mul(f_load(score + k), s), maximum));
    total = f_add(total, weight);
    if constexpr (kHasScales) weight = f_mul(weight, f_load(value_scale + k));
    f_store(score + k, weight);
  }
  state->total = total;
}

// A panel [n][64] of n dimensions of a block's keys, and [64][kPanelDims] of its values, where keys
// [begin, end) are wanted and the last vector ends in zeros.
template <KvType kType>
inline void key_panel(const std::byte* keys, int64_t n, float* panel) {
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  for (int64_t i = 0; i < n * kBlockKeys; i += kLanes) f_store(panel + i, Kv<kType>::load(keys + i * kBytes));
}
template <KvType kType>
inline void value_panel(const std::byte* values, int64_t row_bytes, int64_t begin, int64_t end, int64_t n,
                        float* panel) {
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  for (int64_t k = begin; k < end; ++k) {
    const std::byte* at = values + k * row_bytes;
    float* out = panel + k * kPanelDims;
    int64_t d = 0;
    for (; d + kLanes <= n; d += kLanes) f_store(out + d, Kv<kType>::load(at + d * kBytes));
    if (d == n) continue;
    std::byte rest[kLanes * kBytes] = {};
    __builtin_memcpy(rest, at + d * kBytes, static_cast<size_t>((n - d) * kBytes));
    f_store(out + d, Kv<kType>::load(rest));
  }
}

// The rows of a task and their state within a segment.
struct QueryRows {
  int64_t n;
  const float* q[kAttentionRows];
  int64_t first_key[kAttentionRows], end_key[kAttentionRows];  // both ascend
  Softmax softmax[kAttentionRows];
  alignas(64) float score[kAttentionRows * kBlockKeys];
};

// One block: the rows [first, last) see keys [begin[i], end[i]) of it.
struct BlockView {
  const std::byte* keys;
  const std::byte* values;
  const std::byte* next_keys;  // what to fetch ahead for the block after
  int64_t first, last;
  int64_t begin[kAttentionRows], end[kAttentionRows];
};

template <KvType kType>
inline void softmax_rows(const AttentionArgs& a, const BlockView& block, QueryRows& rows, float* correction) {
  constexpr bool kHasScales = kType == KvType::kInt8;
  const int64_t scales_at = kBlockKeys * a.head_dim * Kv<kType>::kBytes;  // int8 only
  const float scale = a.scale * 1.44269504f;
  for (int64_t i = block.first; i < block.last; ++i) {
    softmax_block<kHasScales>(rows.score + i * kBlockKeys,
                              reinterpret_cast<const float*>(block.keys + scales_at),
                              reinterpret_cast<const float*>(block.values + scales_at), scale, block.begin[i],
                              block.end[i], &rows.softmax[i]);
    correction[i] = rows.softmax[i].correction;
  }
}

template <KvType kType>
inline void direct_block(const AttentionArgs& a, const BlockView& block, QueryRows& rows, float* out,
                         int64_t stride) {
  const int64_t n = block.last - block.first, row_bytes = a.head_dim * Kv<kType>::kBytes;
  float* score = rows.score + block.first * kBlockKeys;
  float correction[kAttentionRows];
  Fetch values(block.values, kBlockKeys * row_bytes), next_keys(block.next_keys, kBlockKeys * row_bytes);
  dot_some<kType, kDirectRows, Fetch>(n, rows.q + block.first, block.keys, a.head_dim, true, score, values);
  softmax_rows<kType>(a, block, rows, correction);
  add_tile<kType, kDirectRows, Fetch>(n, block.values, row_bytes, a.head_dim, block.begin + block.first,
                                      block.end + block.first, score, correction + block.first,
                                      out + block.first * stride, stride, next_keys);
}

template <KvType kType>
inline void panel_block(const AttentionArgs& a, const BlockView& block, QueryRows& rows, float* out,
                        int64_t stride, float* panel) {
  constexpr int64_t kBytes = Kv<kType>::kBytes;
  const auto* const panel_bytes = reinterpret_cast<const std::byte*>(panel);
  const int64_t n_rows = block.last - block.first, n_tiles = (n_rows + kTileRows - 1) / kTileRows;
  // Tiles of nearly equal size: the smallest are the least efficient.
  const auto tile_begin = [&](int64_t tile) { return block.first + n_rows * tile / n_tiles; };
  const int64_t n_bytes = kBlockKeys * a.head_dim * kBytes;
  const int64_t n_steps = n_tiles * ((a.head_dim + kPanelDims - 1) / kPanelDims);
  const int64_t n_lines = (n_bytes / 64 + n_steps - 1) / n_steps;
  Fetch values(block.values, n_bytes), next_keys(block.next_keys, n_bytes);
  NoFetch none;
  for (int64_t d = 0; d < a.head_dim; d += kPanelDims) {
    const int64_t n = a.head_dim - d < kPanelDims ? a.head_dim - d : kPanelDims;
    key_panel<kType>(block.keys + d * kBlockKeys * kBytes, n, panel);
    for (int64_t tile = 0; tile < n_tiles; ++tile) {
      values.lines(n_lines);
      const int64_t i = tile_begin(tile);
      const float* moved[kTileRows];
      for (int64_t t = i; t < tile_begin(tile + 1); ++t) moved[t - i] = rows.q[t] + d;
      dot_some<KvType::kF32, kTileRows, NoFetch>(tile_begin(tile + 1) - i, moved, panel_bytes, n, d == 0,
                                                 rows.score + i * kBlockKeys, none);
    }
  }
  float correction[kAttentionRows];
  softmax_rows<kType>(a, block, rows, correction);
  for (int64_t d = 0; d < a.head_dim; d += kPanelDims) {
    const int64_t n = a.head_dim - d < kPanelDims ? a.head_dim - d : kPanelDims;
    value_panel<kType>(block.values + d * kBytes, a.head_dim * kBytes, block.begin[block.first],
                       block.end[block.last - 1], n, panel);
    for (int64_t tile = 0; tile < n_tiles; ++tile) {
      next_keys.lines(n_lines);
      const int64_t i = tile_begin(tile);
      float again[kTileRows];
      for (int64_t t = i; t < tile_begin(tile + 1); ++t) again[t - i] = correction[t];
      add_tile<KvType::kF32, kTileRows, NoFetch>(tile_begin(tile + 1) - i, panel_bytes, kPanelDims * 4,
                                                 (n + kLanes - 1) / kLanes * kLanes, block.begin + i,
                                                 block.end + i, rows.score + i * kBlockKeys, again,
                                                 out + i * stride + d, stride, none);
    }
  }
}

template <KvType kType>
void attention_segment(const AttentionArgs& a, int64_t segment, float* partial) noexcept {
  QueryRows rows;
  rows.n = a.row_end - a.row_begin;
  const int64_t stride = attention_out_stride(a.head_dim);
  float* const out = partial + attention_out_offset(rows.n);
  for (int64_t i = 0; i < rows.n; ++i) {
    const int64_t t = (a.row_begin + i) / a.group, head = (a.row_begin + i) % a.group;
    const int64_t position = a.first_position + t;
    rows.q[i] = a.q + t * a.q_stride + head * a.head_dim;
    rows.end_key[i] = position + 1;
    rows.first_key[i] = a.window > 0 && position + 1 > a.window ? position + 1 - a.window : 0;
    rows.softmax[i] = {-__builtin_inff(), 0, f_set(0)};
  }
  for (int64_t i = 0; i < rows.n * stride; ++i) out[i] = 0;

  alignas(64) float panel[kPanelDims * kBlockKeys];
  const int64_t segment_begin = segment * kAttentionSegment, segment_end = segment_begin + kAttentionSegment;
  const int64_t begin = rows.first_key[0] > segment_begin ? rows.first_key[0] : segment_begin;
  const int64_t end = rows.end_key[rows.n - 1] < segment_end ? rows.end_key[rows.n - 1] : segment_end;
  for (int64_t base = begin / kBlockKeys * kBlockKeys; base < end; base += kBlockKeys) {
    BlockView block;
    block.first = rows.n, block.last = 0;
    for (int64_t i = 0; i < rows.n; ++i) {
      block.begin[i] = rows.first_key[i] > base ? rows.first_key[i] - base : 0;
      block.end[i] = rows.end_key[i] - base < kBlockKeys ? rows.end_key[i] - base : kBlockKeys;
      if (block.begin[i] >= block.end[i]) continue;
      block.first = i < block.first ? i : block.first;
      block.last = i + 1;
    }
    const std::byte* const* at = a.blocks + base / kBlockKeys;
    block.keys = at[0] + a.k_offset;
    block.values = at[0] + a.v_offset;
    block.next_keys = base + kBlockKeys < a.fetch_end ? at[1] + a.k_offset : block.keys;
    if (block.last - block.first <= kDirectRows && a.head_dim % kLanes == 0)
      direct_block<kType>(a, block, rows, out, stride);
    else
      panel_block<kType>(a, block, rows, out, stride, panel);
  }
  for (int64_t i = 0; i < rows.n; ++i) {
    partial[i] = rows.softmax[i].maximum;
    partial[rows.n + i] = f_sum(rows.softmax[i].total);
  }
}

// out = out * by + x * x_by, n floats; x may have floats after them.
inline void merge_row(float* out, float by, const float* x, float x_by, int64_t n) {
  const F c = f_set(by), x_c = f_set(x_by);
  int64_t d = 0;
  for (; d + kLanes <= n; d += kLanes) {
    f_store(out + d, f_fma(f_load(x + d), x_c, f_mul(f_load(out + d), c)));
  }
  if (d < n) f_store_part(out + d, f_fma(f_load(x + d), x_c, f_mul(f_load_part(out + d, n - d), c)), n - d);
}

inline float* out_row(const AttentionArgs& a, int64_t i) {
  return a.out + (a.row_begin + i) / a.group * a.out_stride + (a.row_begin + i) % a.group * a.head_dim;
}

inline void attention_merge(const AttentionArgs& a, const float* partial, float* state) noexcept {
  const int64_t n = a.row_end - a.row_begin, stride = attention_out_stride(a.head_dim);
  for (int64_t i = 0; i < n; ++i) {
    const float maximum = partial[i], total = partial[n + i];
    if (total == 0) continue;  // the row sees nothing of the segment
    const float merged = maximum > state[i] ? maximum : state[i];
    const float by = exp2_of(state[i] - merged), partial_by = exp2_of(maximum - merged);
    state[i] = merged;
    state[n + i] = state[n + i] * by + total * partial_by;
    merge_row(out_row(a, i), by, partial + attention_out_offset(n) + i * stride, partial_by, a.head_dim);
  }
}

inline void attention_finish(const AttentionArgs& a, float* state) noexcept {
  const int64_t n = a.row_end - a.row_begin;
  for (int64_t i = 0; i < n; ++i) {
    float total = state[n + i], by = 1;
    if (a.sinks != nullptr) {
      const float sink = a.sinks[(a.row_begin + i) % a.group] * 1.44269504f;
      const float merged = sink > state[i] ? sink : state[i];
      by = exp2_of(state[i] - merged);
      total = total * by + exp2_of(sink - merged);
    }
    float* out = out_row(a, i);
    const float factor = by / total;
    for (int64_t d = 0; d < a.head_dim; ++d) out[d] *= factor;
  }
}
