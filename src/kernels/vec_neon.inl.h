// Four lanes on arm64; with SLUICE_NEON_DOTPROD the 4-way integer products of Armv8.2. What the functions
// mean: vec_generic.inl.h.

inline constexpr int kLanes = 4;
inline constexpr int kPanelGroups = 2;
inline constexpr int kTileInputs = 4;  // 2 x 4 sums and 2 x 4 dots fill 16 of 32 registers
inline constexpr int kFusedInputs = 1;
inline constexpr int kFloatGroups = 4;  // the same two for f32 inputs
inline constexpr int kFloatInputs = 5;
inline constexpr bool kWideIsSigned = true;

#include "kernels/rows.inl.h"

using F = float32x4_t;
using I = uint32x4_t;

SLUICE_INLINE int32x4_t as_s32(I a) { return vreinterpretq_s32_u32(a); }
SLUICE_INLINE I as_u32(int32x4_t a) { return vreinterpretq_u32_s32(a); }

SLUICE_INLINE F f_set(float x) { return vdupq_n_f32(x); }
SLUICE_INLINE F f_load(const void* p) {
  return vreinterpretq_f32_u8(vld1q_u8(static_cast<const uint8_t*>(p)));
}
SLUICE_INLINE void f_store(void* p, F x) { vst1q_u8(static_cast<uint8_t*>(p), vreinterpretq_u8_f32(x)); }
SLUICE_INLINE F f_add(F a, F b) { return vaddq_f32(a, b); }
SLUICE_INLINE F f_sub(F a, F b) { return vsubq_f32(a, b); }
SLUICE_INLINE F f_mul(F a, F b) { return vmulq_f32(a, b); }
SLUICE_INLINE F f_div(F a, F b) { return vdivq_f32(a, b); }
SLUICE_INLINE F f_fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
SLUICE_INLINE F f_max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
SLUICE_INLINE F f_min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
SLUICE_INLINE F f_select_less(F a, F b, F x, F y) { return vbslq_f32(vcltq_f32(a, b), x, y); }
SLUICE_INLINE F f_round(F a) { return vrndnq_f32(a); }

SLUICE_INLINE I i_set(uint32_t x) { return vdupq_n_u32(x); }
SLUICE_INLINE I i_load(const void* p) {
  return vreinterpretq_u32_u8(vld1q_u8(static_cast<const uint8_t*>(p)));
}
SLUICE_INLINE void i_keep(I&) {}
SLUICE_INLINE void i_forget(I& x) { asm volatile("" : "+w"(x)); }
SLUICE_INLINE void i_store(void* p, I x) { vst1q_u8(static_cast<uint8_t*>(p), vreinterpretq_u8_u32(x)); }
SLUICE_INLINE I i_add(I a, I b) { return vaddq_u32(a, b); }
SLUICE_INLINE I i_sub(I a, I b) { return vsubq_u32(a, b); }
SLUICE_INLINE I i_and(I a, I b) { return vandq_u32(a, b); }
SLUICE_INLINE I i_or(I a, I b) { return vorrq_u32(a, b); }
SLUICE_INLINE I i_xor(I a, I b) { return veorq_u32(a, b); }
template <int N>
SLUICE_INLINE I i_shl(I a) {
  return vshlq_n_u32(a, N);
}
template <int N>
SLUICE_INLINE I i_shr(I a) {
  if constexpr (N == 0)
    return a;
  else
    return vshrq_n_u32(a, N);
}
template <int N>
SLUICE_INLINE I i_sar(I a) {
  return as_u32(vshrq_n_s32(as_s32(a), N));
}
SLUICE_INLINE I i_max(I a, I b) { return as_u32(vmaxq_s32(as_s32(a), as_s32(b))); }
SLUICE_INLINE F i_to_f(I a) { return vcvtq_f32_s32(as_s32(a)); }
SLUICE_INLINE I f_to_i(F a) { return as_u32(vcvtnq_s32_f32(a)); }
SLUICE_INLINE F as_f(I a) { return vreinterpretq_f32_u32(a); }
SLUICE_INLINE I as_i(F a) { return vreinterpretq_u32_f32(a); }

SLUICE_INLINE I i_lookup(const void* table, I v) {
  const I index = i_and(v, i_set(0x0f0f0f0f));
  return vreinterpretq_u32_u8(
      vqtbl1q_u8(vld1q_u8(static_cast<const uint8_t*>(table)), vreinterpretq_u8_u32(index)));
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

SLUICE_INLINE I dot_narrow(I acc, I weight, I input) {
  const int8x16_t w = vreinterpretq_s8_u32(weight), x = vreinterpretq_s8_u32(input);
#if SLUICE_NEON_DOTPROD
  return as_u32(vdotq_s32(as_s32(acc), w, x));
#else
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(w, x));
  return as_u32(vaddq_s32(as_s32(acc), vpaddq_s32(low, high)));
#endif
}
SLUICE_INLINE I dot_wide(I acc, I weight, I input) { return dot_narrow(acc, weight, input); }

