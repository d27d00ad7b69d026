// Q5_1 (GGUF type 7): 32 values in 24 bytes, 6 bits per weight.
//
//   bytes 0-1   scale, f16
//   bytes 2-3   min, f16
//   bytes 4-7   high: bit i is the fifth bit of value i, little-endian
//   bytes 8-23  byte j holds the low four bits of value j in its low and of value j + 16 in its high nibble
//
//   value = scale * (nibble | fifth << 4) + min
//
// The product is exact in f32, the sum rounds once: with and without FMA the result is the same.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ5_1 {
  static constexpr int kValues = 32;
  uint16_t scale;  // f16
  uint16_t min;    // f16
  uint32_t high;
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ5_1) == 24 && alignof(BlockQ5_1) == 1);

}  // namespace sluice
