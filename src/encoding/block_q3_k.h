// Q3_K (GGUF type 11): 256 values in 110 bytes, 3.4375 bits per weight. 16 runs of 16 values, each with a
// 6-bit scale.
//
//   bytes 0-31     high: value 32 k + i (k < 8, i < 32) has its third bit in bit k of byte i
//   bytes 32-95    crumbs, 2 bits a value: value 128 h + 32 k + i (h < 2, k < 4, i < 32) is bits 2k and 2k+1
//   of
//                  byte 32 h + i
//   bytes 96-107   run scales: the low four bits of runs 0-7 are the low nibbles of the first eight bytes,
//   those of
//                  runs 8-15 their high nibbles; the two high bits of run r are bits 2(r/4) and 2(r/4)+1 of
//                  byte 8 + r%4
//   bytes 108-109  scale, f16
//
//   value = (scale * (run_scale - 32)) * ((crumb | third << 2) - 4)
//
// All products are exact in f32.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ3_K {
  static constexpr int kValues = 256;
  uint8_t high[32];
  uint8_t crumbs[64];
  uint8_t run_scales[12];
  uint16_t scale;  // f16
};
static_assert(sizeof(BlockQ3_K) == 110 && alignof(BlockQ3_K) == 1);

// scales[r] = run_scale - 32, in [-32, 31].
static constexpr void unpack_q3_k_scales(const uint8_t packed[12], int8_t scales[16]) {
  for (int r = 0; r < 16; ++r) {
    const int low = r < 8 ? packed[r] & 15 : packed[r - 8] >> 4;
    const int high = packed[8 + r % 4] >> (2 * (r / 4)) & 3;
    scales[r] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

}  // namespace sluice
