// Q6_K (GGUF type 14): 256 values in 210 bytes, 6.5625 bits per weight. 16 runs of 16 values, each with a
// signed 8-bit scale.
//
//   bytes 0-127    nibbles, the low four bits: byte 64 h + i (h < 2, i < 64) holds value 128 h + i in its low
//   and
//                  value 128 h + 64 + i in its high nibble
//   bytes 128-191  crumbs, the two high bits: value 128 h + 32 k + i (h < 2, k < 4, i < 32) has them in bits
//   2k and
//                  2k+1 of byte 32 h + i
//   bytes 192-207  run scales, signed
//   bytes 208-209  scale, f16
//
//   value = (scale * run_scale) * ((nibble | crumb << 4) - 32)
//
// All products are exact in f32.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ6_K {
  static constexpr int kValues = 256;
  uint8_t nibbles[128];
  uint8_t crumbs[64];
  int8_t run_scales[16];
  uint16_t scale;  // f16
};
static_assert(sizeof(BlockQ6_K) == 210 && alignof(BlockQ6_K) == 1);

}  // namespace sluice
