#include "model/blocks/ffn_moe.h"

#include <algorithm>

#include "model/blocks/ffn_dense.h"
#include "model/blocks/router.h"
#include "model/predictor/prefetcher.h"
#include "model/speculation.h"

namespace sluice {
namespace {

// Changes the choice for one token as lossy.h says.
void route_lossily(ExecContext& context, RouterKind kind, std::span<const float> logits,
                   const ExpertWeights& all_experts, std::span<int32_t> experts, std::span<float> weights) {
  const LossyRouting& lossy = context.lossy;
  const auto is_held = [&](int64_t expert) {
    for (uint32_t part = 0; part < all_experts.n_parts; ++part)
      if (!context.store->holds(all_experts.unit(expert, part))) return false;
    return true;
  };
  if (lossy.cache_bias > 0) {
    const auto [least, greatest] = std::minmax_element(logits.begin(), logits.end());
    const float bonus = lossy.cache_bias * (*greatest - *least);
    std::vector<float> biased(logits.begin(), logits.end());
    for (size_t e = 0; e < biased.size(); ++e)
      if (is_held(static_cast<int64_t>(e))) biased[e] += bonus;
    biased[static_cast<size_t>(experts[0])] = *greatest + 2 * bonus;
    choose(biased, experts);
    weigh(kind, logits, experts, weights);
  }
  float all = 0, kept = 0;
  for (size_t i = 0; i < experts.size(); ++i) {
    all += weights[i];
    const bool is_light = weights[i] < lossy.top_k_threshold * weights[0];
    const bool is_missing = lossy.skip_missing && !is_held(experts[i]);
    if (i == 0 || !(is_light || is_missing)) {
      kept += weights[i];
      continue;
    }
    if (!is_light) all_experts.add_units(experts[i], context.skipped);
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
    if (!context.lossy.is_exact()) route_lossily(context, spec.router, logits, weights.experts, experts, own);
  }
  speculation.end(layer, std::span(routing.experts).last(static_cast<size_t>(k)));
  context.stand_ins.choose(context.lossy, *context.store, weights, k, routing);
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
  const Speculation& speculation = *context.speculation;
  const int64_t n = b.input.rows(), k = spec.n_experts_per_token;
  const int64_t width = spec.expert_width, hidden = spec.hidden;
  choose_experts(context, spec, layer, weights, b, routing);
  group_by_expert(spec, n, routing);

  const auto is_stand_in = [&](size_t index) { return routing.active[index] >= spec.n_experts; };
  const auto experts_of = [&](size_t index) -> const ExpertWeights& {
    return is_stand_in(index) ? weights.stand_ins : weights.experts;
  };
  for (const ExpertWeights* experts : {&weights.experts, &weights.stand_ins}) {
    if (experts == &weights.stand_ins && routing.by_stand_in.empty()) break;
    b.input.prepare_rows(compute, experts->gate.encoding);
    b.input.prepare_rows(compute, experts->up.encoding);
  }
  const size_t n_parts = weights.experts.n_parts;  // the stand-ins' as well
  context.ranges.clear();                          // range i * n_parts + p is part p of active expert i
  for (size_t i = 0; i < routing.active.size(); ++i)
    experts_of(i).add_units(routing.active[i] % spec.n_experts, context.ranges);
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

  // Assignment a has row a of gate, up and middle. A part makes its columns of gate and up; when all parts of
  // an expert have, down follows, to whose output a part makes its columns, too.
  std::vector<int32_t> rows(static_cast<size_t>(routing.first.back()));  // 0, 1, 2, ...
  for (size_t a = 0; a < rows.size(); ++a) rows[a] = static_cast<int32_t>(a);
  const auto rows_of = [&](size_t expert) {
    const auto begin = static_cast<size_t>(routing.first[expert]);
    return std::span<const int32_t>(rows).subspan(begin,
                                                  static_cast<size_t>(routing.first[expert + 1]) - begin);
  };
  b.middle.set(b.ffn_gate, static_cast<int64_t>(rows.size()), width, width);
  std::vector<uint32_t> n_arrived(routing.active.size(), 0);  // parts
  std::vector<size_t> complete;  // active experts, by the parts that arrived last
  std::vector<int32_t> complete_rows;
  auto& arrived = context.arrived;
  auto& tasks = context.tasks;

  for (take_arrived(lease, arrived); !arrived.empty(); take_arrived(lease, arrived)) {
    tasks.clear();
    complete.clear();
    complete_rows.clear();
    uint64_t bytes = 0;
    for (const size_t range : arrived) {
      const size_t expert = range / n_parts;
      const ExpertWeights& experts = experts_of(expert);
      const std::span<const int32_t> own = rows_of(expert);
      const auto column = static_cast<int64_t>(range % n_parts) * experts.gate.rows;
      const int64_t at = own[0] * width + column;
      if (const float* const gate =
              is_stand_in(expert) ? nullptr : speculation.gate(routing.active[expert])) {
        const float* const up = speculation.up(routing.active[expert]);
        std::copy_n(gate + column, experts.gate.rows, b.ffn_gate + at);
        std::copy_n(up + column, experts.gate.rows, b.ffn_up + at);
      } else {
        const auto tokens =
            std::span<const int32_t>(routing.tokens).subspan(static_cast<size_t>(own[0]), own.size());
        const UnitId unit = context.ranges[range].unit;
        tasks.push_back({lease.view(range, ExpertWeights::of(experts.gate, unit)), &b.input, tokens,
                         b.ffn_gate + at, width});
        tasks.push_back(
            {lease.view(range, ExpertWeights::of(experts.up, unit)), &b.input, tokens, b.ffn_up + at, width});
        bytes += weight_bytes(experts.gate) + weight_bytes(experts.up);
      }
      if (++n_arrived[expert] < n_parts) continue;
      complete.push_back(expert);
      complete_rows.insert(complete_rows.end(), own.begin(), own.end());
    }
    {
      ProfileScope scope(*context.profile, Operator::kGateUp);
      scope.add_bytes(bytes);
      multiply(context, Operator::kGateUp, tasks);
    }
    {
      const ProfileScope scope(*context.profile, Operator::kActivation);
      swiglu_rows(compute, b.ffn_gate, b.ffn_up, complete_rows, width);
    }

    ProfileScope scope(*context.profile, Operator::kDown);
    b.middle.prepare_rows(compute, weights.experts.down.encoding, complete_rows);
    if (!routing.by_stand_in.empty())
      b.middle.prepare_rows(compute, weights.stand_ins.down.encoding, complete_rows);
    tasks.clear();
    for (const size_t expert : complete) {
      const WeightRef& down = experts_of(expert).down;
      scope.add_bytes(n_parts * weight_bytes(down));
      const std::span<const int32_t> own = rows_of(expert);
      for (size_t part = 0; part < n_parts; ++part) {
        const size_t range = expert * n_parts + part;
        tasks.push_back({lease.view(range, ExpertWeights::of(down, context.ranges[range].unit)), &b.middle,
                         own, b.expert_out + own[0] * hidden + static_cast<int64_t>(part) * down.rows,
                         hidden});
      }
    }
    multiply(context, Operator::kDown, tasks);
    for (const size_t expert : complete)
      for (size_t part = 0; part < n_parts; ++part) lease.release(expert * n_parts + part);
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
