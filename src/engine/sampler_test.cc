#include "engine/sampler.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "sluice/error.h"

namespace sluice {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

SamplerOptions plain() {
  SamplerOptions options;
  options.temperature = 1;
  options.top_k = 0;
  options.top_p = 1;
  options.min_p = 0;
  return options;
}

// The ids in the order of better-first, as a reader of the papers would write it.
std::vector<int32_t> ranked(const std::vector<float>& logits) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  return ids;
}

std::vector<double> softmax(const std::vector<float>& logits, const std::set<int32_t>& among) {
  double best = -1e300;
  for (int32_t id : among) best = std::max(best, static_cast<double>(logits[id]));
  double total = 0;
  std::vector<double> p(logits.size(), 0.0);
  for (int32_t id : among) total += p[id] = std::exp(static_cast<double>(logits[id]) - best);
  for (double& x : p) x /= total;
  return p;
}

// What the definitions keep, by whole sorts.
std::set<int32_t> brute_force(const std::vector<float>& logits, const SamplerOptions& o) {
  std::vector<int32_t> order = ranked(logits);
  if (o.top_k > 0 && static_cast<size_t>(o.top_k) < order.size()) order.resize(o.top_k);
  std::set<int32_t> kept(order.begin(), order.end());
  if (o.typical_p < 1) {
    const std::vector<double> p = softmax(logits, kept);
    double entropy = 0;
    for (int32_t id : kept)
      if (p[id] > 0) entropy -= p[id] * std::log(p[id]);
    std::vector<int32_t> by_surprise(order);
    std::stable_sort(by_surprise.begin(), by_surprise.end(), [&](int32_t a, int32_t b) {
      return std::abs(-std::log(p[a]) - entropy) < std::abs(-std::log(p[b]) - entropy);
    });
    kept.clear();
    double sum = 0;
    for (int32_t id : by_surprise) {
      if (sum >= o.typical_p) break;
      sum += p[id];
      kept.insert(id);
    }
  }
  if (o.top_p < 1) {
    const std::vector<double> p = softmax(logits, kept);
    std::set<int32_t> nucleus;
    double sum = 0;
    for (int32_t id : order) {
      if (!kept.count(id)) continue;
      if (sum >= o.top_p) break;
      sum += p[id];
      nucleus.insert(id);
    }
    kept = nucleus;
  }
  if (o.min_p > 0) {
    const std::vector<double> p = softmax(logits, kept);
    const double best = *std::max_element(p.begin(), p.end());
    std::set<int32_t> left;
    for (int32_t id : kept)
      if (p[id] >= best * o.min_p) left.insert(id);
    kept = left;
  }
  return kept;
}

// Every token that some draw gives.
std::map<int32_t, int> draws(const std::vector<float>& logits, const SamplerOptions& options, int n) {
  Sampler sampler(options);
  std::map<int32_t, int> counts;
  for (int i = 0; i < n; ++i) ++counts[sampler.sample(logits, {}, static_cast<uint64_t>(i))];
  return counts;
}

// Distinct logits on a coarse grid: rounding cannot decide which side of a bound a token falls on.
std::vector<float> random_logits(int min_size = 1, int max_size = 400) {
  const auto n = *rc::gen::inRange(min_size, max_size);
  const auto seed = *rc::gen::arbitrary<uint32_t>();
  std::vector<float> logits(n);
  for (int i = 0; i < n; ++i)
    logits[i] = static_cast<float>(counter_random(seed, static_cast<uint64_t>(i)) * 8);
  return logits;
}

TEST(Sampler, GreedyTakesTheFirstOfEqualBest) {
  SamplerOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2, 3}, {}, 0), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{std::nanf(""), -kInf, -5}, {}, 0), 2);
}

