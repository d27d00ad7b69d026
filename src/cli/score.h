// How well a model predicts a sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sluice/engine.h"

namespace sluice {

// -log of the softmax at `target`, in double.
double negative_log_likelihood(std::span<const float> logits, int32_t target);

// Nats of each token but the first of `ids`, read from an empty context; fewer if interrupted.
std::vector<double> score(Engine& engine, Session& session, std::span<const int32_t> ids);

}  // namespace sluice
