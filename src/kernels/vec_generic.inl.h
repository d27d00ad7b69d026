// The vector type of the baseline: four lanes without an intrinsic, on any machine. What each function means
// is said here for all instruction sets; vec_<isa>.inl.h say only what differs.
//
// F is a vector of kLanes floats, I of kLanes 32-bit words (or 4 * kLanes bytes). In the weight panels lane r
// is weight row r, and the four bytes of a word are four neighbouring columns.

inline constexpr int kLanes = 4;
inline constexpr int kPanelGroups = 1;  // groups of kLanes weight rows that share an input
inline constexpr int kTileInputs = 1;   // input rows that share a weight
inline constexpr int kFusedInputs = 1;  // most that are multiplied with a block that stays in registers
inline constexpr int kFloatGroups = 1;  // the same two for f32 inputs
inline constexpr int kFloatInputs = 1;
// True: dot_wide() takes signed weight bytes; false: unsigned ones, 128 above.
inline constexpr bool kWideIsSigned = true;

#include "kernels/rows.inl.h"

// GCC and clang have these vectors on any machine. Arrays would give the same, but compilers take three times
// as long to make half as fast code of them.
using FloatLanes = float __attribute__((vector_size(4 * kLanes)));
using WordLanes = uint32_t __attribute__((vector_size(4 * kLanes)));
using SignedLanes = int32_t __attribute__((vector_size(4 * kLanes)));

struct F {
  FloatLanes lane;
};
struct I {
  WordLanes lane;
};

SLUICE_INLINE SignedLanes signed_lanes(I a) { return __builtin_bit_cast(SignedLanes, a.lane); }

template <typename V, typename Op>
SLUICE_INLINE V each(Op op) {
  static_assert(kLanes == 4);
  return {decltype(V::lane){op(0), op(1), op(2), op(3)}};
}

SLUICE_INLINE float bits_to_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }
SLUICE_INLINE uint32_t float_to_bits(float value) { return __builtin_bit_cast(uint32_t, value); }

