#include "model/blocks/ffn_moe.h"

#include <algorithm>

#include "model/blocks/ffn_dense.h"
#include "model/blocks/router.h"
#include "model/predictor/prefetcher.h"

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
void choose_experts(ExecContext& context, const ModelSpec& spec, const LayerWeights& weights,
                    ActivationBuffers& b, MoeRouting& routing) {
  const int64_t n = b.input.rows(), k = spec.n_experts_per_token;
  const bool f32_activations = std::exchange(context.compute.f32_activations, true);
  const LinearOp router[] = {{&weights.router, &b.input, b.router_logits, spec.n_experts}};
  linear(context, Operator::kRouter, router);
  context.compute.f32_activations = f32_activations;

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
  context.stand_ins.choose(context.lossy, *context.store, weights, spec.n_experts_per_token, routing);
}

// Where an assignment counts in `active`: the stand-ins follow all experts.
int32_t place_of(const ModelSpec& spec, const MoeRouting& r, size_t assignment) {
  const int32_t expert = r.experts[assignment];
  const bool by_stand_in = !r.by_stand_in.empty() && r.by_stand_in[assignment] != 0;
  return by_stand_in ? expert + static_cast<int32_t>(spec.n_experts) : expert;
}

// Counting sort of the assignments by expert.
void group_by_expert(const ModelSpec& spec, int64_t n, MoeRouting& r) {
  const int64_t k = spec.n_experts_per_token;
  const int64_t n_places = (r.by_stand_in.empty() ? 1 : 2) * spec.n_experts;
  std::vector<int32_t> start(static_cast<size_t>(n_places) + 1, 0);
  for (size_t i = 0; i < r.experts.size(); ++i)
    if (r.experts[i] != kDroppedExpert) ++start[static_cast<size_t>(place_of(spec, r, i)) + 1];
  r.active.clear();
  r.first.clear();
  for (int64_t e = 0; e < n_places; ++e) {
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
      const int32_t place = place_of(spec, r, by_id[j]);
      const int32_t assignment = place == kDroppedExpert ? -1 : start[static_cast<size_t>(place)]++;
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
  const int64_t n = b.input.rows(), k = spec.n_experts_per_token;
  const int64_t width = spec.expert_width, hidden = spec.hidden;
  choose_experts(context, spec, weights, b, routing);
  group_by_expert(spec, n, routing);

  const auto experts_of = [&](size_t index) -> const ExpertWeights& {
    return routing.active[index] < spec.n_experts ? weights.experts : weights.stand_ins;
  };
  const auto unit_of = [&](size_t index) {
    return experts_of(index).first_unit + static_cast<UnitId>(routing.active[index] % spec.n_experts);
  };
  for (const ExpertWeights* experts : {&weights.experts, &weights.stand_ins}) {
    if (experts == &weights.stand_ins && routing.by_stand_in.empty()) break;
    b.input.prepare(compute, experts->gate.encoding);
    b.input.prepare(compute, experts->up.encoding);
  }
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
  context.stand_ins.read_on(*context.store);

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
      const ExpertWeights& experts = experts_of(index);
      const UnitId unit = unit_of(index);
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
    b.middle.set(b.ffn_gate, n_rows, width, width);
    tasks.clear();
    size_t row = 0;
    for (const size_t index : arrived) {
      const WeightRef& down = experts_of(index).down;
      scope.add_bytes(weight_bytes(down));
      b.middle.prepare(compute, down.encoding);
      const auto begin = static_cast<size_t>(routing.first[index]);
      const auto count = static_cast<size_t>(routing.first[index + 1]) - begin;
      tasks.push_back({lease.view(index, ExpertWeights::of(down, unit_of(index))), &b.middle,
                       std::span<const int32_t>(middle_rows).subspan(row, count),
                       b.expert_out + static_cast<int64_t>(begin) * hidden, hidden});
      row += count;
    }
    matmul(compute, tasks);
    for (const size_t index : arrived) lease.release(index);
    prefetcher.go_on();
    context.stand_ins.read_on(*context.store);
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
