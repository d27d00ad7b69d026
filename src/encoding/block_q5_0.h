// Q5_0 (GGUF type 6): 32 values in 22 bytes, 5.5 bits per weight.
//
//   bytes 0-1   scale, f16
//   bytes 2-5   high: bit i is the fifth bit of value i, little-endian
//   bytes 6-21  byte j holds the low four bits of value j in its low and of value j + 16 in its high nibble
//
//   value = scale * ((nibble | fifth << 4) - 16)
//
// The product is exact in f32.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ5_0 {
  static constexpr int kValues = 32;
  uint16_t scale;  // f16
  uint32_t high;
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ5_0) == 22 && alignof(BlockQ5_0) == 1);

}  // namespace sluice
