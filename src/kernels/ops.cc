// The operations on rows of floats and attention, cut into tasks for the thread pool.
#include <algorithm>
#include <vector>

#include "base/check.h"
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

void store_kv(const Compute& compute, KvType type, const float* src, void* dst, int64_t n) {
  compute.table->store_kv(type, src, dst, n);
}

void attention(const Compute& compute, std::span<const AttentionTask> tasks) {
  struct Slice {
    AttentionFn run;
    AttentionArgs args;
    int64_t n_rows;
    int64_t first_task;
  };
  std::vector<Slice> slices;
  slices.reserve(tasks.size());
  int64_t n_tasks = 0;
  for (const AttentionTask& task : tasks) {
    if (task.n_queries == 0) continue;
    const int64_t n_keys = task.first_position + task.n_queries;
    SLUICE_CHECK(static_cast<int64_t>(task.blocks.size()) * kKvBlockTokens >= n_keys);
    Slice slice = {};
    slice.run = compute.table->attention[static_cast<size_t>(task.kv_type)];
    slice.args = {.row_begin = 0,
                  .row_end = 0,
                  .q = task.q,
                  .q_stride = task.q_stride,
                  .first_position = task.first_position,
                  .blocks = task.blocks.data(),
                  .k_offset = task.k_offset,
                  .v_offset = task.v_offset,
                  .group = task.group,
                  .head_dim = task.head_dim,
                  .window = task.window,
                  .scale = task.scale,
                  .out = task.out,
                  .out_stride = task.out_stride};
    slice.n_rows = task.n_queries * task.group;
    slice.first_task = n_tasks;
    n_tasks += (slice.n_rows + kAttentionRows - 1) / kAttentionRows;
    slices.push_back(slice);
  }
  if (n_tasks == 0) return;
  compute.pool->run(n_tasks, [&](int64_t task, int) {
    const auto after = std::upper_bound(slices.begin(), slices.end(), task,
                                        [](int64_t t, const Slice& slice) { return t < slice.first_task; });
    const Slice& slice = *(after - 1);
    AttentionArgs args = slice.args;
    args.row_begin = (task - slice.first_task) * kAttentionRows;
    args.row_end = std::min(args.row_begin + kAttentionRows, slice.n_rows);
    slice.run(args);
  });
}

}  // namespace sluice
