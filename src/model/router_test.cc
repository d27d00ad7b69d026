#include "model/blocks/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace sluice {
namespace {

// Against a full stable sort and a softmax in double precision.
TEST(Router, PicksTheBestInOrder) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    const size_t n = 1 + random() % 130, k = 1 + random() % std::min<size_t>(n, 10);
    std::vector<float> logits(n);
    for (float& x : logits) x = static_cast<float>(static_cast<int>(random() % 21) - 10) / 2;  // many ties
    std::vector<int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    order.resize(k);
    for (const RouterKind kind : {RouterKind::kSoftmaxTopK, RouterKind::kSoftmaxTopKNorm}) {
      std::vector<int32_t> experts(k);
      std::vector<float> weights(k);
      route(kind, logits, experts, weights);
      EXPECT_EQ(experts, order);
      double all = 0, chosen = 0;
      for (const float x : logits) all += std::exp(static_cast<double>(x));
      for (const int32_t e : order) chosen += std::exp(static_cast<double>(logits[static_cast<size_t>(e)]));
      for (size_t i = 0; i < k; ++i) {
        const double p = std::exp(static_cast<double>(logits[static_cast<size_t>(order[i])]));
        EXPECT_NEAR(weights[i], p / (kind == RouterKind::kSoftmaxTopK ? all : chosen), 1e-5);
      }
    }
  }
}

// A NaN must not send the search out of bounds: the ids stay valid, and the forward pass reports the NaN.
TEST(Router, SurvivesNan) {
  const std::vector<float> logits(8, NAN);
  std::vector<int32_t> experts(3, -1);
  std::vector<float> weights(3);
  route(RouterKind::kSoftmaxTopKNorm, logits, experts, weights);
  for (const int32_t e : experts) EXPECT_TRUE(e >= 0 && e < 8);
}

}  // namespace
}  // namespace sluice
