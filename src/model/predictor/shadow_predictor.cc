// A small network for each layer, trained online while the model runs: a fixed random projection of the
// residual, one hidden layer, one logit per expert of the next layer. Logistic loss on the experts that were
// chosen, plain stochastic gradient descent.
#include <algorithm>
#include <cmath>

#include "model/predictor/expert_predictor.h"

namespace sluice {
namespace {

constexpr size_t kInputs = 64;
constexpr size_t kUnits = 64;
constexpr float kRate = 0.05F;
constexpr int64_t kWarmUp = 8;  // tokens before it says anything

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

struct Network {
  explicit Network(size_t n_outputs)
      : in(kInputs * kUnits), in_bias(kUnits), out(kUnits * n_outputs), out_bias(n_outputs) {}

  std::vector<float> in;        // [kUnits, kInputs]
  std::vector<float> in_bias;   // [kUnits]
  std::vector<float> out;       // [n_experts, kUnits]
  std::vector<float> out_bias;  // [n_experts]
  int64_t n_seen = 0;
};

class ShadowPredictor final : public ExpertPredictor {
 public:
  explicit ShadowPredictor(const RoutedShape& shape)
      : n_experts_(static_cast<size_t>(shape.n_experts)),
        networks_(static_cast<size_t>(shape.n_layers), Network(n_experts_)),
        places_(static_cast<size_t>(shape.hidden)),
        input_(kInputs),
        units_(kUnits),
        logits_(n_experts_),
        back_(kUnits) {
    for (size_t i = 0; i < places_.size(); ++i) places_[i] = static_cast<uint8_t>(mix(i));
    uint64_t seed = 1;
    for (Network& network : networks_) {
      for (float& w : network.in) w = uniform(seed++) / std::sqrt(static_cast<float>(kInputs) / 3);
      for (float& w : network.out) w = 0.1F * uniform(seed++) / std::sqrt(static_cast<float>(kUnits) / 3);
    }
  }

  const char* name() const noexcept override { return "shadow"; }

  bool rank(const Sight& sight, std::span<float> scores) override {
    project(sight.residual);
    const Network& network = networks_[static_cast<size_t>(sight.layer + 1)];
    if (network.n_seen < kWarmUp) return false;
    forward(network);
    std::copy(logits_.begin(), logits_.end(), scores.begin());
    return true;
  }

  // The projection is still that of the layer before, which rank() made.
  void learn(const Sight& sight) override {
    if (sight.layer > 0 && layer_before_ == sight.layer - 1) {
      input_.swap(input_before_);
      train(networks_[static_cast<size_t>(sight.layer)], sight.experts);
      input_.swap(input_before_);
    }
    project(sight.residual);
    input_before_ = input_;
    layer_before_ = sight.layer;
  }

 private:
  static float uniform(uint64_t seed) {  // in (-1, 1)
    return static_cast<float>(static_cast<int64_t>(mix(seed) >> 40)) * 0x1p-23F - 1.0F;
  }

  // Every channel is added to or taken from one of the inputs; then scaled to unit mean square.
  void project(const float* residual) {
    std::fill(input_.begin(), input_.end(), 0.0F);
    for (size_t i = 0; i < places_.size(); ++i) {
      float& input = input_[places_[i] % kInputs];
      input += places_[i] & 0x80 ? residual[i] : -residual[i];
    }
    float squares = 1e-12F;
    for (const float x : input_) squares += x * x;
    const float scale = std::sqrt(static_cast<float>(kInputs) / squares);
    for (float& x : input_) x *= scale;
  }

  void forward(const Network& network) {
    for (size_t u = 0; u < kUnits; ++u) {
      float sum = network.in_bias[u];
      for (size_t i = 0; i < kInputs; ++i) sum += network.in[u * kInputs + i] * input_[i];
      units_[u] = std::max(sum, 0.0F);
    }
    for (size_t e = 0; e < n_experts_; ++e) {
      float sum = network.out_bias[e];
      for (size_t u = 0; u < kUnits; ++u) sum += network.out[e * kUnits + u] * units_[u];
      logits_[e] = sum;
    }
  }

  void train(Network& network, std::span<const int32_t> experts) {
    forward(network);
    ++network.n_seen;
    std::vector<float>& errors = logits_;  // dL/dlogit = probability - target
    for (float& logit : errors) logit = 1.0F / (1.0F + std::exp(-logit));
    for (const int32_t e : experts) errors[static_cast<size_t>(e)] -= 1.0F;
    std::fill(back_.begin(), back_.end(), 0.0F);
    for (size_t e = 0; e < n_experts_; ++e) {
      float* const row = network.out.data() + e * kUnits;
      const float step = kRate * errors[e];
      for (size_t u = 0; u < kUnits; ++u) {
        back_[u] += errors[e] * row[u];
        row[u] -= step * units_[u];
      }
      network.out_bias[e] -= step;
    }
    for (size_t u = 0; u < kUnits; ++u) {
      if (units_[u] <= 0) continue;
      const float step = kRate * back_[u];
      float* const row = network.in.data() + u * kInputs;
      for (size_t i = 0; i < kInputs; ++i) row[i] -= step * input_[i];
      network.in_bias[u] -= step;
    }
  }

  const size_t n_experts_;
  std::vector<Network> networks_;  // [n_layers] network l predicts layer l from the residual at l - 1
  std::vector<uint8_t> places_;    // [hidden] which input each channel goes to, and its sign
  std::vector<float> input_, input_before_;  // [kInputs]
  std::vector<float> units_;                 // [kUnits]
  std::vector<float> logits_;                // [n_experts]
  std::vector<float> back_;                  // [kUnits]
  int64_t layer_before_ = -1;
};

}  // namespace

std::unique_ptr<ExpertPredictor> make_shadow_predictor(const RoutedShape& shape) {
  return std::make_unique<ShadowPredictor>(shape);
}

uint64_t shadow_predictor_bytes(const RoutedShape& shape) {
  const auto n_experts = static_cast<uint64_t>(shape.n_experts);
  return static_cast<uint64_t>(shape.n_layers) * sizeof(float) *
         (kInputs * kUnits + kUnits + n_experts * (kUnits + 1));
}

}  // namespace sluice