// Logits that nothing is to be done to are taken as they are; a bias of nothing has them copied first.
TEST(Sampler, GreedyChoosesTheSameFromACopy) {
  SamplerOptions options;
  options.temperature = 0;
  Sampler as_they_are(options);
  options.logit_bias = {{0, 0.0F}};
  Sampler from_copy(options);
  for (size_t n = 1; n <= 40; ++n) {
    std::vector<float> logits(n);
    for (size_t i = 0; i < n; ++i) {
      const double r = counter_random(n, i);
      logits[i] = r < 0.2 ? std::nanf("") : r < 0.3 ? -kInf : static_cast<float>(std::floor(r * 8));
    }
    logits[n / 2] = n % 5 == 0 ? kInf : 1;
    EXPECT_EQ(as_they_are.sample(logits, {}, 0), from_copy.sample(logits, {}, 0)) << n << " logits";
  }
}

TEST(Sampler, RefusesLogitsWithoutACandidate) {
  SamplerOptions options = plain();
  for (float temperature : {0.0F, 1.0F}) {
    options.temperature = temperature;
    Sampler sampler(options);
    EXPECT_THROW(sampler.sample(std::vector<float>{-kInf, std::nanf("")}, {}, 0), Error);
  }
}

TEST(Sampler, OneTopKIsGreedy) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<float> logits = random_logits();
    SamplerOptions options = plain();
    options.top_k = 1;
    options.temperature = 3;
    RC_ASSERT(Sampler(options).sample(logits, {}, *rc::gen::arbitrary<uint64_t>()) == ranked(logits).front());
  }));
}

TEST(Sampler, DrawsOnlyWhatTheDefinitionsKeep) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<float> logits = random_logits();
    SamplerOptions options = plain();
    options.temperature = 1.5F;
    options.top_k = *rc::gen::inRange(0, 60);
    options.top_p = *rc::gen::element(1.0F, 0.9F, 0.513F, 0.1F);
    options.min_p = *rc::gen::element(0.0F, 0.0511F, 0.307F);
    options.typical_p = *rc::gen::element(1.0F, 0.9031F, 0.41F);
    const std::set<int32_t> allowed = brute_force(logits, options);
    for (const auto& [id, count] : draws(logits, options, 200)) RC_ASSERT(allowed.count(id) == 1);
  }));
}

TEST(Sampler, DrawsEverythingThatTheDefinitionsKeep) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<float> logits = random_logits(2, 12);
    SamplerOptions options = plain();
    options.temperature = 100;  // nearly uniform over what is kept
    options.top_k = *rc::gen::inRange(0, 8);
    options.top_p = *rc::gen::element(1.0F, 0.9F, 0.513F);
    options.min_p = *rc::gen::element(0.0F, 0.0511F);
    options.typical_p = *rc::gen::element(1.0F, 0.9031F);
    const std::map<int32_t, int> seen = draws(logits, options, 600);
    RC_ASSERT(seen.size() == brute_force(logits, options).size());
  }));
}

TEST(Sampler, TiesAtTheEdgeOfTopKGoToTheLowerId) {
  const std::vector<float> logits(1000, 1.0F);
  SamplerOptions options = plain();
  options.top_k = 3;
  for (const auto& [id, count] : draws(logits, options, 200)) EXPECT_LT(id, 3);
}

TEST(Sampler, FrequenciesFollowTheTemperedSoftmax) {
  const std::vector<float> logits = {2, 1, 0, -1};
  for (float temperature : {0.5F, 1.0F, 2.0F}) {
    SamplerOptions options = plain();
    options.temperature = temperature;
    constexpr int kDraws = 40000;
    const std::map<int32_t, int> counts = draws(logits, options, kDraws);
    double total = 0;
    for (float logit : logits) total += std::exp(logit / temperature);
    for (int32_t id = 0; id < 4; ++id) {
      const double p = std::exp(logits[id] / temperature) / total;
      const double got = counts.count(id) ? counts.at(id) / double{kDraws} : 0;
      EXPECT_NEAR(got, p, 5 * std::sqrt(p * (1 - p) / kDraws)) << id << " at " << temperature;
    }
  }
}

