#include "model/blocks/ffn_moe.h"

#include <algorithm>

#include "model/blocks/ffn_dense.h"
#include "model/blocks/router.h"
#include "model/predictor/prefetcher.h"
#include "model/speculation.h"

namespace sluice {
namespace {

// Changes the choice for one token as lossy.h says.
void route_lossily(ExecContext& context, RouterKind kind, std::span<const float> logits, UnitId first_unit,
                   std::span<int32_t> experts, std::span<float> weights) {
  const LossyRouting& lossy = context.lossy;
  const auto unit_of = [first_unit](size_t expert) { return first_unit + static_cast<UnitId>(expert); };
  if (lossy.cache_bias > 0) {
    const auto [least, greatest] = std::minmax_element(logits.begin(), logits.end());
    const float bonus = lossy.cache_bias * (*greatest - *least);
    std::vector<float> biased(logits.begin(), logits.end());
    for (size_t e = 0; e < biased.size(); ++e)
      if (context.store->holds(unit_of(e))) biased[e] += bonus;
    biased[static_cast<size_t>(experts[0])] = *greatest + 2 * bonus;
    choose(biased, experts);
    weigh(kind, logits, experts, weights);
  }
  float all = 0, kept = 0;
  for (size_t i = 0; i < experts.size(); ++i) {
    all += weights[i];
    const UnitId unit = unit_of(static_cast<size_t>(experts[i]));
    const bool is_light = weights[i] < lossy.top_k_threshold * weights[0];
    const bool is_missing = lossy.skip_missing && !context.store->holds(unit);
    if (i == 0 || !(is_light || is_missing)) {
      kept += weights[i];
      continue;
    }
    if (!is_light) context.skipped.push_back({.unit = unit});
    experts[i] = kDroppedExpert;
    weights[i] = 0;
    ++context.n_dropped_experts;
  }
  for (float& weight : weights) weight *= all / kept;
}

// The router decides discretely, so it always multiplies with float inputs.
void choose_experts(ExecContext& context, const ModelSpec& spec, int64_t layer, const LayerWeights& weights,
                    ActivationBuffers& b, MoeRouting& routing) {
  const int64_t n = b.input.rows(), k = spec.n_experts_per_token;
  Speculation& speculation = *context.speculation;
  const std::span<const MatmulTask> beside = speculation.begin(
      *context.store, context.compute, layer, weights.experts, context.prefetcher->guess(), b.input);
  const LinearOp router[] = {
      {&weights.router, &b.input, b.router_logits, spec.n_experts, /*f32_activations=*/true}};
  linear(context, Operator::kRouter, router, beside);

  routing.experts.resize(static_cast<size_t>(n * k));
  routing.weights.resize(static_cast<size_t>(n * k));
  for (int64_t t = 0; t < n; ++t) {
    const auto at = static_cast<size_t>(t * k), count = static_cast<size_t>(k);
    const std::span<float> logits = {b.router_logits + t * spec.n_experts,
                                     static_cast<size_t>(spec.n_experts)};
    const auto experts = std::span(routing.experts).subspan(at, count);
    const auto own = std::span(routing.weights).subspan(at, count);
    route(spec.router, logits, experts, own);
    if (!context.lossy.is_exact())
      route_lossily(context, spec.router, logits, weights.experts.first_unit, experts, own);
  }
  speculation.end(layer, std::span(routing.experts).last(static_cast<size_t>(k)));
}

// Counting sort of the assignments by expert.
void group_by_expert(const ModelSpec& spec, int64_t n, MoeRouting& r) {
  const int64_t k = spec.n_experts_per_token;
  std::vector<int32_t> start(static_cast<size_t>(spec.n_experts) + 1, 0);
  for (const int32_t e : r.experts)
    if (e != kDroppedExpert) ++start[static_cast<size_t>(e) + 1];
  r.active.clear();
  r.first.clear();
  for (int64_t e = 0; e < spec.n_experts; ++e) {
    const auto i = static_cast<size_t>(e);
    if (start[i + 1] > 0) {
      r.active.push_back(static_cast<int32_t>(e));
      r.first.push_back(start[i]);
    }
    start[i + 1] += start[i];
  }
  r.first.push_back(start.back());

  r.tokens.resize(r.experts.size());
  r.assignment_of.resize(r.experts.size());
  r.weight_of.resize(r.experts.size());
  std::vector<size_t> by_id(static_cast<size_t>(k));  // a token's places in `experts`, by ascending expert
  for (int64_t t = 0; t < n; ++t) {
    const auto row = static_cast<size_t>(t * k);
    for (size_t j = 0; j < by_id.size(); ++j) by_id[j] = row + j;
    std::sort(by_id.begin(), by_id.end(), [&r](size_t a, size_t b) { return r.experts[a] < r.experts[b]; });
    for (size_t j = 0; j < by_id.size(); ++j) {
      const int32_t expert = r.experts[by_id[j]];
      const int32_t assignment = expert == kDroppedExpert ? -1 : start[static_cast<size_t>(expert)]++;
      if (assignment >= 0) r.tokens[static_cast<size_t>(assignment)] = static_cast<int32_t>(t);
      r.assignment_of[row + j] = assignment;
      r.weight_of[row + j] = r.weights[by_id[j]];
    }
  }
}

}  // namespace

void ffn_moe(ExecContext& context, const ModelSpec& spec, int64_t layer, const LayerWeights& weights,
             ActivationBuffers& b, MoeRouting& routing) {
  const Compute& compute = context.compute;
  const Speculation& speculation = *context.speculation;
  const int64_t n = b.input.rows(), k = spec.n_experts_per_token;
  const int64_t width = spec.expert_width, hidden = spec.hidden;
  choose_experts(context, spec, layer, weights, b, routing);
  group_by_expert(spec, n, routing);

  const ExpertWeights& experts = weights.experts;
  b.input.prepare(compute, experts.gate.encoding);
  b.input.prepare(compute, experts.up.encoding);
  const auto unit_of = [&](size_t index) {
    return experts.first_unit + static_cast<UnitId>(routing.active[index]);
  };
  context.ranges.clear();
  for (size_t i = 0; i < routing.active.size(); ++i) context.ranges.push_back({.unit = unit_of(i)});
  Prefetcher& prefetcher = *context.prefetcher;
  prefetcher.before_acquire(context.ranges);
  Lease lease = context.store->acquire(context.ranges);
  {
    const ProfileScope scope(*context.profile, Operator::kPredict);
    prefetcher.after_acquire(layer, b.residual, routing.experts);
  }
  if (!context.skipped.empty()) context.store->prefetch(context.skipped);
  context.skipped.clear();

  auto& arrived = context.arrived;
  auto& tasks = context.tasks;
  std::vector<int32_t> middle_rows(
      static_cast<size_t>(n * k));  // 0, 1, 2, ...: subspans name rows of b.middle
  for (size_t i = 0; i < middle_rows.size(); ++i) middle_rows[i] = static_cast<int32_t>(i);

  for (take_arrived(lease, arrived); !arrived.empty(); take_arrived(lease, arrived)) {
    // Rows of gate, up and middle: the arrived experts' assignments one after another.
    tasks.clear();
    int64_t n_rows = 0;
    uint64_t gate_up_bytes = 0;
    for (const size_t index : arrived) {
      const UnitId unit = unit_of(index);
      const int32_t expert = routing.active[index];
      if (const float* const gate = speculation.gate(expert)) {
        std::copy_n(gate, width, b.ffn_gate + n_rows * width);
        std::copy_n(speculation.up(expert), width, b.ffn_up + n_rows * width);
        ++n_rows;
        continue;
      }
      const auto begin = static_cast<size_t>(routing.first[index]);
      const auto count = static_cast<size_t>(routing.first[index + 1]) - begin;
      const std::span<const int32_t> tokens = std::span(routing.tokens).subspan(begin, count);
      tasks.push_back({lease.view(index, ExpertWeights::of(experts.gate, unit)), &b.input, tokens,
                       b.ffn_gate + n_rows * width, width});
      tasks.push_back({lease.view(index, ExpertWeights::of(experts.up, unit)), &b.input, tokens,
                       b.ffn_up + n_rows * width, width});
      n_rows += static_cast<int64_t>(count);
      gate_up_bytes += weight_bytes(experts.gate) + weight_bytes(experts.up);
    }
    {
      ProfileScope scope(*context.profile, Operator::kGateUp);
      scope.add_bytes(gate_up_bytes);
      matmul(compute, tasks);
    }
    {
      const ProfileScope scope(*context.profile, Operator::kActivation);
      swiglu_rows(compute, b.ffn_gate, b.ffn_up, n_rows, width);
    }

    ProfileScope scope(*context.profile, Operator::kDown);
    scope.add_bytes(arrived.size() * weight_bytes(experts.down));

    b.middle.set(b.ffn_gate, n_rows, width, width);
    b.middle.prepare(compute, experts.down.encoding);
    tasks.clear();
    size_t row = 0;
    for (const size_t index : arrived) {
      const auto begin = static_cast<size_t>(routing.first[index]);
      const auto count = static_cast<size_t>(routing.first[index + 1]) - begin;
      tasks.push_back({lease.view(index, ExpertWeights::of(experts.down, unit_of(index))), &b.middle,
                       std::span<const int32_t>(middle_rows).subspan(row, count),
                       b.expert_out + static_cast<int64_t>(begin) * hidden, hidden});
      row += count;
    }
    matmul(compute, tasks);
    for (const size_t index : arrived) lease.release(index);
    prefetcher.go_on();
  }

  const ProfileScope scope(*context.profile, Operator::kCombine);
  compute.pool->run(n, [&](int64_t t, int) {
    float* const out = b.projected + t * hidden;
    std::fill(out, out + hidden, 0.0F);
    for (int64_t j = t * k; j < (t + 1) * k; ++j) {
      const auto i = static_cast<size_t>(j);
      if (routing.assignment_of[i] < 0) continue;
      add_scaled(compute, out, b.expert_out + routing.assignment_of[i] * hidden, routing.weight_of[i],
                 hidden);
    }
  });
}

}  // namespace sluice
