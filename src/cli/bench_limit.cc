#include "cli/bench_limit.h"

#include <set>

#include "store/cache_simulator.h"

namespace sluice {
namespace {

// Keys that the queries at [depth, depth + n) look at, summed over queries and layers.
double keys_seen(const ModelInfo& info, int64_t depth, int64_t n) {
  double sum = 0;
  for (const int64_t window : info.attention_windows) {
    // The first `n_short` queries see all that is before them, the others a whole window.
    const int64_t n_short = window == 0 ? n : std::clamp<int64_t>(window - depth, 0, n);
    sum +=
        static_cast<double>(n_short) * (static_cast<double>(depth) + (static_cast<double>(n_short) + 1) / 2);
    sum += static_cast<double>(n - n_short) * static_cast<double>(window);
  }
  return sum;
}

double float_share(const ModelInfo& info) {
  int64_t n = 0;
  for (const EncodingUse& use : info.encodings)
    if (use.name == "f32" || use.name == "f16" || use.name == "bf16") n += use.n_weights;
  return static_cast<double>(n) / static_cast<double>(std::max<int64_t>(info.n_parameters, 1));
}

}  // namespace

double Peaks::memory() const {
  double best = 0;
  for (const ReadPeak& read : reads) best = std::max(best, read.bytes_per_second);
  return best;
}

Work work_of(const ModelInfo& info, const Measured& measured, uint64_t weight_room, bool f32_activations) {
  const BenchTest& test = measured.test;
  const Trace& trace = measured.total.trace;
  const auto n_steps = static_cast<double>(std::max<uint64_t>(measured.last_steps, 1));
  // Rows of a step of decoding: fewer than sequences where the budget's chunk is small.
  const double n_rows = test.prefill ? 1
                                     : static_cast<double>(measured.total.n_tokens) /
                                           static_cast<double>(std::max<uint64_t>(measured.total.n_steps, 1));
  const auto tokens = static_cast<double>(test.tokens);

  std::set<uint64_t> moe_layers;
  for (const uint64_t access : trace) moe_layers.insert(access >> 32);
  const uint64_t experts_per_token =
      static_cast<uint64_t>(info.n_experts_per_token) * static_cast<uint64_t>(moe_layers.size());
  const uint64_t dense = info.bytes_per_token - experts_per_token * info.expert_bytes;
  const auto expert_bytes = static_cast<double>(info.expert_bytes);
  const double experts_per_step = static_cast<double>(trace.size()) / n_steps;

  Work work;
  if (!moe_layers.empty()) work.experts_per_layer = experts_per_step / static_cast<double>(moe_layers.size());
  work.weight_bytes = static_cast<double>(dense) + experts_per_step * expert_bytes;
  if (weight_room < dense) {
    work.disk_bytes = static_cast<double>(dense - weight_room) + experts_per_step * expert_bytes;
  } else if (!trace.empty()) {
    const auto n_slots = static_cast<size_t>((weight_room - dense) / info.expert_bytes);
    work.disk_bytes = static_cast<double>(best_possible_misses(trace, n_slots)) * expert_bytes / n_steps;
  }

  const double keys = keys_seen(info, test.depth, test.tokens);
  const auto n_layers = static_cast<double>(info.n_layers);
  const auto head = static_cast<double>(info.hidden * info.vocab);
  const auto active = static_cast<double>(info.n_active_parameters);
  work.kv_bytes = n_rows * keys / tokens / n_layers * static_cast<double>(info.kv_bytes_per_token);
  double products = active * n_rows;
  double attention = 4.0 * static_cast<double>(info.n_heads * info.head_dim) * keys * n_rows;
  if (test.prefill) {  // the above are one pass's; the head multiplies only the last token
    const double head_bytes = static_cast<double>(info.bytes_per_token) * head / active;
    work.weight_bytes = work.weight_bytes * n_steps - head_bytes * (n_steps - 1);
    work.kv_bytes *= n_steps;
    work.disk_bytes *= n_steps;
    products = (active - head) * tokens + head;
  } else {
    attention /= tokens;
  }
  const double share = f32_activations ? 1 : float_share(info);
  work.int8_operations = 2 * products * (1 - share);
  work.float_operations = 2 * products * share + attention;
  return work;
}

const char* Limit::bound() const {
  if (seconds() == disk_s && disk_s > 0) return "ssd";
  return seconds() == memory_s ? "memory" : "compute";
}

Limit limit_of(const Work& work, const Peaks& peaks) {
  const double float_peak = std::max(peaks.arithmetic.f32, peaks.arithmetic.bf16);
  return {.disk_s = peaks.disk > 0 ? work.disk_bytes / peaks.disk : 0,
          .memory_s = work.memory_bytes() / peaks.memory(),
          .compute_s = work.int8_operations / peaks.arithmetic.int8 + work.float_operations / float_peak};
}

}  // namespace sluice
