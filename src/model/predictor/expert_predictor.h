// Which experts come next. Predictors watch the routes of decoding, layer by layer, and rank the experts of
// the layer that follows. What they say decides what is read ahead and never what is computed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sluice {

// What a predictor works on: the MoE layers of a model, numbered 0, 1, ... in order.
struct RoutedShape {
  int64_t n_layers = 0;
  int64_t n_experts = 0;
  int64_t k = 0;  // experts per token
  int64_t hidden = 0;
};

// The routes of one token in one MoE layer, when they have been decided.
struct Sight {
  int64_t layer = 0;
  const float* residual = nullptr;   // [hidden] the stream before the layer's FFN norm
  std::span<const int32_t> experts;  // [k]
};

// The logits [n_experts] of a MoE layer's router for a residual [hidden]; false if its weights are not in
// memory.
using AskRouter = std::function<bool(int64_t layer, const float* residual, std::span<float> logits)>;

// Not thread-safe. It follows one sequence: of a batch it learns from the first row alone.
class ExpertPredictor {
 public:
  virtual ~ExpertPredictor() = default;
  virtual const char* name() const noexcept = 0;
  // Scores [n_experts] of the experts in layer sight.layer + 1, which exists: the greater the likelier. False
  // if it knows nothing.
  virtual bool rank(const Sight& sight, std::span<float> scores) = 0;
  // Takes note of what a layer did. After rank() for the same sight; layers ascend within a token.
  virtual void learn(const Sight& sight) = 0;
};

// "router" next layer's router on the present residual
// "linear" the same on a residual that is extrapolated channel by channel, fitted online
// "shadow" a small network from a projection of the residual to the experts, trained online
// "cooccurrence" how often experts of up to three layers before went with those of the next
// "previous" what the tokens before chose in that layer, the latest most
// "frequency" how often each was chosen at all: the baseline that the others have to beat
std::unique_ptr<ExpertPredictor> make_expert_predictor(const std::string& name, const RoutedShape& shape,
                                                       const AskRouter& router);
std::span<const char* const> expert_predictor_names();
// What one keeps in memory, for the account.
uint64_t expert_predictor_bytes(const std::string& name, const RoutedShape& shape);

// One file each.
std::unique_ptr<ExpertPredictor> make_router_predictor(const RoutedShape& shape, AskRouter router);
std::unique_ptr<ExpertPredictor> make_linear_predictor(const RoutedShape& shape, AskRouter router);
std::unique_ptr<ExpertPredictor> make_shadow_predictor(const RoutedShape& shape);
std::unique_ptr<ExpertPredictor> make_cooccurrence_predictor(const RoutedShape& shape);
std::unique_ptr<ExpertPredictor> make_previous_predictor(const RoutedShape& shape);
std::unique_ptr<ExpertPredictor> make_frequency_predictor(const RoutedShape& shape);

uint64_t linear_predictor_bytes(const RoutedShape& shape);
uint64_t shadow_predictor_bytes(const RoutedShape& shape);
uint64_t cooccurrence_predictor_bytes(const RoutedShape& shape);
uint64_t counting_predictor_bytes(const RoutedShape& shape);

}  // namespace sluice
