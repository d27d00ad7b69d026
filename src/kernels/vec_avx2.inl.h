// Eight lanes on AVX2 with FMA and F16C; with SLUICE_AVX_VNNI also 256-bit dpbusd. What the functions mean:
// vec_generic.inl.h.

inline constexpr int kLanes = 8;
inline constexpr int kPanelGroups = 2;
inline constexpr int kTileInputs = 3;  // 2 x 3 sums and 2 x 3 dots leave room in 16 registers
inline constexpr int kFusedInputs = 4;
inline constexpr int kFloatGroups = 2;  // the same two for f32 inputs
inline constexpr int kFloatInputs = 5;
#if SLUICE_AVX_VNNI
inline constexpr bool kWideIsSigned = false;
#else
inline constexpr bool kWideIsSigned = true;
#endif

#include "kernels/rows.inl.h"

using F = __m256;
using I = __m256i;

SLUICE_INLINE F f_set(float x) { return _mm256_set1_ps(x); }
SLUICE_INLINE F f_load(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
SLUICE_INLINE void f_store(void* p, F x) { _mm256_storeu_ps(static_cast<float*>(p), x); }
SLUICE_INLINE F f_add(F a, F b) { return _mm256_add_ps(a, b); }
SLUICE_INLINE F f_sub(F a, F b) { return _mm256_sub_ps(a, b); }
SLUICE_INLINE F f_mul(F a, F b) { return _mm256_mul_ps(a, b); }
SLUICE_INLINE F f_div(F a, F b) { return _mm256_div_ps(a, b); }
SLUICE_INLINE F f_fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
SLUICE_INLINE F f_max(F a, F b) { return _mm256_max_ps(a, b); }
SLUICE_INLINE F f_min(F a, F b) { return _mm256_min_ps(a, b); }
SLUICE_INLINE F f_select_less(F a, F b, F x, F y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
SLUICE_INLINE F f_round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

SLUICE_INLINE I i_set(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
SLUICE_INLINE I i_load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
SLUICE_INLINE void i_keep(I&) {}
SLUICE_INLINE void i_forget(I& x) { asm volatile("" : "+x"(x)); }
SLUICE_INLINE void i_store(void* p, I x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
SLUICE_INLINE I i_add(I a, I b) { return _mm256_add_epi32(a, b); }
SLUICE_INLINE I i_sub(I a, I b) { return _mm256_sub_epi32(a, b); }
SLUICE_INLINE I i_and(I a, I b) { return _mm256_and_si256(a, b); }
SLUICE_INLINE I i_or(I a, I b) { return _mm256_or_si256(a, b); }
SLUICE_INLINE I i_xor(I a, I b) { return _mm256_xor_si256(a, b); }
template <int N>
SLUICE_INLINE I i_shl(I a) {
  return _mm256_slli_epi32(a, N);
}
template <int N>
SLUICE_INLINE I i_shr(I a) {
  return _mm256_srli_epi32(a, N);
}
template <int N>
SLUICE_INLINE I i_sar(I a) {
  return _mm256_srai_epi32(a, N);
}
SLUICE_INLINE I i_max(I a, I b) { return _mm256_max_epi32(a, b); }
SLUICE_INLINE F i_to_f(I a) { return _mm256_cvtepi32_ps(a); }
SLUICE_INLINE I f_to_i(F a) { return _mm256_cvtps_epi32(a); }
SLUICE_INLINE F as_f(I a) { return _mm256_castsi256_ps(a); }
SLUICE_INLINE I as_i(F a) { return _mm256_castps_si256(a); }

SLUICE_INLINE I i_lookup(const void* table, I v) {
  const __m128i entries = _mm_loadu_si128(static_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), i_and(v, i_set(0x0f0f0f0f)));
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

#if SLUICE_AVX_VNNI
SLUICE_INLINE I dot_narrow(I acc, I weight, I input) { return _mm256_dpbusd_avx_epi32(acc, weight, input); }
SLUICE_INLINE I dot_wide(I acc, I weight, I input) { return _mm256_dpbusd_avx_epi32(acc, weight, input); }
#else
// Sums of two products of at most 127 * 127, which fit 16 bits; of few bits the sums of several do (RunSum).
#define SLUICE_ADDS_PAIRS 1
SLUICE_INLINE I pairs_of(I weight, I input) { return _mm256_maddubs_epi16(weight, input); }
SLUICE_INLINE I add_pairs(I a, I b) { return _mm256_add_epi16(a, b); }
SLUICE_INLINE I widen_pairs(I pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }
SLUICE_INLINE I dot_narrow(I acc, I weight, I input) {
  I sum = i_add(acc, widen_pairs(pairs_of(weight, input)));
  i_forget(sum);  // or chains of sums would be made trees, which take more registers than there are
  return sum;
}
// |weight| * (input with the weight's sign): at most 2 * 128 * 127.
SLUICE_INLINE I dot_wide(I acc, I weight, I input) {
  return dot_narrow(acc, _mm256_abs_epi8(weight), _mm256_sign_epi8(input, weight));
}
#endif

// The low 16 bits of each word, in order.
SLUICE_INLINE __m128i narrow_16(I a) {
  const I low = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
  const I packed = _mm256_packus_epi32(low, low);
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}
SLUICE_INLINE F f16_low(I a) { return _mm256_cvtph_ps(narrow_16(a)); }
SLUICE_INLINE F f16_high(I a) { return _mm256_cvtph_ps(narrow_16(_mm256_srli_epi32(a, 16))); }
SLUICE_INLINE F f16_load(const void* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
SLUICE_INLINE void f16_store(void* p, F x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
SLUICE_INLINE F bf16_load(const void* p) {
  const __m128i half = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
SLUICE_INLINE void bf16_store(void* p, F x) {
  const I bits = as_i(x);
  const I odd = i_and(i_shr<16>(bits), i_set(1));
  const I rounded = i_add(i_add(bits, i_set(0x7fff)), odd);
  const I quiet = i_or(bits, i_set(0x400000));
  const F chosen = _mm256_blendv_ps(as_f(rounded), as_f(quiet), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  _mm_storeu_si128(static_cast<__m128i*>(p), narrow_16(i_shr<16>(as_i(chosen))));
}
SLUICE_INLINE F i8_load(const void* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))));
}
SLUICE_INLINE I u8_load(const void* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p)));
}
SLUICE_INLINE void i8_store(void* p, I x) {
  const __m128i half = narrow_16(x);
  _mm_storel_epi64(static_cast<__m128i*>(p), _mm_packs_epi16(half, half));
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

// Rows j and j + 4 side by side in 128-bit lanes, then a 4 x 4 transposition inside the lanes.
template <int N>
SLUICE_INLINE void load_rows(const LaneRows& row, int64_t offset, I* out) {
  if constexpr (N > 16) {
    load_rows<16>(row, offset, out);
    load_rows<N - 16>(row, offset + 16, out + 4);
  } else {
    I side[4];
    SLUICE_UNROLL for (int j = 0; j < 4; ++j) {
      side[j] = _mm256_inserti128_si256(_mm256_castsi128_si256(load_piece<N>(row.at(j, offset))),
                                        load_piece<N>(row.at(j + 4, offset)), 1);
    }
    const I low0 = _mm256_unpacklo_epi32(side[0], side[1]);
    const I low1 = _mm256_unpacklo_epi32(side[2], side[3]);
    out[0] = _mm256_unpacklo_epi64(low0, low1);
    if constexpr (N >= 8) out[1] = _mm256_unpackhi_epi64(low0, low1);
    if constexpr (N >= 12) {
      const I high0 = _mm256_unpackhi_epi32(side[0], side[1]);
      const I high1 = _mm256_unpackhi_epi32(side[2], side[3]);
      out[2] = _mm256_unpacklo_epi64(high0, high1);
      if constexpr (N >= 16) out[3] = _mm256_unpackhi_epi64(high0, high1);
    }
  }
}

SLUICE_INLINE short load_16(const std::byte* p) {
  short half;
  __builtin_memcpy(&half, p, 2);
  return half;
}
SLUICE_INLINE __m128i load_rows_16(const LaneRows& row, int64_t o) {
  return _mm_set_epi16(load_16(row.at(7, o)), load_16(row.at(6, o)), load_16(row.at(5, o)),
                       load_16(row.at(4, o)), load_16(row.at(3, o)), load_16(row.at(2, o)),
                       load_16(row.at(1, o)), load_16(row.at(0, o)));
}
SLUICE_INLINE I load_rows_u16(const LaneRows& row, int64_t offset) {
  return _mm256_cvtepu16_epi32(load_rows_16(row, offset));
}

SLUICE_INLINE float f_sum(F a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
SLUICE_INLINE float f_max_lane(F a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
SLUICE_INLINE int32_t i_sum(I a) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
SLUICE_INLINE int32_t i_max_lane(I a) {
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
SLUICE_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
SLUICE_INLINE void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
