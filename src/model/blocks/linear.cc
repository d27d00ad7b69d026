#include "model/blocks/linear.h"

#include <numeric>

namespace sluice {

void take_arrived(Lease& lease, std::vector<size_t>& arrived) {
  arrived.clear();
  for (auto index = lease.wait_any(); index; index = lease.poll_any()) arrived.push_back(*index);
}

namespace {

template <typename Matrix>
uint64_t matrix_bytes(const Matrix& matrix) {
  const auto bytes = row_bytes(matrix.encoding, matrix.params, static_cast<uint64_t>(matrix.cols));
  return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}) * static_cast<uint64_t>(matrix.rows);
}

}  // namespace

uint64_t weight_bytes(const WeightRef& ref) { return matrix_bytes(ref); }
uint64_t weight_bytes(const WeightView& view) { return matrix_bytes(view); }

void multiply(ExecContext& context, Operator op, std::span<const MatmulTask> tasks) {
  ProductClock& clock = *context.products;
  if (!clock.is_running() || tasks.empty()) return matmul(context.compute, tasks);
  uint64_t bytes = 0;
  for (const MatmulTask& task : tasks) bytes += weight_bytes(task.weight);
  clock.begin_product();
  matmul(context.compute, tasks);
  clock.end_product(op, bytes);
}

void linear(ExecContext& context, Operator op, std::span<const LinearOp> ops,
            std::span<const MatmulTask> beside) {
  ProfileScope scope(*context.profile, op);
  auto& ranges = context.ranges;
  ranges.clear();
  for (const LinearOp& product : ops) {
    if (!product.f32_activations) product.input->prepare(context.compute, product.weight->encoding);
    for (const WeightRef& piece : product.weight->pieces) {
      ranges.push_back({.unit = piece.unit});
      scope.add_bytes(weight_bytes(piece));
    }
  }
  Lease lease = context.store->acquire(ranges);

  // Range i of the lease is the i-th piece over all ops.
  const auto task_of = [&](size_t index) {
    const LinearOp* product = ops.data();
    size_t piece = index;
    while (piece >= product->weight->pieces.size()) piece -= (product++)->weight->pieces.size();
    const WeightRef& ref = product->weight->pieces[piece];
    const auto first_row = static_cast<int64_t>(piece) * product->weight->pieces[0].rows;
    return MatmulTask{.weight = lease.view(index, ref),
                      .input = product->input,
                      .output = product->output + first_row,
                      .output_stride = product->output_stride,
                      .f32_activations = product->f32_activations};
  };
  for (const MatmulTask& task : beside) scope.add_bytes(weight_bytes(task.weight));
  for (take_arrived(lease, context.arrived); !context.arrived.empty(); take_arrived(lease, context.arrived)) {
    context.tasks.clear();
    for (const size_t index : context.arrived) context.tasks.push_back(task_of(index));
    context.tasks.insert(context.tasks.end(), beside.begin(), beside.end());
    beside = {};
    multiply(context, op, context.tasks);
    for (const size_t index : context.arrived) lease.release(index);
  }

  for (const LinearOp& product : ops) {
    if (product.weight->bias.empty()) continue;
    for (int64_t t = 0; t < product.input->rows(); ++t) {
      add_scaled(context.compute, product.output + t * product.output_stride, product.weight->bias.data(),
                 1.0F, product.weight->rows);
    }
  }
}

}  // namespace sluice
