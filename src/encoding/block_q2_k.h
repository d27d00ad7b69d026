// Q2_K (GGUF type 10): 256 values in 84 bytes, 2.625 bits per weight. 16 runs of 16 values, each with a 4-bit
// scale and a 4-bit min.
//
//   bytes 0-15   byte r: scale of run r in the low, its min in the high nibble
//   bytes 16-79  crumbs, 2 bits a value: value 128 h + 32 k + i (h < 2, k < 4, i < 32) is bits 2k and 2k+1 of
//                byte 32 h + i
//   bytes 80-81  scale, f16
//   bytes 82-83  min, f16
//
//   value = (scale * run_scale) * crumb - (min * run_min)
//
// All products are exact in f32, the difference rounds once: with and without FMA the result is the same.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ2_K {
  static constexpr int kValues = 256;
  uint8_t runs[16];
  uint8_t crumbs[64];
  uint16_t scale;  // f16
  uint16_t min;    // f16
};
static_assert(sizeof(BlockQ2_K) == 84 && alignof(BlockQ2_K) == 1);

}  // namespace sluice
