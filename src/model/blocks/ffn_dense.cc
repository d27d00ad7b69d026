#include "model/blocks/ffn_dense.h"

namespace sluice {

void swiglu_rows(const Compute& compute, float* gate, const float* up, int64_t rows, int64_t cols) {
  compute.pool->run(rows,
                    [&](int64_t row, int) { swiglu(compute, gate + row * cols, up + row * cols, 1, cols); });
}

void swiglu_rows(const Compute& compute, float* gate, const float* up, std::span<const int32_t> rows,
                 int64_t cols) {
  compute.pool->run(static_cast<int64_t>(rows.size()), [&](int64_t i, int) {
    const int64_t row = rows[static_cast<size_t>(i)];
    swiglu(compute, gate + row * cols, up + row * cols, 1, cols);
  });
}

void ffn_dense(ExecContext& context, const ModelSpec& spec, const LayerWeights& weights,
               ActivationBuffers& b) {
  const int64_t n = b.input.rows(), width = spec.ffn_width;
  const LinearOp gate_up[] = {{&weights.gate, &b.input, b.ffn_gate, width},
                              {&weights.up, &b.input, b.ffn_up, width}};
  linear(context, Operator::kGateUp, gate_up);
  {
    const ProfileScope scope(*context.profile, Operator::kActivation);
    swiglu_rows(context.compute, b.ffn_gate, b.ffn_up, n, width);
  }
  b.middle.set(b.ffn_gate, n, width, width);
  const LinearOp down[] = {{&weights.down, &b.middle, b.projected, spec.hidden}};
  linear(context, Operator::kDown, down);
}

}  // namespace sluice
