// Which experts a token goes to.
#pragma once

#include <cstdint>
#include <span>

#include "model/model_spec.h"

namespace sluice {

// The best `experts.size()` of `logits` [n_experts] in descending order (equal logits: lower id first), and
// their weights. Destroys nothing; thread-safe.
void route(RouterKind kind, std::span<const float> logits, std::span<int32_t> experts,
           std::span<float> weights);

// Its two halves: who is chosen, and with what weight among those chosen.
void choose(std::span<const float> logits, std::span<int32_t> experts);
void weigh(RouterKind kind, std::span<const float> logits, std::span<const int32_t> experts,
           std::span<float> weights);

}  // namespace sluice
