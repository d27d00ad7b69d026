// Q4_0 (GGUF type 2): 32 values in 18 bytes, 4.5 bits per weight.
//
//   bytes 0-1   scale, f16
//   bytes 2-17  byte j holds value j in its low and value j + 16 in its high nibble
//
//   value = scale * (nibble - 8)
//
// The product is exact in f32.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ4_0 {
  static constexpr int kValues = 32;
  uint16_t scale;  // f16
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ4_0) == 18 && alignof(BlockQ4_0) == 1);

}  // namespace sluice
