// Round-to-nearest encoders: f32 rows into F32, F16, BF16, Q4_0, Q8_0 and MLX affine 2-8. One row at a time
// and without state, so that threads may each take rows of their own. Not here: recipes that look at data or
// at more than one group (src/compress).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "encoding/encoding.h"

namespace sluice {

// Whether encode_row() can write `encoding`.
bool can_encode(Encoding encoding) noexcept;

// Encodes in [cols] into one row of each plane; the spans are exactly row_bytes() long (empty where there is
// no plane). Preconditions: can_encode(), cols_fit(). Thread-safe.
//
// Throws Error(kInvalid) that names the value if it is NaN or infinite, or too large for the encoding (f16
// values and scales end at 65504); the planes are then unspecified. The caller adds file and tensor.
//
// F16, BF16: each value to the nearest, ties to even.
//
// Q8_0, Q4_0: the bytes of ggml's reference quantisation. Q8_0: scale = largest magnitude / 127. Q4_0: scale
// = value of largest magnitude / -8, so that it becomes the level -8; its opposite, if it occurs, is 7 and
// off by a step. Values are divided by the scale before that is rounded to f16.
//
// Affine: the choice of scale and bias that MLX makes on a CPU. The bias is the end of the group's range with
// the larger magnitude, and the scale runs from there towards the other end, in such steps that zero is a
// level. Where MLX picks levels by the unrounded scale and bias, this picks the level nearest to the value by
// the stored ones: the same if they are f32, never a larger error if they are not. Error: half a step, up to
// one step at the far end of the range.
void encode_row(Encoding encoding, EncodingParams params, const float* in, int64_t cols,
                std::span<std::byte> plane0, std::span<std::byte> plane1 = {},
                std::span<std::byte> plane2 = {});

}  // namespace sluice
