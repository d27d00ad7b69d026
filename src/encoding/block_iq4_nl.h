// IQ4_NL (GGUF type 20): 32 values in 18 bytes, 4.5 bits per weight. As Q4_0, but the nibble is an index into
// a table of 16 unevenly spaced levels.
//
//   bytes 0-1   scale, f16
//   bytes 2-17  byte j holds value j in its low and value j + 16 in its high nibble
//
//   value = scale * kIQ4Levels[nibble]
//
// The product is exact in f32.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockIQ4_NL {
  static constexpr int kValues = 32;
  uint16_t scale;  // f16
  uint8_t nibbles[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18 && alignof(BlockIQ4_NL) == 1);

static constexpr int8_t kIQ4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace sluice
