// Predictors against routes whose rule is known, and the trial against made-up times.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "base/error.h"
#include "model/predictor/expert_predictor.h"
#include "model/predictor/prefetch_trial.h"
#include "model/predictor/prefetcher.h"

namespace sluice {
namespace {

constexpr RoutedShape kShape{.n_layers = 3, .n_experts = 16, .k = 2, .hidden = 32};

struct Token {
  std::vector<std::vector<float>> residuals;  // [n_layers][hidden]
  std::vector<std::vector<int32_t>> experts;  // [n_layers][k]
};

// Feeds tokens, and returns the share of the last `n_counted` tokens' experts that were among the best k.
double accuracy(ExpertPredictor& predictor, const std::vector<Token>& tokens, size_t n_counted) {
  size_t right = 0, all = 0;
  std::vector<float> scores(static_cast<size_t>(kShape.n_experts));
  for (size_t t = 0; t < tokens.size(); ++t) {
    for (size_t l = 0; l < tokens[t].experts.size(); ++l) {
      const Sight sight{static_cast<int64_t>(l), tokens[t].residuals[l].data(), tokens[t].experts[l]};
      if (l + 1 < tokens[t].experts.size()) {
        const bool knows = predictor.rank(sight, scores);
        for (int i = 0; i < 2 && t + n_counted >= tokens.size(); ++i, ++all) {
          if (!knows) continue;
          const auto best = std::max_element(scores.begin(), scores.end());
          const auto& next = tokens[t].experts[l + 1];
          right += std::count(next.begin(), next.end(), static_cast<int32_t>(best - scores.begin())) > 0;
          *best = -1e30F;
        }
      }
      predictor.learn(sight);
    }
  }
  return static_cast<double>(right) / static_cast<double>(all);
}

// Routes that follow from the residual of the layer before; `shift` is what a layer adds to it.
std::vector<Token> tokens_by(size_t n, float shift,
                             const std::function<int32_t(const std::vector<float>&)>& rule) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<Token> tokens(n);
  for (Token& token : tokens) {
    std::vector<float> x(static_cast<size_t>(kShape.hidden));
    for (float& v : x) v = normal(random);
    for (int64_t l = 0; l < kShape.n_layers; ++l) {
      const int32_t e = rule(x);
      for (float& v : x) v += l == 0 ? 0 : shift;
      token.residuals.push_back(x);
      token.experts.push_back({e, (e + 1) % 16});
    }
  }
  return tokens;
}

int32_t octant(const std::vector<float>& x) { return (x[0] > 0) * 8 + (x[1] > 0) * 4 + (x[2] > 0) * 2; }

// A router that wants the expert whose channels are largest.
bool ask(int64_t, const float* residual, std::span<float> logits) {
  for (size_t e = 0; e < logits.size(); ++e) logits[e] = residual[e];
  return true;
}

TEST(ExpertPredictor, RouterAsksTheNextLayerOnThePresentState) {
  std::vector<float> x(32, 0.0F), scores(16);
  x[5] = 2;
  const auto predictor = make_expert_predictor("router", kShape, ask);
  ASSERT_TRUE(predictor->rank({0, x.data(), {}}, scores));
  EXPECT_EQ(std::max_element(scores.begin(), scores.end()) - scores.begin(), 5);
  const auto blind = make_expert_predictor("router", kShape, [](auto...) { return false; });
  EXPECT_FALSE(blind->rank({0, x.data(), {}}, scores));
}

TEST(ExpertPredictor, LinearLearnsWhatALayerAdds) {
  // Channel 7 grows by 3 on the way to the next layer, so expert 7 is wanted there though 5 looks better
  // here.
  const auto predictor = make_expert_predictor("linear", kShape, ask);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.1F);
  std::vector<float> scores(16);
  std::vector<int32_t> experts = {0, 1};
  for (int t = 0; t < 64; ++t) {
    std::vector<float> x(32), y(32);
    for (float& v : x) v = normal(random);
    x[5] += 1;
    y = x;
    y[7] += 3;
    ASSERT_TRUE(predictor->rank({0, x.data(), experts}, scores));
    const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    if (t == 0 || t > 32) {
      EXPECT_EQ(best, t == 0 ? 5 : 7);
    }
    predictor->learn({0, x.data(), experts});
    predictor->learn({1, y.data(), experts});
  }
}

