// The scalar truth: what the bytes of every encoding mean, as f32. Slow and plain; kernels are tested against
// it, and what needs a whole row in f32 (embeddings, re-encoding) may call it. Not here: products,
// activations (src/kernels).
//
// Each value is computed by the formula in its block_<name>.h, in f32, in the order of its parentheses and
// without fused multiply-add.
#pragma once

#include <cstdint>

#include "encoding/encoding.h"

namespace sluice {

// Row `row` of `w` into out [w.cols]. Preconditions: 0 <= row < w.rows, cols_fit(). Thread-safe.
void decode_row(const WeightView& w, int64_t row, float* out) noexcept;

// Weaves the rows of a plane that can be woven, in place (woven.h).
void weave_rows(std::byte* rows, int64_t n_rows, uint64_t row_bytes, Encoding encoding);

// All of `w` into out [w.rows, w.cols].
void decode_matrix(const WeightView& w, float* out) noexcept;

}  // namespace sluice
