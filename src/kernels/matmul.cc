// Cuts products into tasks for the thread pool.
#include <algorithm>
#include <vector>

#include "base/align.h"
#include "base/check.h"
#include "kernels/table.h"

namespace sluice {
namespace {

// A task reads about this many bytes of weights or does about this many products, whichever is less: some
// microseconds, so that threads end together and the counter costs nothing.
constexpr uint64_t kTaskBytes = 64 << 10;
constexpr uint64_t kTaskProducts = 8 << 20;

struct Slice {
  MatmulFn run;
  MatmulArgs args;     // all rows
  int64_t task_rows;   // rows of one task
  int64_t first_task;  // of this product
};

Slice make_slice(const Compute& compute, const MatmulTask& task) {
  const WeightView& w = task.weight;
  const auto& input = ActivationAccess::impl(*task.input);
  const bool is_int8 = encoding_info(w.encoding).activation == Activation::kInt8 && !compute.f32_activations;
  SLUICE_CHECK(input.cols == w.cols && (input.is_int8_ready || !is_int8));

  Slice slice = {};
  slice.run = compute.table->matmul[static_cast<size_t>(w.encoding)][is_int8 ? 1 : 0];
  MatmulArgs& a = slice.args;
  std::copy(w.plane.begin(), w.plane.end(), a.plane);
  std::copy(w.stride.begin(), w.stride.end(), a.stride);
  const auto bytes = row_bytes(w.encoding, w.params, static_cast<uint64_t>(w.cols));
  std::copy(bytes.begin(), bytes.end(), a.row_bytes);
  a.params = w.params;
  a.rows = w.rows;
  a.cols = w.cols;
  a.input = is_int8 ? reinterpret_cast<const std::byte*>(input.blocks)
                    : reinterpret_cast<const std::byte*>(input.x);
  a.input_stride = is_int8 ? w.cols / kActivationBlock * static_cast<int64_t>(sizeof(ActivationBlock))
                           : input.stride * static_cast<int64_t>(sizeof(float));
  a.input_rows = task.input_rows.empty() ? nullptr : task.input_rows.data();
  a.n_inputs = task.input_rows.empty() ? input.rows : static_cast<int64_t>(task.input_rows.size());
  a.output = task.output;
  a.output_stride = task.output_stride;

  const uint64_t panel = static_cast<uint64_t>(compute.table->panel_rows);
  const uint64_t panel_bytes = panel * (bytes[0] + bytes[1] + bytes[2]);
  const uint64_t panel_products = panel * static_cast<uint64_t>(w.cols * a.n_inputs);
  const uint64_t n_panels = std::min(kTaskBytes / std::max<uint64_t>(panel_bytes, 1),
                                     kTaskProducts / std::max<uint64_t>(panel_products, 1));
  slice.task_rows = static_cast<int64_t>(panel * std::max<uint64_t>(n_panels, 1));
  return slice;
}

}  // namespace

void matmul(const Compute& compute, std::span<const MatmulTask> tasks) {
  std::vector<Slice> slices;
  slices.reserve(tasks.size());
  int64_t n_tasks = 0;
  for (const MatmulTask& task : tasks) {
    if (task.input->rows() == 0 || task.weight.rows == 0 || task.weight.cols == 0) continue;
    Slice slice = make_slice(compute, task);
    slice.first_task = n_tasks;
    n_tasks += (slice.args.rows + slice.task_rows - 1) / slice.task_rows;
    slices.push_back(slice);
  }
  const auto run = [&](int64_t task, int) {
    const auto after = std::upper_bound(slices.begin(), slices.end(), task,
                                        [](int64_t t, const Slice& slice) { return t < slice.first_task; });
    const Slice& slice = *(after - 1);
    MatmulArgs args = slice.args;
    args.row_begin = (task - slice.first_task) * slice.task_rows;
    args.row_end = std::min(args.row_begin + slice.task_rows, args.rows);
    // The other threads will probably take the tasks in between.
    args.next_row = args.row_begin + slice.task_rows * compute.pool->size();
    slice.run(args);
  };
  if (n_tasks == 1)
    run(0, 0);
  else if (n_tasks > 1)
    compute.pool->run(n_tasks, run);
}

}  // namespace sluice