SLUICE_INLINE F f16_low(I a) { return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(a))); }
SLUICE_INLINE F f16_high(I a) { return vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(a, 16))); }
SLUICE_INLINE F f16_load(const void* p) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(static_cast<const uint8_t*>(p))));
}
SLUICE_INLINE void f16_store(void* p, F x) {
  vst1_u8(static_cast<uint8_t*>(p), vreinterpret_u8_f16(vcvt_f16_f32(x)));
}
SLUICE_INLINE F bf16_load(const void* p) {
  return as_f(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(static_cast<const uint8_t*>(p))), 16));
}
SLUICE_INLINE void bf16_store(void* p, F x) {
  const I bits = as_i(x);
  const I odd = i_and(i_shr<16>(bits), i_set(1));
  const I rounded = i_add(i_add(bits, i_set(0x7fff)), odd);
  const I quiet = i_or(bits, i_set(0x400000));
  const I chosen = vbslq_u32(vceqq_f32(x, x), rounded, quiet);
  vst1_u8(static_cast<uint8_t*>(p), vreinterpret_u8_u16(vshrn_n_u32(chosen, 16)));
}
SLUICE_INLINE F i8_load(const void* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, 4);
  const int16x8_t words = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
}
SLUICE_INLINE I u8_load(const void* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, 4);
  return vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
}
SLUICE_INLINE void i8_store(void* p, I x) {
  const uint16x4_t half = vmovn_u32(x);
  const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(half, half))), 0);
  __builtin_memcpy(p, &four, 4);
}

SLUICE_INLINE uint32_t load_32(const std::byte* p) {
  uint32_t word;
  __builtin_memcpy(&word, p, 4);
  return word;
}
template <int N>
SLUICE_INLINE I load_piece(const std::byte* p) {
  if constexpr (N == 16)
    return i_load(p);
  else if constexpr (N == 12)
    return vsetq_lane_u32(load_32(p + 8), load_piece<8>(p), 2);
  else if constexpr (N == 8) {
    const uint8x8_t low = vld1_u8(reinterpret_cast<const uint8_t*>(p));
    return vreinterpretq_u32_u8(vcombine_u8(low, low));
  } else
    return vdupq_n_u32(load_32(p));
}
SLUICE_INLINE I low_pairs(I a, I b) {
  return vreinterpretq_u32_u64(vtrn1q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)));
}
SLUICE_INLINE I high_pairs(I a, I b) {
  return vreinterpretq_u32_u64(vtrn2q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)));
}
// A 4 x 4 transposition.
template <int N>
SLUICE_INLINE void load_rows(const LaneRows& row, int64_t offset, I* out) {
  if constexpr (N > 16) {
    load_rows<16>(row, offset, out);
    load_rows<N - 16>(row, offset + 16, out + 4);
  } else {
    const I a = load_piece<N>(row.at(0, offset)), b = load_piece<N>(row.at(1, offset));
    const I c = load_piece<N>(row.at(2, offset)), d = load_piece<N>(row.at(3, offset));
    const I even0 = vtrn1q_u32(a, b), even1 = vtrn1q_u32(c, d);
    const I odd0 = vtrn2q_u32(a, b), odd1 = vtrn2q_u32(c, d);
    out[0] = low_pairs(even0, even1);
    if constexpr (N >= 8) out[1] = low_pairs(odd0, odd1);
    if constexpr (N >= 12) out[2] = high_pairs(even0, even1);
    if constexpr (N >= 16) out[3] = high_pairs(odd0, odd1);
  }
}

SLUICE_INLINE uint16_t load_16(const std::byte* p) {
  uint16_t half;
  __builtin_memcpy(&half, p, 2);
  return half;
}
SLUICE_INLINE I load_rows_u16(const LaneRows& row, int64_t o) {
  const uint32_t half[4] = {load_16(row.at(0, o)), load_16(row.at(1, o)), load_16(row.at(2, o)),
                            load_16(row.at(3, o))};
  return vld1q_u32(half);
}

SLUICE_INLINE float f_sum(F a) {
  const float32x2_t two = vadd_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
SLUICE_INLINE float f_max_lane(F a) { return vmaxvq_f32(a); }
SLUICE_INLINE int32_t i_sum(I a) { return vaddvq_s32(as_s32(a)); }
SLUICE_INLINE int32_t i_max_lane(I a) { return vmaxvq_s32(as_s32(a)); }
SLUICE_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
SLUICE_INLINE void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }
