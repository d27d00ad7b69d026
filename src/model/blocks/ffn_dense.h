// The dense SwiGLU feed-forward block: down(silu(gate(x)) * up(x)).
#pragma once

#include "model/activation_buffers.h"
#include "model/blocks/linear.h"

namespace sluice {

// In: buffers.normed, set as buffers.input. Out: buffers.projected.
void ffn_dense(ExecContext& context, const ModelSpec& spec, const LayerWeights& weights,
               ActivationBuffers& buffers);

// gate[i] = silu(gate[i]) * up[i] over [rows, cols], rows spread over the threads.
void swiglu_rows(const Compute& compute, float* gate, const float* up, int64_t rows, int64_t cols);
// The same for these of the rows.
void swiglu_rows(const Compute& compute, float* gate, const float* up, std::span<const int32_t> rows,
                 int64_t cols);

}  // namespace sluice
