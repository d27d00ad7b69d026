// Q4_1 (GGUF type 3): 32 values in 20 bytes, 5 bits per weight.
//
//   bytes 0-1   scale, f16
//   bytes 2-3   min, f16
//   bytes 4-19  byte j holds value j in its low and value j + 16 in its high nibble
//
//   value = scale * nibble + min
//
// The product is exact in f32, the sum rounds once: with and without FMA the result is the same.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ4_1 {
  static constexpr int kValues = 32;
  uint16_t scale;  // f16
  uint16_t min;    // f16
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ4_1) == 20 && alignof(BlockQ4_1) == 1);

}  // namespace sluice
