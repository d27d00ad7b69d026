// The next layer's router on a residual that is extrapolated to that layer: each channel of the next residual
// is a line in the same channel of this one, fitted to the tokens so far with old ones fading out.
#include <algorithm>

#include "model/predictor/expert_predictor.h"

namespace sluice {
namespace {

constexpr float kForget = 1.0F / 256;  // weight of the newest token once there are that many
constexpr int64_t kWarmUp = 16;        // tokens before the line is trusted

struct Fit {  // of a channel: the residual at the layer before is x, at the layer y
  float mean_x = 0, mean_y = 0, variance = 0, covariance = 0;
};

class LinearPredictor final : public ExpertPredictor {
 public:
  LinearPredictor(const RoutedShape& shape, AskRouter router)
      : shape_(shape),
        router_(std::move(router)),
        fits_(static_cast<size_t>(shape.n_layers * shape.hidden)),
        n_seen_(static_cast<size_t>(shape.n_layers)),
        before_(static_cast<size_t>(shape.hidden)),
        guess_(static_cast<size_t>(shape.hidden)) {}

  const char* name() const noexcept override { return "linear"; }

  bool rank(const Sight& sight, std::span<float> scores) override {
    if (n_seen_[static_cast<size_t>(sight.layer + 1)] < kWarmUp)
      return router_(sight.layer + 1, sight.residual, scores);
    const Fit* fit = fits_of(sight.layer + 1);
    for (size_t i = 0; i < guess_.size(); ++i) {
      const float slope = fit[i].variance > 1e-12F ? fit[i].covariance / fit[i].variance : 1.0F;
      guess_[i] = fit[i].mean_y + slope * (sight.residual[i] - fit[i].mean_x);
    }
    return router_(sight.layer + 1, guess_.data(), scores);
  }

  void learn(const Sight& sight) override {
    if (sight.layer > 0 && layer_before_ == sight.layer - 1) {
      const auto seen = static_cast<float>(++n_seen_[static_cast<size_t>(sight.layer)]);
      const float rate = std::max(kForget, 1.0F / seen);
      Fit* fit = fits_of(sight.layer);
      for (size_t i = 0; i < before_.size(); ++i) {
        const float dx = before_[i] - fit[i].mean_x, dy = sight.residual[i] - fit[i].mean_y;
        fit[i].mean_x += rate * dx;
        fit[i].mean_y += rate * dy;
        fit[i].variance += rate * (dx * (before_[i] - fit[i].mean_x) - fit[i].variance);
        fit[i].covariance += rate * (dx * (sight.residual[i] - fit[i].mean_y) - fit[i].covariance);
      }
    }
    layer_before_ = sight.layer;
    std::copy(sight.residual, sight.residual + shape_.hidden, before_.begin());
  }

 private:
  Fit* fits_of(int64_t layer) { return fits_.data() + layer * shape_.hidden; }

  const RoutedShape shape_;
  const AskRouter router_;
  std::vector<Fit> fits_;        // [n_layers, hidden]
  std::vector<int64_t> n_seen_;  // [n_layers]
  int64_t layer_before_ = -1;
  std::vector<float> before_;  // [hidden] the residual at layer_before_
  std::vector<float> guess_;   // [hidden]
};

}  // namespace

std::unique_ptr<ExpertPredictor> make_linear_predictor(const RoutedShape& shape, AskRouter router) {
  return std::make_unique<LinearPredictor>(shape, std::move(router));
}

uint64_t linear_predictor_bytes(const RoutedShape& shape) {
  return static_cast<uint64_t>(shape.n_layers * shape.hidden) * sizeof(Fit);
}

}  // namespace sluice
