// Sixteen lanes on AVX-512 (F, BW, VL, DQ, VNNI; with SLUICE_AVX512_VBMI also VBMI). What the functions mean:
// vec_generic.inl.h.

inline constexpr int kLanes = 16;
inline constexpr int kPanelGroups = 2;
inline constexpr int kTileInputs = 6;   // 2 x 6 sums and 2 x 6 dots fill 24 of 32 registers
inline constexpr int kFusedInputs = 8;  // 8 sums, 8 dots and a block
inline constexpr int kFloatGroups = 4;  // the same two for f32 inputs
inline constexpr int kFloatInputs = 6;
inline constexpr bool kWideIsSigned = false;

#include "kernels/rows.inl.h"

using F = __m512;
using I = __m512i;

SLUICE_INLINE F f_set(float x) { return _mm512_set1_ps(x); }
SLUICE_INLINE F f_load(const void* p) { return _mm512_loadu_ps(p); }
SLUICE_INLINE void f_store(void* p, F x) { _mm512_storeu_ps(p, x); }
SLUICE_INLINE F f_add(F a, F b) { return _mm512_add_ps(a, b); }
SLUICE_INLINE F f_sub(F a, F b) { return _mm512_sub_ps(a, b); }
SLUICE_INLINE F f_mul(F a, F b) { return _mm512_mul_ps(a, b); }
SLUICE_INLINE F f_div(F a, F b) { return _mm512_div_ps(a, b); }
SLUICE_INLINE F f_fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
SLUICE_INLINE F f_max(F a, F b) { return _mm512_max_ps(a, b); }
SLUICE_INLINE F f_min(F a, F b) { return _mm512_min_ps(a, b); }
SLUICE_INLINE F f_select_less(F a, F b, F x, F y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
SLUICE_INLINE F f_round(F a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

SLUICE_INLINE I i_set(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
SLUICE_INLINE I i_load(const void* p) { return _mm512_loadu_si512(p); }
SLUICE_INLINE void i_keep(I& x) { asm volatile("" : "+v"(x)); }
SLUICE_INLINE void i_forget(I& x) { asm volatile("" : "+v"(x)); }
SLUICE_INLINE void i_store(void* p, I x) { _mm512_storeu_si512(p, x); }
SLUICE_INLINE I i_add(I a, I b) { return _mm512_add_epi32(a, b); }
SLUICE_INLINE I i_sub(I a, I b) { return _mm512_sub_epi32(a, b); }
SLUICE_INLINE I i_and(I a, I b) { return _mm512_and_si512(a, b); }
SLUICE_INLINE I i_or(I a, I b) { return _mm512_or_si512(a, b); }
SLUICE_INLINE I i_xor(I a, I b) { return _mm512_xor_si512(a, b); }
template <int N>
SLUICE_INLINE I i_shl(I a) {
  return _mm512_slli_epi32(a, N);
}
template <int N>
SLUICE_INLINE I i_shr(I a) {
  return _mm512_srli_epi32(a, N);
}
template <int N>
SLUICE_INLINE I i_sar(I a) {
  return _mm512_srai_epi32(a, N);
}
SLUICE_INLINE I i_max(I a, I b) { return _mm512_max_epi32(a, b); }
SLUICE_INLINE F i_to_f(I a) { return _mm512_cvtepi32_ps(a); }
SLUICE_INLINE I f_to_i(F a) { return _mm512_cvtps_epi32(a); }
SLUICE_INLINE F as_f(I a) { return _mm512_castsi512_ps(a); }
SLUICE_INLINE I as_i(F a) { return _mm512_castps_si512(a); }

#if SLUICE_AVX512_VBMI
SLUICE_INLINE I i_lookup(const void* table, I v) {  // of 64 entries the low six bits choose one
  const __m128i entries = _mm_loadu_si128(static_cast<const __m128i*>(table));
  return _mm512_permutexvar_epi8(v, _mm512_broadcast_i32x4(entries));
}
template <int kBits, int kShift>
SLUICE_INLINE I spread_fields(I v) {
  constexpr int64_t kFirst =
      kShift | (kShift + kBits) << 8 | (kShift + 2 * kBits) << 16 | (kShift + 3 * kBits) << 24;
  const I from = _mm512_set1_epi64(kFirst | (kFirst + 0x20202020) << 32);  // two words in 64 bits
  return i_and(_mm512_multishift_epi64_epi8(from, v), i_set(((1u << kBits) - 1) * 0x01010101u));
}
#else
SLUICE_INLINE I i_lookup(const void* table, I v) {
  const __m128i entries = _mm_loadu_si128(static_cast<const __m128i*>(table));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), i_and(v, i_set(0x0f0f0f0f)));
}
template <int kBits, int kShift>
SLUICE_INLINE I spread_fields(I v) {
  constexpr uint32_t kOne = (1u << kBits) - 1, kTwo = (1u << 2 * kBits) - 1;
  const I all = i_shr<kShift>(v);
  const I pairs = i_or(i_and(all, i_set(kTwo)), i_and(i_shl<16 - 2 * kBits>(all), i_set(kTwo << 16)));
  if constexpr (kBits <= 4) return i_and(i_or(pairs, i_shl<8 - kBits>(pairs)), i_set(kOne * 0x01010101u));
  return i_or(i_and(pairs, i_set(kOne * 0x00010001u)),
              i_and(i_shl<8 - kBits>(pairs), i_set(kOne * 0x01000100u)));
}
#endif

SLUICE_INLINE I dot_narrow(I acc, I weight, I input) { return _mm512_dpbusd_epi32(acc, weight, input); }
SLUICE_INLINE I dot_wide(I acc, I weight, I input) { return _mm512_dpbusd_epi32(acc, weight, input); }

SLUICE_INLINE F f16_low(I a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }
SLUICE_INLINE F f16_high(I a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16))); }
SLUICE_INLINE F f16_load(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
SLUICE_INLINE void f16_store(void* p, F x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
SLUICE_INLINE F bf16_load(const void* p) {
  const __m256i half = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
SLUICE_INLINE void bf16_store(void* p, F x) {
  const I bits = as_i(x);
  const I odd = i_and(i_shr<16>(bits), i_set(1));
  const I rounded = i_add(i_add(bits, i_set(0x7fff)), odd);
  const I quiet = i_or(bits, i_set(0x400000));
  const I chosen = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), rounded, quiet);
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(i_shr<16>(chosen)));
}
SLUICE_INLINE F i8_load(const void* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
}
SLUICE_INLINE I u8_load(const void* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
SLUICE_INLINE void i8_store(void* p, I x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}

SLUICE_INLINE int load_32(const std::byte* p) {
  int word;
  __builtin_memcpy(&word, p, 4);
  return word;
}
template <int N>
SLUICE_INLINE __m128i load_piece(const std::byte* p) {
  if constexpr (N == 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  if constexpr (N == 12) return _mm_insert_epi32(load_piece<8>(p), load_32(p + 8), 2);
  if constexpr (N == 8) return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm_cvtsi32_si128(load_32(p));
}

// A 4 x 4 transposition inside the 128-bit lanes.
SLUICE_INLINE void transpose_lanes(I a, I b, I c, I d, I* out) {
  const I low0 = _mm512_unpacklo_epi32(a, b), low1 = _mm512_unpacklo_epi32(c, d);
  const I high0 = _mm512_unpackhi_epi32(a, b), high1 = _mm512_unpackhi_epi32(c, d);
  out[0] = _mm512_unpacklo_epi64(low0, low1);
  out[1] = _mm512_unpackhi_epi64(low0, low1);
  out[2] = _mm512_unpacklo_epi64(high0, high1);
  out[3] = _mm512_unpackhi_epi64(high0, high1);
}
SLUICE_INLINE __m256i load_256(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// A cache line of each of sixteen rows: each is read once, for rows that are a multiple of 4096 bytes apart
// compete for the same few places in the first-level cache.
SLUICE_INLINE void load_rows_64(const LaneRows& row, int64_t offset, I* out) {
  I part[4][4];  // [four rows][word of 16 bytes]: lane l holds these words of the l-th 16 bytes
  SLUICE_UNROLL for (int g = 0; g < 4; ++g) {
    transpose_lanes(i_load(row.at(4 * g, offset)), i_load(row.at(4 * g + 1, offset)),
                    i_load(row.at(4 * g + 2, offset)), i_load(row.at(4 * g + 3, offset)), part[g]);
  }
  SLUICE_UNROLL for (int j = 0; j < 4; ++j) {
    const I low0 = _mm512_shuffle_i32x4(part[0][j], part[1][j], 0x44);
    const I low1 = _mm512_shuffle_i32x4(part[2][j], part[3][j], 0x44);
    const I high0 = _mm512_shuffle_i32x4(part[0][j], part[1][j], 0xee);
    const I high1 = _mm512_shuffle_i32x4(part[2][j], part[3][j], 0xee);
    out[j] = _mm512_shuffle_i32x4(low0, low1, 0x88);
    out[4 + j] = _mm512_shuffle_i32x4(low0, low1, 0xdd);
    out[8 + j] = _mm512_shuffle_i32x4(high0, high1, 0x88);
    out[12 + j] = _mm512_shuffle_i32x4(high0, high1, 0xdd);
  }
}
SLUICE_INLINE void load_rows_32(const LaneRows& row, int64_t offset, I* out) {
  I low[4], high[4];  // rows j, j + 4, j + 8, j + 12: the first and the second 16 bytes
  SLUICE_UNROLL for (int j = 0; j < 4; ++j) {
    const I a = _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(load_256(row.at(j, offset))), 0xf0,
                                            load_256(row.at(j + 4, offset)));
    const I b = _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(load_256(row.at(j + 8, offset))), 0xf0,
                                            load_256(row.at(j + 12, offset)));
    low[j] = _mm512_shuffle_i32x4(a, b, 0x88);
    high[j] = _mm512_shuffle_i32x4(a, b, 0xdd);
  }
  transpose_lanes(low[0], low[1], low[2], low[3], out);
  transpose_lanes(high[0], high[1], high[2], high[3], out + 4);
}
template <int N>
SLUICE_INLINE void load_rows(const LaneRows& row, int64_t offset, I* out) {
  if constexpr (N == 64) {
    load_rows_64(row, offset, out);
  } else if constexpr (N == 32) {
    load_rows_32(row, offset, out);
  } else {
    I side[4];  // rows j, j + 4, j + 8 and j + 12 in the 128-bit lanes
    SLUICE_UNROLL for (int j = 0; j < 4; ++j) {
      I v = _mm512_castsi128_si512(load_piece<N>(row.at(j, offset)));
      v = _mm512_mask_broadcast_i32x4(v, 0x00f0, load_piece<N>(row.at(j + 4, offset)));
      v = _mm512_mask_broadcast_i32x4(v, 0x0f00, load_piece<N>(row.at(j + 8, offset)));
      side[j] = _mm512_mask_broadcast_i32x4(v, 0xf000, load_piece<N>(row.at(j + 12, offset)));
    }
    I word[4];
    transpose_lanes(side[0], side[1], side[2], side[3], word);
    SLUICE_UNROLL for (int j = 0; j < N / 4; ++j) out[j] = word[j];
  }
}

SLUICE_INLINE short load_16(const std::byte* p) {
  short half;
  __builtin_memcpy(&half, p, 2);
  return half;
}
SLUICE_INLINE __m256i load_rows_16(const LaneRows& row, int64_t o) {
  return _mm256_set_epi16(
      load_16(row.at(15, o)), load_16(row.at(14, o)), load_16(row.at(13, o)), load_16(row.at(12, o)),
      load_16(row.at(11, o)), load_16(row.at(10, o)), load_16(row.at(9, o)), load_16(row.at(8, o)),
      load_16(row.at(7, o)), load_16(row.at(6, o)), load_16(row.at(5, o)), load_16(row.at(4, o)),
      load_16(row.at(3, o)), load_16(row.at(2, o)), load_16(row.at(1, o)), load_16(row.at(0, o)));
}
SLUICE_INLINE I load_rows_u16(const LaneRows& row, int64_t offset) {
  return _mm512_cvtepu16_epi32(load_rows_16(row, offset));
}

SLUICE_INLINE float f_sum(F a) {
  const __m256 low = _mm512_castps512_ps256(a), high = _mm512_extractf32x8_ps(a, 1);
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
SLUICE_INLINE float f_max_lane(F a) {
  const __m256 low = _mm512_castps512_ps256(a), high = _mm512_extractf32x8_ps(a, 1);
  const __m256 eight = _mm256_max_ps(low, high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
SLUICE_INLINE int32_t i_sum(I a) { return _mm512_reduce_add_epi32(a); }
SLUICE_INLINE int32_t i_max_lane(I a) { return _mm512_reduce_max_epi32(a); }
SLUICE_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
SLUICE_INLINE void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
