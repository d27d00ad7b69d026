// IQ4_XS (GGUF type 23): 256 values in 136 bytes, 4.25 bits per weight. 8 runs of 32 values on the levels of
// IQ4_NL, each run with a 6-bit scale.
//
//   bytes 0-1    scale, f16
//   bytes 2-3    run_scales_high: bits 2r and 2r+1 are the two high bits of run r's scale, little-endian
//   bytes 4-7    run_scales_low: byte r/2 holds the low four bits, even runs in the low nibble
//   bytes 8-135  nibbles: byte 16 r + j (j < 16) holds value 32 r + j in its low and value 32 r + 16 + j in
//   its
//                high nibble
//
//   value = (scale * (run_scale - 32)) * kIQ4Levels[nibble]        (block_iq4_nl.h)
//
// All products are exact in f32.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockIQ4_XS {
  static constexpr int kValues = 256;
  uint16_t scale;  // f16
  uint16_t run_scales_high;
  uint8_t run_scales_low[4];
  uint8_t nibbles[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136 && alignof(BlockIQ4_XS) == 1);

// scales[r] = run_scale - 32, in [-32, 31].
static constexpr void unpack_iq4_xs_scales(uint16_t high, const uint8_t low[4], int8_t scales[8]) {
  for (int r = 0; r < 8; ++r) {
    const int low_bits = low[r / 2] >> (4 * (r % 2)) & 15;
    const int high_bits = high >> (2 * r) & 3;
    scales[r] = static_cast<int8_t>((low_bits | high_bits << 4) - 32);
  }
}

}  // namespace sluice
