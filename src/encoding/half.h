// The 16-bit floats: f16 (IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits) and bf16 (the upper half
// of an f32), to and from f32, exact for subnormals, infinities and NaN. Integer arithmetic without
// intrinsics and without branches, so that loops over it vectorise. F16C and NEON give the same bits, so
// kernels may use them.
//
// This and the block_<name>.h headers are included in instruction-set translation units. Their functions are
// `static`: an `inline` one that was compiled there for AVX-512 could be the copy that the linker keeps for
// all.
#pragma once

#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "weights are used as they lie in little-endian files");

namespace sluice {

// Always exact. A signalling NaN becomes quiet and keeps its payload.
static constexpr float f16_to_f32(uint16_t half) {
  const int32_t sign = (half & 0x8000) << 16;
  const int32_t exponent = half & 0x7c00;
  const int32_t fraction = half & 0x03ff;
  const int32_t normal = ((half & 0x7fff) << 13) + (112 << 23);  // exponent bias 15 -> 127
  const int32_t special = 0x7f800000 | fraction << 13 | (fraction != 0 ? 0x400000 : 0);
  const int32_t subnormal = __builtin_bit_cast(int32_t, static_cast<float>(fraction) * 0x1p-24f);
  const int32_t magnitude = exponent == 0 ? subnormal : exponent == 0x7c00 ? special : normal;
  return __builtin_bit_cast(float, sign | magnitude);
}

// Rounds to nearest, ties to even; 65520 and more become infinity. NaN becomes quiet, its payload is cut.
static constexpr uint16_t f32_to_f16(float value) {
  const int32_t bits = __builtin_bit_cast(int32_t, value);
  const int32_t magnitude = bits & 0x7fffffff;
  // In [0.5, 1) an f32 counts in steps of 2^-24, as subnormal halves do: adding 0.5 rounds to such a step.
  const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
  const int32_t subnormal = __builtin_bit_cast(int32_t, shifted) - __builtin_bit_cast(int32_t, 0.5f);
  const int32_t normal = (magnitude - (112 << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  const int32_t nan = 0x7e00 | (magnitude >> 13 & 0x3ff);
  int32_t half = magnitude < 0x38800000 ? subnormal : normal;  // below 2^-14
  half = magnitude >= 0x477ff000 ? 0x7c00 : half;              // 65520 and above
  half = magnitude > 0x7f800000 ? nan : half;
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | half);
}

// Always exact; every bit is kept.
static constexpr float bf16_to_f32(uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
}

// Rounds to nearest, ties to even, above the largest bf16 to infinity. NaN becomes quiet, its payload is cut.
static constexpr uint16_t f32_to_bf16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const bool is_nan = static_cast<int32_t>(bits & 0x7fffffff) > 0x7f800000;
  const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  return static_cast<uint16_t>((is_nan ? bits | 0x400000 : rounded) >> 16);
}

}  // namespace sluice
