#include "model/stand_in.h"

#include <algorithm>

#include "base/error.h"
#include "model/blocks/ffn_moe.h"
#include "model/bound_model.h"

namespace sluice {
namespace {

constexpr size_t kMostWanted = 32;    // experts in line to be read; older ones are forgotten
constexpr double kSameVector = 1e-2;  // relative difference that another float type explains

[[noreturn]] void refuse(const Checkpoint& checkpoint, const std::string& why) {
  throw_error(ErrorKind::kInvalid,
              "--stand-in %s: %s; it must be the same model with its experts in a smaller encoding, such as "
              "`sluice compress MODEL --to affine2 -o PATH` makes",
              checkpoint.path().c_str(), why.c_str());
}

bool are_alike(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{a[i]} * a[i];
  }
  return difference <= kSameVector * kSameVector * size;
}

// Shapes tell models of other sizes apart, and norms, which no encoding rounds, those of other weights.
void check_same_model(const BoundModel& model, const BoundModel& other, const Checkpoint& checkpoint) {
  const ModelSpec &spec = model.spec, &theirs = other.spec;
  const auto expect = [&](const char* what, int64_t wanted, int64_t found) {
    if (wanted == found) return;
    refuse(checkpoint, format_string("it has %lld %s and the model %lld", static_cast<long long>(found), what,
                                     static_cast<long long>(wanted)));
  };
  expect("layers", spec.n_layers, theirs.n_layers);
  expect("channels", spec.hidden, theirs.hidden);
  expect("experts a layer", spec.n_experts, theirs.n_experts);
  expect("channels in an expert", spec.expert_width, theirs.expert_width);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    const bool is_moe = spec.layers[l].ffn == FfnKind::kMoe;
    if (is_moe != (theirs.layers[l].ffn == FfnKind::kMoe))
      refuse(checkpoint, format_string("layer %zu has experts in only one of the two", l));
    if (!are_alike(model.layers[l].ffn_norm, other.layers[l].ffn_norm))
      refuse(checkpoint, format_string("the FFN norm of layer %zu is another one", l));
  }
}

}  // namespace

void bind_stand_ins(BoundModel& model, const Checkpoint& checkpoint) {
  if (!model.spec.is_moe()) refuse(checkpoint, "the model has no experts to stand in for");
  const auto n_parts = [](const BoundModel& m) {
    uint32_t n = 1;
    for (const LayerWeights& layer : m.layers) n = std::max(n, layer.experts.n_parts);
    return n;
  };
  const BoundModel other = bind(checkpoint, n_parts(model));
  check_same_model(model, other, checkpoint);
  const auto first_file = static_cast<uint32_t>(model.files.size());
  model.files.insert(model.files.end(), other.files.begin(), other.files.end());
  for (size_t l = 0; l < model.layers.size(); ++l) {
    if (model.spec.layers[l].ffn != FfnKind::kMoe) continue;
    ExpertWeights experts = other.layers[l].experts;
    const UnitId first = experts.first_unit;
    experts.first_unit = static_cast<UnitId>(model.units.size());
    for (UnitId e = 0; e < static_cast<UnitId>(model.spec.n_experts) * experts.n_parts; ++e) {
      UnitSpec unit = other.units[first + e];
      unit.kind = UnitKind::kPinned;
      for (Extent& extent : unit.extents) extent.file += first_file;
      model.units.push_back(std::move(unit));
    }
    model.layers[l].stand_ins = experts;
  }
}

void StandIns::choose(const LossyRouting& lossy, WeightStore& store, const LayerWeights& weights, int64_t k,
                      MoeRouting& routing) {
  routing.by_stand_in.clear();
  if (lossy.stand_in_threshold == 0 || weights.stand_ins.gate.rows == 0) return;
  const auto is_light = [&](size_t i) {
    const size_t first = i - i % static_cast<size_t>(k);  // the token's first expert
    return routing.weights[i] < lossy.stand_in_threshold * routing.weights[first];
  };
  const auto n_experts = static_cast<size_t>(weights.router.rows);
  is_full_.assign(n_experts, 0);
  if (!lossy.stand_in_always) {
    is_asked_.assign(n_experts, 0);
    for (size_t i = 0; i < routing.experts.size(); ++i) {
      if (routing.experts[i] == kDroppedExpert) continue;
      const auto expert = static_cast<size_t>(routing.experts[i]);
      if (!is_light(i)) {
        is_full_[expert] = 1;
      } else if (!is_full_[expert] && !is_asked_[expert]) {
        is_asked_[expert] = 1;
        is_full_[expert] = 1;
        for (uint32_t part = 0; part < weights.experts.n_parts; ++part)
          is_full_[expert] &=
              store.presence(weights.experts.unit(routing.experts[i], part)) == Presence::kHere;
      }
    }
  }
  uint64_t n = 0;
  // The heaviest of each token last, so that it is the first to be read.
  for (size_t i = routing.experts.size(); i-- > 0;) {
    if (routing.experts[i] == kDroppedExpert || !is_light(i)) continue;
    const auto expert = static_cast<size_t>(routing.experts[i]);
    if (is_full_[expert]) continue;
    if (n++ == 0) routing.by_stand_in.assign(routing.experts.size(), 0);
    routing.by_stand_in[i] = 1;
    if (lossy.stand_in_always) continue;
    for (uint32_t part = 0; part < weights.experts.n_parts; ++part)
      wanted_.push_back(weights.experts.unit(routing.experts[i], part));
  }
  n_used_ += n;
  if (wanted_.size() > kMostWanted) wanted_.erase(wanted_.begin(), wanted_.end() - kMostWanted);
}

void StandIns::read_on(WeightStore& store) {
  if (coming_ && store.presence(*coming_) == Presence::kComing) return;
  coming_.reset();
  while (!wanted_.empty() && !coming_) {
    const UnitRange next = {.unit = wanted_.back()};
    if (store.presence(next.unit) == Presence::kAbsent) {
      if (store.prefetch({&next, 1}) == 0) return;
      coming_ = next.unit;
    }
    wanted_.pop_back();
  }
}

}  // namespace sluice