TEST(ExpertPredictor, ShadowLearnsARuleOfTheResidual) {
  const auto tokens = tokens_by(3000, 0, octant);
  const auto shadow = make_expert_predictor("shadow", kShape, ask);
  const auto frequency = make_expert_predictor("frequency", kShape, ask);
  EXPECT_GT(accuracy(*shadow, tokens, 500), 0.35);  // chance is 0.125
  EXPECT_LT(accuracy(*frequency, tokens, 500), 0.25);
}

TEST(ExpertPredictor, CooccurrenceLearnsWhatGoesTogether) {
  std::mt19937 random(3);
  std::vector<Token> tokens(400);
  for (Token& token : tokens) {
    const auto e = static_cast<int32_t>(random() % 16);
    token.residuals.assign(3, std::vector<float>(32));
    token.experts = {{e, (e + 3) % 16}, {(e * 5) % 16, (e * 5 + 1) % 16}, {(e * 7) % 16, (e * 7 + 2) % 16}};
  }
  const auto predictor = make_expert_predictor("cooccurrence", kShape, ask);
  EXPECT_GT(accuracy(*predictor, tokens, 50), 0.95);
}

TEST(ExpertPredictor, PreviousRepeatsTheLastToken) {
  std::vector<Token> tokens(40);
  for (size_t t = 0; t < tokens.size(); ++t) {
    const auto e = static_cast<int32_t>(t / 10);
    tokens[t].residuals.assign(3, std::vector<float>(32));
    tokens[t].experts.assign(3, {e, e + 4});
  }
  EXPECT_EQ(accuracy(*make_expert_predictor("previous", kShape, ask), tokens, 9), 1.0);
}

TEST(ExpertPredictor, UnknownNamesAreRefused) {
  try {
    make_expert_predictor("oracle", kShape, ask);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("cooccurrence"), std::string::npos);
  }
}

TEST(Prefetcher, ChecksWhatItIsAskedFor) {
  for (const char* mode : {"off", "auto", "study", "router", "linear:1", "frequency:64"})
    EXPECT_NO_THROW(Prefetcher::check_mode(mode)) << mode;
  for (const char* mode : {"", "on", "linear:", "linear:0", "linear:-1", "linear:1x", "auto:1", "none:1"}) {
    try {
      Prefetcher::check_mode(mode);
      ADD_FAILURE() << mode;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalid) << mode;
    }
  }
}

// Runs `n` passes that take so long with prefetching off and on, give or take a tenth; returns the share of
// those with it on.
double share_on(PrefetchTrial& trial, int n, double off, double on) {
  std::mt19937 random(2);
  std::uniform_real_distribution<double> noise(0.9, 1.1);
  int n_on = 0;
  for (int i = 0; i < n; ++i) {
    n_on += trial.is_on();
    trial.add_pass(noise(random) * (trial.is_on() ? on : off));
  }
  return static_cast<double>(n_on) / n;
}

TEST(PrefetchTrial, KeepsWhatIsFasterAndNoticesAChange) {
  PrefetchTrial trial;
  EXPECT_GT(share_on(trial, 32, 1.2, 1.0), 0.85);
  EXPECT_GT(share_on(trial, 800, 1.2, 1.0), 0.95);
  share_on(trial, 800, 1.0, 1.2);
  EXPECT_LT(share_on(trial, 800, 1.0, 1.2), 0.05);
  share_on(trial, 800, 1.2, 1.0);
  EXPECT_GT(share_on(trial, 800, 1.2, 1.0), 0.95);
}

TEST(PrefetchTrial, GivesUpSoonWhereItCostsMuch) {
  PrefetchTrial trial;
  EXPECT_LT(share_on(trial, 100, 1.0, 1.5), 0.5);
}

TEST(PrefetchTrial, NoiseAloneChangesNothing) {
  PrefetchTrial trial;
  EXPECT_GT(share_on(trial, 4000, 1.0, 1.0), 0.9);
}

TEST(PrefetchTrial, OneSlowPassDecidesNothing) {
  PrefetchTrial trial;
  share_on(trial, 100, 1.2, 1.0);
  trial.add_pass(20);
  EXPECT_GT(share_on(trial, 400, 1.2, 1.0), 0.9);
}

}  // namespace
}  // namespace sluice
