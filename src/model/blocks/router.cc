#include "model/blocks/router.h"

#include <cmath>

namespace sluice {

void route(RouterKind kind, std::span<const float> logits, std::span<int32_t> experts,
           std::span<float> weights) {
  choose(logits, experts);
  weigh(kind, logits, experts, weights);
}

void choose(std::span<const float> logits, std::span<int32_t> experts) {
  // Insertion into a short sorted list: k is small.
  size_t n = 0;
  for (size_t e = 0; e < logits.size(); ++e) {
    size_t at = n;
    while (at > 0 && logits[e] > logits[static_cast<size_t>(experts[at - 1])]) --at;
    if (at == experts.size()) continue;
    if (n < experts.size()) ++n;
    for (size_t i = n - 1; i > at; --i) experts[i] = experts[i - 1];
    experts[at] = static_cast<int32_t>(e);
  }
}

void weigh(RouterKind kind, std::span<const float> logits, std::span<const int32_t> experts,
           std::span<float> weights) {
  const float best = logits[static_cast<size_t>(experts[0])];
  float sum = 0;
  if (kind == RouterKind::kSoftmaxTopK) {
    for (const float logit : logits) sum += std::exp(logit - best);
  } else {
    for (const int32_t e : experts) sum += std::exp(logits[static_cast<size_t>(e)] - best);
  }
  for (size_t i = 0; i < experts.size(); ++i) {
    weights[i] = std::exp(logits[static_cast<size_t>(experts[i])] - best) / sum;
  }
}

}  // namespace sluice
