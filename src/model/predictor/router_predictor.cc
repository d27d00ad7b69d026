// The next layer's router on the present residual: the stream changes little from layer to layer. (Used by
// most engines that offload experts, for instance arXiv 2312.17238, section 3.2.)
#include "model/predictor/expert_predictor.h"

namespace sluice {
namespace {

class RouterPredictor final : public ExpertPredictor {
 public:
  explicit RouterPredictor(AskRouter router) : router_(std::move(router)) {}

  const char* name() const noexcept override { return "router"; }
  bool rank(const Sight& sight, std::span<float> scores) override {
    return router_(sight.layer + 1, sight.residual, scores);
  }
  void learn(const Sight&) override {}

 private:
  const AskRouter router_;
};

}  // namespace

std::unique_ptr<ExpertPredictor> make_router_predictor(const RoutedShape&, AskRouter router) {
  return std::make_unique<RouterPredictor>(std::move(router));
}

}  // namespace sluice
