// Cuts products into tasks for the thread pool.
#include <algorithm>
#include <numeric>
#include <vector>

#include "base/align.h"
#include "base/check.h"
#include "kernels/table.h"

namespace sluice {
namespace {

// A task of few inputs reads streams of rows, of at most this many bytes together: 32 streams of 16 KB, long
// enough for the memory's prefetcher.
constexpr uint64_t kTaskBytes = 512 << 10;
constexpr uint64_t kTasksPerThread = 6;
// A task of more inputs does about this many products, or more where there are plenty: what it packs of its
// inputs then serves more rows.
constexpr uint64_t kTaskProducts = 8 << 20;
constexpr uint64_t kPackedTasksPerThread = 24;
constexpr int64_t kManyInputs = 64;  // from here on whole blocks of rows

struct Slice {
  MatmulFn run;
  MatmulArgs args;     // all rows
  int64_t woven_rows;  // of them
  int64_t task_rows;   // rows of one task
  int64_t first_task;  // of this product
};

uint64_t weight_row_bytes(const WeightView& w) {
  const auto bytes = row_bytes(w.encoding, w.params, static_cast<uint64_t>(w.cols));
  return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0});
}

int64_t n_inputs(const MatmulTask& task) {
  return task.input_rows.empty() ? task.input->rows() : static_cast<int64_t>(task.input_rows.size());
}

bool is_empty(const MatmulTask& task) {
  return task.input->rows() == 0 || task.weight.rows == 0 || task.weight.cols == 0;
}

struct TaskSize {
  uint64_t bytes;     // with few inputs
  uint64_t products;  // with more
};

Slice make_slice(const Compute& compute, const MatmulTask& task, const TaskSize& size) {
  const WeightView& w = task.weight;
  const auto& input = ActivationAccess::impl(*task.input);
  const Activation activation = task.f32_activations ? Activation::kF32 : activation_of(compute, w.encoding);
  const bool is_int8 = activation == Activation::kInt8;
  const auto& copy = input.copy(input_span(w.encoding));
  const bool is_packed = is_int8 && copy.form == InputForm::kPacked;
  const bool is_rounded = activation == Activation::kBF16 && copy.form == InputForm::kRounded;
  SLUICE_CHECK(input.cols == w.cols && (!is_int8 || is_packed || copy.form == InputForm::kRows) &&
               (!is_packed || task.input_rows.empty()));

  Slice slice = {};
  slice.run = compute.table->matmul[static_cast<size_t>(w.encoding)][static_cast<size_t>(activation)];
  MatmulArgs& a = slice.args;
  std::copy(w.plane.begin(), w.plane.end(), a.plane);
  std::copy(w.stride.begin(), w.stride.end(), a.stride);
  const auto bytes = row_bytes(w.encoding, w.params, static_cast<uint64_t>(w.cols));
  std::copy(bytes.begin(), bytes.end(), a.row_bytes);
  a.params = w.params;
  SLUICE_CHECK(w.first_row == 0 &&
               (w.woven_rows == 0 || is_int8 || encoding_info(w.encoding).activation != Activation::kInt8));
  slice.woven_rows = w.woven_rows;
  a.rows = w.rows;
  a.cols = w.cols;
  a.input =
      is_int8 ? reinterpret_cast<const std::byte*>(copy.blocks) : reinterpret_cast<const std::byte*>(input.x);
  a.input_stride = is_int8 ? w.cols / kActivationBlock * static_cast<int64_t>(sizeof(ActivationBlock))
                           : input.stride * static_cast<int64_t>(sizeof(float));
  if (is_packed || (is_rounded && task.input_rows.empty())) a.packed = copy.blocks;
  a.input_rows = task.input_rows.empty() ? nullptr : task.input_rows.data();
  a.n_inputs = n_inputs(task);
  a.output = task.output;
  a.output_stride = task.output_stride;

  const auto panel = static_cast<uint64_t>(
      std::max(compute.table->panel_rows, a.n_inputs == 1 && takes_turns(a.cols) ? kTurnRows : kWovenRows));
  const uint64_t n_panels = a.n_inputs <= kFewInputs
                                ? size.bytes / std::max<uint64_t>(panel * weight_row_bytes(w), 1)
                                : size.products / (panel * static_cast<uint64_t>(w.cols * a.n_inputs));
  slice.task_rows = static_cast<int64_t>(panel * std::max<uint64_t>(n_panels, 1));
  if (a.n_inputs >= kManyInputs) {
    const auto block = static_cast<uint64_t>(std::min(kBlockRows, a.rows / (2 * compute.pool->size())));
    slice.task_rows = std::max(slice.task_rows, static_cast<int64_t>(round_up(block, panel)));
  }
  return slice;
}

}  // namespace

int64_t weave(const KernelTable& table, std::byte* rows, int64_t n_rows, uint64_t row_bytes,
              Encoding encoding, std::vector<std::byte>& scratch) {
  const int64_t n = weavable_rows(n_rows, row_bytes);
  if (n == 0) return 0;
  scratch.resize(std::max<size_t>(scratch.size(), weave_scratch_bytes(row_bytes)));
  table.weave(rows, n, row_bytes, woven_form(encoding), scratch.data());
  return n;
}

void matmul(const Compute& compute, std::span<const MatmulTask> tasks) {
  std::vector<Slice> slices;
  slices.reserve(tasks.size());
  uint64_t bytes = 0, products = 0;
  for (const MatmulTask& task : tasks) {
    if (is_empty(task)) continue;
    bytes += weight_row_bytes(task.weight) * static_cast<uint64_t>(task.weight.rows);
    products += static_cast<uint64_t>(task.weight.rows * task.weight.cols * n_inputs(task));
  }
  const auto n_threads = static_cast<uint64_t>(compute.pool->size());
  const TaskSize size = {
      n_threads == 1 ? kTaskBytes : std::min(kTaskBytes, bytes / (kTasksPerThread * n_threads)),
      std::max(kTaskProducts, products / (kPackedTasksPerThread * n_threads))};
  int64_t n_tasks = 0;
  for (const MatmulTask& task : tasks) {
    if (is_empty(task)) continue;
    Slice slice = make_slice(compute, task, size);
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
    if (args.row_begin < slice.woven_rows) {
      MatmulArgs woven = args;
      woven.is_woven = true;
      woven.rows = slice.woven_rows;
      woven.row_end = args.row_begin = std::min(args.row_end, slice.woven_rows);
      slice.run(woven);
    }
    if (args.row_begin < args.row_end) slice.run(args);
  };
  if (n_tasks == 1)
    run(0, 0);
  else if (n_tasks > 1)
    compute.pool->run(n_tasks, run);
}

}  // namespace sluice
