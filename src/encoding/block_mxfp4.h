// MXFP4 (GGUF type 39; OCP Microscaling Formats v1.0): 32 values in 17 bytes, 4.25 bits per weight.
//
//   byte 0      exponent, E8M0: the scale is 2^(exponent - 127), NaN for 255
//   bytes 1-16  byte j holds value j in its low and value j + 16 in its high nibble. (In safetensors files
//   MXFP4
//               has neighbours in one byte; that is another layout.)
//
// A nibble is an E2M1 float: sign, two exponent bits, one fraction bit; 0 0.5 1 1.5 2 3 4 6 and their
// negatives. Kernels want integers, so the levels here are doubled and the scale is halved:
//
//   value = e8m0_half_to_f32(exponent) * kMXFP4DoubledLevels[nibble]
//
// The product is exact in f32 or overflows to infinity; the doubled table has no negative zero.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockMXFP4 {
  static constexpr int kValues = 32;
  uint8_t exponent;  // E8M0
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockMXFP4) == 17 && alignof(BlockMXFP4) == 1);

static constexpr int8_t kMXFP4DoubledLevels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(exponent - 128); subnormal for 0 and 1, NaN for 255.
static constexpr float e8m0_half_to_f32(uint8_t exponent) {
  const uint32_t normal = static_cast<uint32_t>(exponent - 1) << 23;
  const uint32_t bits = exponent == 255 ? 0x7fc00000u : exponent < 2 ? 0x00200000u << exponent : normal;
  return __builtin_bit_cast(float, bits);
}

}  // namespace sluice
