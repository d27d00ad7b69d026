// The int8 format of input rows, and how the kernels reach the rows of an Activations.
//
// A row is cut into spans, of 32 values or, for weights in superblocks, of 256: see input_span(). With a =
// the greatest magnitude of a span:
//   scale = a / 127,  q[i] = round_to_nearest_even(x[i] * (127 / a)),  x[i] ~ scale * q[i]
// in f32, one span after another, so that the same floats give the same bytes on every instruction set.
// A span with a < 2^-100 counts as zero (127 / a would overflow or lose bits); one with a NaN or an infinity
// gets the scale NaN and q = 0, so that every product of it is NaN.
//
// The sums serve weights with an offset: sum of (w - z) * q = sum of w * q - z * sum of q.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace sluice {

inline constexpr int kActivationBlock = 32;
inline constexpr int64_t kLongSpan = 256;

// Weights in superblocks of 256 columns take inputs with one scale for as many: their products then multiply
// by it once (docs/decisions/0015), and other engines round them the same way.
inline int64_t input_span(Encoding encoding) {
  return encoding_info(encoding).block == kLongSpan ? kLongSpan : kActivationBlock;
}

// One cache line, so that a block is one address for a kernel.
struct alignas(64) ActivationBlock {
  int8_t q[32];
  float scale;     // of its span
  float sum;       // scale * (sum of q): the block's values added up; in a long span the sum of q
  float sum16[2];  // the same for values 0-15 and 16-31
  int32_t neg_q;   // -(sum of q)
  int32_t neg_q16[2];
  int32_t padding;
};
static_assert(sizeof(ActivationBlock) == 64);

// The blocks of some rows and columns as the products with many inputs read them: rows of ActivationBlocks
// are often 4096 bytes apart, where they compete for one place in the first-level cache.
inline constexpr int64_t kPackedRows = 32;
inline constexpr int64_t kPackedCols = 256;
struct alignas(64) PackedInputs {
  static constexpr int64_t kBlocks = kPackedCols / kActivationBlock;
  int8_t q[kBlocks][kPackedRows][kActivationBlock];  // with i8mm pairs of rows [kActivationBlock / 8][2][8]
  float scale[kBlocks][kPackedRows];
  float sum[kBlocks][kPackedRows];
  float sum16[kBlocks][2][kPackedRows];
  int32_t neg_q[kBlocks][kPackedRows];
  int32_t neg_q16[kBlocks][2][kPackedRows];
};

// The same of inputs rounded to bf16: pairs of neighbouring columns, zeros after an odd last one.
struct alignas(64) RoundedInputs {
  uint32_t pair[kPackedRows][kPackedCols / 2];
};

// Of the copy: int8 in rows, int8 packed, bf16.
enum class InputForm { kNone, kRows, kPacked, kRounded };

struct Activations::Impl {
  const float* x = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  // Blocks [rows, cols / 32], or PackedInputs or RoundedInputs [rows / kPackedRows, cols / kPackedCols], both
  // rounded up.
  struct Copy {
    ActivationBlock* blocks = nullptr;
    InputForm form = InputForm::kNone;

    template <typename Inputs>
    Inputs* packed() const {
      return reinterpret_cast<Inputs*>(blocks);
    }
  };
  Copy of_short_spans, of_long_spans;  // bf16 is with the former
  ActivationBlock* memory = nullptr;   // owned: capacity blocks for each of them
  size_t capacity = 0;

  Copy& copy(int64_t span) { return span == kLongSpan ? of_long_spans : of_short_spans; }
  const Copy& copy(int64_t span) const { return span == kLongSpan ? of_long_spans : of_short_spans; }
  int64_t packed_groups() const { return (rows + kPackedRows - 1) / kPackedRows; }
  int64_t packed_chunks() const { return (cols + kPackedCols - 1) / kPackedCols; }
};

struct ActivationAccess {
  static const Activations::Impl& impl(const Activations& activations) { return *activations.impl_; }
};

}  // namespace sluice
