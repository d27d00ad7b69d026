// Q4_K (GGUF type 12): 256 values in 144 bytes, 4.5 bits per weight. 8 runs of 32 values, each with a 6-bit
// scale and a 6-bit min.
//
//   bytes 0-1     scale, f16
//   bytes 2-3     min, f16
//   bytes 4-15    run scales and mins: for runs 0-3 the low six bits of bytes r (scale) and r + 4 (min); for
//   runs
//                 4-7 the low four bits are the nibbles of byte r + 4 (scale low, min high), and the two high
//                 bits are the top bits of bytes r - 4 (scale) and r (min)
//   bytes 16-143  nibbles: byte 32 p + i (p < 4, i < 32) holds value 64 p + i in its low and value 64 p + 32
//   + i
//                 in its high nibble, so that runs 2p and 2p + 1 share 32 bytes
//
//   value = (scale * run_scale) * nibble - (min * run_min)
//
// All products are exact in f32, the difference rounds once: with and without FMA the result is the same.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ4_K {
  static constexpr int kValues = 256;
  uint16_t scale;  // f16
  uint16_t min;    // f16
  uint8_t runs[12];
  uint8_t nibbles[128];
};
static_assert(sizeof(BlockQ4_K) == 144 && alignof(BlockQ4_K) == 1);

// The twelve bytes of 6-bit scales and mins that Q4_K and Q5_K have in common.
static constexpr void unpack_q4_k_runs(const uint8_t packed[12], uint8_t scales[8], uint8_t mins[8]) {
  for (int r = 0; r < 4; ++r) {
    scales[r] = packed[r] & 63;
    mins[r] = packed[r + 4] & 63;
    scales[r + 4] = static_cast<uint8_t>((packed[r + 8] & 15) | packed[r] >> 6 << 4);
    mins[r + 4] = static_cast<uint8_t>(packed[r + 8] >> 4 | packed[r + 4] >> 6 << 4);
  }
}

}  // namespace sluice