TEST(Sampler, TheSameCounterGivesTheSameTokenWhateverCameBefore) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<float> logits = random_logits(50, 400);
    SamplerOptions options;
    options.seed = *rc::gen::arbitrary<uint64_t>();
    const auto counter = *rc::gen::arbitrary<uint64_t>();
    Sampler used(options);
    for (uint64_t i = 0; i < 5; ++i) used.sample(random_logits(1, 900), {}, i);
    RC_ASSERT(used.sample(logits, {}, counter) == Sampler(options).sample(logits, {}, counter));
  }));
}

TEST(Sampler, SeedsGiveDifferentDraws) {
  const std::vector<float> logits(64, 0.0F);
  SamplerOptions a = plain();
  SamplerOptions b = plain();
  b.seed = 1;
  int equal = 0;
  for (uint64_t i = 0; i < 200; ++i)
    equal += Sampler(a).sample(logits, {}, i) == Sampler(b).sample(logits, {}, i);
  EXPECT_LT(equal, 20);
}

TEST(Sampler, PenaltiesFollowTheirDefinitions) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<float> logits = random_logits(8, 40);
    const auto history =
        *rc::gen::container<std::vector<int32_t>>(rc::gen::inRange(0, static_cast<int>(logits.size())));
    SamplerOptions options;
    options.temperature = 0;
    options.repetition_penalty = *rc::gen::element(1.0F, 1.37F, 0.8F);
    options.presence_penalty = *rc::gen::element(0.0F, 0.71F, -0.3F);
    options.frequency_penalty = *rc::gen::element(0.0F, 0.43F);
    options.penalty_window = *rc::gen::element(-1, 0, 3, 64);

    const size_t n = options.penalty_window < 0
                         ? history.size()
                         : std::min(history.size(), static_cast<size_t>(options.penalty_window));
    std::map<int32_t, int> counts;
    for (size_t i = history.size() - n; i < history.size(); ++i) ++counts[history[i]];
    std::vector<float> expected = logits;
    for (size_t id = 0; id < expected.size(); ++id) {
      const auto found = counts.find(static_cast<int32_t>(id));
      if (found == counts.end()) continue;
      float& x = expected[id];
      x = x > 0 ? x / options.repetition_penalty : x * options.repetition_penalty;
      x = x - options.presence_penalty - options.frequency_penalty * static_cast<float>(found->second);
    }
    RC_ASSERT(Sampler(options).sample(logits, history, 0) == ranked(expected).front());
  }));
}

TEST(Sampler, BiasForbidsAndForces) {
  SamplerOptions options;
  options.temperature = 0;
  options.logit_bias = {{1, -kInf}, {2, 100}};
  EXPECT_EQ(Sampler(options).sample(std::vector<float>{1, 9, 0, 5}, {}, 0), 2);
  options.logit_bias = {{1, -kInf}};
  EXPECT_EQ(Sampler(options).sample(std::vector<float>{1, 9, 0, 5}, {}, 0), 3);
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  const auto expect_refused = [](auto change, const char* word) {
    SamplerOptions options;
    change(options);
    try {
      check_sampler_options(options, 10);
      ADD_FAILURE() << word << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  expect_refused([](SamplerOptions& o) { o.temperature = -1; }, "temperature");
  expect_refused([](SamplerOptions& o) { o.temperature = std::nanf(""); }, "temperature");
  expect_refused([](SamplerOptions& o) { o.top_p = 0; }, "top-p");
  expect_refused([](SamplerOptions& o) { o.top_p = 1.01F; }, "top-p");
  expect_refused([](SamplerOptions& o) { o.min_p = 2; }, "min-p");
  expect_refused([](SamplerOptions& o) { o.typical_p = 0; }, "typical-p");
  expect_refused([](SamplerOptions& o) { o.repetition_penalty = 0; }, "repetition");
  expect_refused([](SamplerOptions& o) { o.top_k = -1; }, "top-k");
  expect_refused([](SamplerOptions& o) { o.logit_bias = {{10, 1.0F}}; }, "logit bias");
  EXPECT_NO_THROW(check_sampler_options(SamplerOptions{}, 10));
}

}  // namespace
}  // namespace sluice
