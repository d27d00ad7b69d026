// Q5_K (GGUF type 13): 256 values in 176 bytes, 5.5 bits per weight. Q4_K with a fifth bit for every value.
//
//   bytes 0-1     scale, f16
//   bytes 2-3     min, f16
//   bytes 4-15    run scales and mins, packed as in Q4_K: unpack_q4_k_runs() of block_q4_k.h
//   bytes 16-47   high: value 32 r + i (r < 8, i < 32) has its fifth bit in bit r of byte i
//   bytes 48-175  nibbles, as in Q4_K
//
//   value = (scale * run_scale) * (nibble | fifth << 4) - (min * run_min)
//
// All products are exact in f32, the difference rounds once: with and without FMA the result is the same.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ5_K {
  static constexpr int kValues = 256;
  uint16_t scale;  // f16
  uint16_t min;    // f16
  uint8_t runs[12];
  uint8_t high[32];
  uint8_t nibbles[128];
};
static_assert(sizeof(BlockQ5_K) == 176 && alignof(BlockQ5_K) == 1);

}  // namespace sluice
