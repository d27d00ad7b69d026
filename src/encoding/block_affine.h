// MLX affine weights at 2, 3, 4, 5, 6 and 8 bits: three planes, in groups of 32, 64 or 128 values along a
// row.
//
//   weight  [rows, cols * bits / 8] bytes: each row is one little-endian bit stream, least significant bit
//   first;
//           value i is bits [i * bits, (i + 1) * bits), unsigned. Eight values fill `bits` whole bytes.
//           (Files declare it as u32 [rows, cols * bits / 32]; the bytes are the same.)
//   scales  [rows, cols / group] f32, f16 or bf16
//   biases  [rows, cols / group], the same type
//
//   value = scale * q + bias, in f32, the product rounded before the sum
//
// The scale may be negative. With f16 or bf16 scales the product is exact and FMA gives the same result; with
// f32 scales an FMA would round once where this rounds twice.
#pragma once

#include <stdint.h>

namespace sluice {

// The eight values of `bits` bytes at `stream`.
static constexpr void unpack_affine(const uint8_t* stream, int bits, uint8_t values[8]) {
  uint64_t word = 0;
  for (int i = 0; i < bits; ++i) word |= static_cast<uint64_t>(stream[i]) << (8 * i);
  for (int i = 0; i < 8; ++i) values[i] = static_cast<uint8_t>(word >> (i * bits) & ((1u << bits) - 1));
}

// The inverse; the values are below 2^bits.
static constexpr void pack_affine(const uint8_t values[8], int bits, uint8_t* stream) {
  uint64_t word = 0;
  for (int i = 0; i < 8; ++i) word |= static_cast<uint64_t>(values[i]) << (i * bits);
  for (int i = 0; i < bits; ++i) stream[i] = static_cast<uint8_t>(word >> (8 * i));
}

}  // namespace sluice
