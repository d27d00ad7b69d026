// The int8 format of input rows, and how the kernels reach the rows of an Activations.
//
// A row is cut into blocks of 32 values. With a = the greatest magnitude of a block:
//   scale = a / 127,  q[i] = round_to_nearest_even(x[i] * (127 / a)),  x[i] ~ scale * q[i]
// in f32, one block after another, so that the same floats give the same bytes on every instruction set.
// A block with a < 2^-100 counts as zero (127 / a would overflow or lose bits); a block with a NaN or an
// infinity gets scale and sums NaN and q = 0, so that every product of it is NaN.
//
// The sums serve weights with an offset: sum of (w - z) * q = sum of w * q - z * sum of q.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace sluice {

inline constexpr int kActivationBlock = 32;

// One cache line, so that a block is one address for a kernel.
struct alignas(64) ActivationBlock {
  int8_t q[32];
  float scale;
  float sum;       // scale * (sum of q): the block's values added up
  float sum16[2];  // the same for values 0-15 and 16-31
  int32_t neg_q;   // -(sum of q)
  int32_t neg_q16[2];
  int32_t padding;
};
static_assert(sizeof(ActivationBlock) == 64);

struct Activations::Impl {
  const float* x = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  ActivationBlock* blocks = nullptr;  // [rows, cols / 32], owned
  size_t capacity = 0;                // blocks
  bool is_int8_ready = false;
};

struct ActivationAccess {
  static const Activations::Impl& impl(const Activations& activations) { return *activations.impl_; }
};

}  // namespace sluice