SLUICE_INLINE F f_set(float x) {
  return each<F>([&](int) { return x; });
}
SLUICE_INLINE F f_load(const void* p) {
  F out;
  __builtin_memcpy(&out, p, sizeof(out));
  return out;
}
SLUICE_INLINE void f_store(void* p, F x) { __builtin_memcpy(p, &x, sizeof(x)); }
SLUICE_INLINE F f_add(F a, F b) { return {a.lane + b.lane}; }
SLUICE_INLINE F f_sub(F a, F b) { return {a.lane - b.lane}; }
SLUICE_INLINE F f_mul(F a, F b) { return {a.lane * b.lane}; }
SLUICE_INLINE F f_div(F a, F b) { return {a.lane / b.lane}; }
// a * b + c, rounded once
SLUICE_INLINE F f_fma(F a, F b, F c) {
  return each<F>([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
}
// The second operand if either is NaN.
SLUICE_INLINE F f_max(F a, F b) { return {a.lane > b.lane ? a.lane : b.lane}; }
SLUICE_INLINE F f_min(F a, F b) { return {a.lane < b.lane ? a.lane : b.lane}; }
// a < b ? x : y
SLUICE_INLINE F f_select_less(F a, F b, F x, F y) { return {a.lane < b.lane ? x.lane : y.lane}; }
SLUICE_INLINE F f_round(F a) {
  return each<F>([&](int i) { return __builtin_rintf(a.lane[i]); });
}

SLUICE_INLINE I i_set(uint32_t x) {
  return each<I>([&](int) { return x; });
}
SLUICE_INLINE I i_load(const void* p) {
  I out;
  __builtin_memcpy(&out, p, sizeof(out));
  return out;
}
// With many registers: keeps a load where it is written, not beside the arithmetic that uses it.
SLUICE_INLINE void i_keep(I&) {}
// What x is, is nothing that a compiler may know from here on.
SLUICE_INLINE void i_forget(I& x) { asm volatile("" : "+m"(x)); }
SLUICE_INLINE void i_store(void* p, I x) { __builtin_memcpy(p, &x, sizeof(x)); }
SLUICE_INLINE I i_add(I a, I b) { return {a.lane + b.lane}; }
SLUICE_INLINE I i_sub(I a, I b) { return {a.lane - b.lane}; }
SLUICE_INLINE I i_and(I a, I b) { return {a.lane & b.lane}; }
SLUICE_INLINE I i_or(I a, I b) { return {a.lane | b.lane}; }
SLUICE_INLINE I i_xor(I a, I b) { return {a.lane ^ b.lane}; }
template <int N>
SLUICE_INLINE I i_shl(I a) {
  return {a.lane << N};
}
template <int N>
SLUICE_INLINE I i_shr(I a) {  // logical
  return {a.lane >> N};
}
template <int N>
SLUICE_INLINE I i_sar(I a) {  // arithmetic
  return {__builtin_bit_cast(WordLanes, signed_lanes(a) >> N)};
}
SLUICE_INLINE I i_max(I a, I b) {  // signed
  return {signed_lanes(a) > signed_lanes(b) ? a.lane : b.lane};
}
SLUICE_INLINE F i_to_f(I a) { return {__builtin_convertvector(signed_lanes(a), FloatLanes)}; }
SLUICE_INLINE I f_to_i(F a) {  // to nearest even; |a| < 2^31
  return each<I>(
      [&](int i) { return static_cast<uint32_t>(static_cast<int32_t>(__builtin_rintf(a.lane[i]))); });
}
SLUICE_INLINE F as_f(I a) { return __builtin_bit_cast(F, a); }
SLUICE_INLINE I as_i(F a) { return __builtin_bit_cast(I, a); }

// table[b & 15] for each byte b.
SLUICE_INLINE I i_lookup(const void* table, I v) {
  uint8_t entries[16], bytes[4 * kLanes];
  __builtin_memcpy(entries, table, 16);
  i_store(bytes, v);
  for (uint8_t& byte : bytes) byte = entries[byte & 15];
  return i_load(bytes);
}

// Four fields of kBits bits from bit kShift on, a byte each.
template <int kBits, int kShift>
SLUICE_INLINE I spread_fields(I v) {
  constexpr uint32_t kOne = (1u << kBits) - 1, kTwo = (1u << 2 * kBits) - 1;
  const I all = i_shr<kShift>(v);
  const I pairs = i_or(i_and(all, i_set(kTwo)), i_and(i_shl<16 - 2 * kBits>(all), i_set(kTwo << 16)));
  if constexpr (kBits <= 4) return i_and(i_or(pairs, i_shl<8 - kBits>(pairs)), i_set(kOne * 0x01010101u));
  return i_or(i_and(pairs, i_set(kOne * 0x00010001u)),
              i_and(i_shl<8 - kBits>(pairs), i_set(kOne * 0x01000100u)));
}

// acc + the four products of unsigned weight bytes below 128 and signed input bytes, per word.
SLUICE_INLINE I dot_narrow(I acc, I weight, I input) {
  const auto add = [&](I w, I x) {  // the products of the highest bytes
    acc = i_add(acc, {i_sar<24>(w).lane * i_sar<24>(x).lane});
  };
  add(i_shl<24>(weight), i_shl<24>(input));
  add(i_shl<16>(weight), i_shl<16>(input));
  add(i_shl<8>(weight), i_shl<8>(input));
  add(weight, input);
  return acc;
}
// The same for weight bytes of the whole range, as kWideIsSigned says.
SLUICE_INLINE I dot_wide(I acc, I weight, I input) { return dot_narrow(acc, weight, input); }

// The low or high halves of each word, widened.
SLUICE_INLINE F f16_low(I a) {
  return each<F>([&](int i) { return f16_to_f32(static_cast<uint16_t>(a.lane[i])); });
}
SLUICE_INLINE F f16_high(I a) {
  return each<F>([&](int i) { return f16_to_f32(static_cast<uint16_t>(a.lane[i] >> 16)); });
}

// kLanes consecutive 16-bit floats.
SLUICE_INLINE F f16_load(const void* p) {
  uint16_t half[kLanes];
  __builtin_memcpy(half, p, sizeof(half));
  return each<F>([&](int i) { return f16_to_f32(half[i]); });
}
SLUICE_INLINE void f16_store(void* p, F x) {
  uint16_t half[kLanes];
  for (int i = 0; i < kLanes; ++i) half[i] = f32_to_f16(x.lane[i]);
  __builtin_memcpy(p, half, sizeof(half));
}
SLUICE_INLINE F bf16_load(const void* p) {
  uint16_t half[kLanes];
  __builtin_memcpy(half, p, sizeof(half));
  return each<F>([&](int i) { return bf16_to_f32(half[i]); });
}
SLUICE_INLINE void bf16_store(void* p, F x) {
  uint16_t half[kLanes];
  for (int i = 0; i < kLanes; ++i) half[i] = f32_to_bf16(x.lane[i]);
  __builtin_memcpy(p, half, sizeof(half));
}
// kLanes consecutive signed bytes.
SLUICE_INLINE F i8_load(const void* p) {
  int8_t bytes[kLanes];
  __builtin_memcpy(bytes, p, sizeof(bytes));
  return each<F>([&](int i) { return static_cast<float>(bytes[i]); });
}
// kLanes consecutive bytes, a word each.
SLUICE_INLINE I u8_load(const void* p) {
  uint8_t bytes[kLanes];
  __builtin_memcpy(bytes, p, sizeof(bytes));
  return each<I>([&](int i) { return uint32_t{bytes[i]}; });
}
// Each word to a signed byte (they fit): kLanes bytes.
SLUICE_INLINE void i8_store(void* p, I x) {
  int8_t bytes[kLanes];
  for (int i = 0; i < kLanes; ++i) bytes[i] = static_cast<int8_t>(x.lane[i]);
  __builtin_memcpy(p, bytes, sizeof(bytes));
}

// out[j] lane r = word j of the N (4, 8, 12, 16, 32, 64) bytes at row.at(r, offset). Reads these bytes only.
template <int N>
SLUICE_INLINE void load_rows(const LaneRows& row, int64_t offset, I* out) {
  for (int r = 0; r < kLanes; ++r) {
    uint32_t word[N / 4];
    __builtin_memcpy(word, row.at(r, offset), N);
    for (int j = 0; j < N / 4; ++j) out[j].lane[r] = word[j];
  }
}
// Lane r = the 16 bits at row.at(r, offset).
SLUICE_INLINE I load_rows_u16(const LaneRows& row, int64_t offset) {
  return each<I>([&](int r) {
    uint16_t half;
    __builtin_memcpy(&half, row.at(r, offset), 2);
    return uint32_t{half};
  });
}

// Lane sums in a fixed tree.
SLUICE_INLINE float f_sum(F a) { return (a.lane[0] + a.lane[2]) + (a.lane[1] + a.lane[3]); }
SLUICE_INLINE float f_max_lane(F a) {
  float m = a.lane[0];
  for (int i = 1; i < kLanes; ++i) m = a.lane[i] > m ? a.lane[i] : m;
  return m;
}
SLUICE_INLINE int32_t i_sum(I a) {
  return static_cast<int32_t>(a.lane[0] + a.lane[1] + a.lane[2] + a.lane[3]);
}
SLUICE_INLINE int32_t i_max_lane(I a) {  // signed
  int32_t m = static_cast<int32_t>(a.lane[0]);
  for (int i = 1; i < kLanes; ++i)
    m = static_cast<int32_t>(a.lane[i]) > m ? static_cast<int32_t>(a.lane[i]) : m;
  return m;
}
SLUICE_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
// Into the second-level cache.
SLUICE_INLINE void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }
