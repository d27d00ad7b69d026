// Q8_0 (GGUF type 8): 32 values in 34 bytes, 8.5 bits per weight.
//
//   bytes 0-1   scale, f16
//   bytes 2-33  value i as a signed byte
//
//   value = scale * byte
//
// The product is exact in f32.
#pragma once

#include <stdint.h>

namespace sluice {

struct [[gnu::packed]] BlockQ8_0 {
  static constexpr int kValues = 32;
  uint16_t scale;  // f16
  int8_t values[32];
};
static_assert(sizeof(BlockQ8_0) == 34 && alignof(BlockQ8_0) == 1);

}  // namespace sluice
