#include "model/blocks/linear.h"

namespace sluice {

void take_arrived(Lease& lease, std::vector<size_t>& arrived) {
  arrived.clear();
  for (auto index = lease.wait_any(); index; index = lease.poll_any()) arrived.push_back(*index);
}

void linear(ExecContext& context, std::span<const LinearOp> ops) {
  auto& ranges = context.ranges;
  ranges.clear();
  for (const LinearOp& op : ops) {
    op.input->prepare(context.compute, op.weight->encoding);
    for (const WeightRef& piece : op.weight->pieces) ranges.push_back({.unit = piece.unit});
  }
  Lease lease = context.store->acquire(ranges);

  // Range i of the lease is the i-th piece over all ops.
  const auto task_of = [&](size_t index) {
    const LinearOp* op = ops.data();
    size_t piece = index;
    while (piece >= op->weight->pieces.size()) piece -= (op++)->weight->pieces.size();
    const WeightRef& ref = op->weight->pieces[piece];
    const auto first_row = static_cast<int64_t>(piece) * op->weight->pieces[0].rows;
    return MatmulTask{.weight = lease.view(index, ref),
                      .input = op->input,
                      .output = op->output + first_row,
                      .output_stride = op->output_stride};
  };
  for (take_arrived(lease, context.arrived); !context.arrived.empty(); take_arrived(lease, context.arrived)) {
    context.tasks.clear();
    for (const size_t index : context.arrived) context.tasks.push_back(task_of(index));
    matmul(context.compute, context.tasks);
    for (const size_t index : context.arrived) lease.release(index);
  }

  for (const LinearOp& op : ops) {
    if (op.weight->bias.empty()) continue;
    for (int64_t t = 0; t < op.input->rows(); ++t) {
      add_scaled(context.compute, op.output + t * op.output_stride, op.weight->bias.data(), 1.0F,
                 op.weight->rows);
    }
  }
}

}  // namespace sluice
