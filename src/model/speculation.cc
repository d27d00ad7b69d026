#include "model/speculation.h"

#include <algorithm>

#include "model/blocks/linear.h"

namespace sluice {
namespace {

int64_t most_of(const ModelSpec& spec, int64_t n_experts) {
  return spec.is_moe() ? std::min(n_experts, spec.n_experts_per_token) : 0;
}

}  // namespace

uint64_t Speculation::bytes(const ModelSpec& spec, int64_t n_experts) {
  const int64_t most = most_of(spec, n_experts);
  if (most == 0) return 0;
  return static_cast<uint64_t>(most * 2 * spec.expert_width) * sizeof(float) +
         static_cast<uint64_t>(spec.n_layers * spec.n_experts_per_token) * sizeof(int32_t);
}

Speculation::Speculation(const ModelSpec& spec, int64_t n_experts)
    : most_(most_of(spec, n_experts)), width_(spec.expert_width), k_(spec.n_experts_per_token) {
  if (!is_on()) return;
  results_.resize(static_cast<size_t>(most_ * 2 * width_));
  last_.resize(static_cast<size_t>(spec.n_layers * k_), -1);
}

std::span<const MatmulTask> Speculation::begin(WeightStore& store, const Compute& compute, int64_t layer,
                                               const ExpertWeights& experts, std::span<const int32_t> guess,
                                               Activations& input) {
  computed_.clear();
  tasks_.clear();
  if (!is_on() || input.rows() != 1) return {};
  if (guess.empty())
    guess = std::span(last_).subspan(static_cast<size_t>(layer * k_), static_cast<size_t>(k_));
  ranges_.clear();
  for (const int32_t expert : guess.first(std::min(guess.size(), static_cast<size_t>(most_))))
    if (expert >= 0) experts.add_units(expert, ranges_);
  lease_ = store.hold(ranges_);
  input.prepare_rows(compute, experts.gate.encoding);
  input.prepare_rows(compute, experts.up.encoding);
  expert_bytes_ = experts.n_parts * (weight_bytes(experts.gate) + weight_bytes(experts.up));
  float* out = results_.data();
  for (size_t i = 0; i + experts.n_parts <= ranges_.size(); ++i) {
    const int32_t expert = experts.expert_of(ranges_[i].unit);
    const size_t last = i + experts.n_parts - 1;
    // Not all of it is there.
    if (ranges_[i].unit != experts.unit(expert) ||
        ranges_[last].unit != experts.unit(expert, experts.n_parts - 1))
      continue;
    computed_.push_back(expert);
    for (const WeightRef& ref : {experts.gate, experts.up}) {
      for (uint32_t part = 0; part < experts.n_parts; ++part) {
        tasks_.push_back({.weight = lease_.view(i + part, ExpertWeights::of(ref, experts.unit(expert, part))),
                          .input = &input,
                          .output = out + part * ref.rows,
                          .output_stride = width_});
      }
      out += width_;
    }
  }
  return tasks_;
}

void Speculation::end(int64_t layer, std::span<const int32_t> experts) {
  if (!is_on()) return;
  lease_ = Lease();  // before the experts are acquired: what was in vain must not keep its slot from them
  for (const int32_t expert : computed_) {
    const bool is_confirmed = std::find(experts.begin(), experts.end(), expert) != experts.end();
    ++counts_.experts;
    counts_.confirmed += is_confirmed;
    if (!is_confirmed) counts_.wasted_bytes += expert_bytes_;
  }
  std::copy(experts.begin(), experts.end(), last_.begin() + static_cast<ptrdiff_t>(layer * k_));
}

const float* Speculation::result(int32_t expert, int64_t which) const noexcept {
  const auto found = std::find(computed_.begin(), computed_.end(), expert);
  if (found == computed_.end()) return nullptr;
  return results_.data() + (2 * (found - computed_.begin()) + which) * width_;
}

}  // namespace sluice
