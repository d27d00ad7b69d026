// The operations on rows of floats, cut into tasks for the thread pool.
#include "kernels/table.h"

namespace sluice {
namespace {

// Below this many values waking other threads costs more than it saves.
constexpr int64_t kParallelValues = 1 << 15;

void for_rows(const Compute& compute, int64_t rows, int64_t cols, FunctionRef<void(int64_t, int)> body) {
  if (rows > 1 && rows * cols >= kParallelValues) {
    compute.pool->run(rows, body);
  } else {
    for (int64_t row = 0; row < rows; ++row) body(row, 0);
  }
}

}  // namespace

void rms_norm(const Compute& compute, const float* x, int64_t x_stride, const float* weight, float eps,
              float* out, int64_t out_stride, int64_t rows, int64_t cols) {
  for_rows(compute, rows, cols, [&](int64_t row, int) {
    compute.table->rms_norm_row(x + row * x_stride, weight, eps, out + row * out_stride, cols);
  });
}

void swiglu(const Compute& compute, float* gate, const float* up, int64_t rows, int64_t cols) {
  for_rows(compute, rows, cols,
           [&](int64_t row, int) { compute.table->swiglu(gate + row * cols, up + row * cols, cols); });
}

void add_scaled(const Compute& compute, float* x, const float* y, float scale, int64_t n) {
  compute.table->add_scaled(x, y, scale, n);
}

void rope(const Compute& compute, RopeStyle style, float* x, int64_t n_heads, int64_t head_dim,
          int64_t rotary_dim, const float* cosines, const float* sines) {
  compute.table->rope(style, x, n_heads, head_dim, rotary_dim, cosines, sines);
}

}  // namespace sluice
