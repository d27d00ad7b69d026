// The simulator counts what the engine counts: routes of real passes, recorded by the route observer,
// replayed under the same policy in as many slots give the same hits and misses, exactly. Passes of one
// token, and of so many that their experts come in waves; of whole experts, and of halves.
#include <gtest/gtest.h>

#include "store/cache_simulator.h"
#include "tests/forged_model.h"
#include "tests/golden/model_runner.h"

namespace sluice::test {
namespace {

std::vector<int32_t> tokens_of(uint32_t seed, size_t n) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < n; ++i)
    tokens.push_back(static_cast<int32_t>((seed = seed * 1664525 + 1013904223) >> 8) % 1024);
  return tokens;
}

struct Counted {
  StoreStats stats;
  RoutingTrace trace;
};

// Two prompts and what follows them.
Counted run(const std::string& path, double weights, const std::string& policy, const std::string& split,
            const std::vector<float>& rates, uint32_t n_parts) {
  RunOptions options{.kv = KvType::kF16, .f32_activations = false, .chunk = 16};
  options.weights = weights;
  options.store.policy = policy;
  options.store.split = split;
  options.expert_rates = rates;
  options.expert_parts = n_parts;
  ModelRunner runner(path, options);
  Model& model = runner.model();
  TraceRecorder recorder({.model = path,
                          .groups = {},
                          .n_units = static_cast<uint32_t>(model.spec().n_experts),
                          .n_chosen = static_cast<uint32_t>(model.spec().n_experts_per_token),
                          .unit_bytes = model.expert_bytes()},
                         200, 4);
  model.set_route_observer([&](int64_t layer, size_t, int64_t, std::span<const int32_t> experts,
                               std::span<const float> expert_weights) {
    recorder.add(static_cast<uint32_t>(layer), experts, expert_weights);
  });
  for (const uint32_t seed : {1U, 2U}) {
    const auto sequence = model.new_sequence();
    const auto forward = [&](std::span<const int32_t> tokens) {
      const BatchItem item[] = {{sequence.get(), tokens, LogitsWanted::kNone}};
      model.forward(item);
      recorder.end_pass(tokens.size() > 1);
    };
    const std::vector<int32_t> tokens = tokens_of(seed, 70);
    for (size_t begin = 0; begin < 30; begin += 15) forward(std::span(tokens).subspan(begin, 15));
    for (size_t i = 30; i < tokens.size(); ++i) forward(std::span(tokens).subspan(i, 1));
  }
  return {model.store_stats(), std::move(recorder.trace())};
}

TEST(Simulator, CountsWhatTheEngineCounts) {
  const ForgedModels forged;
  const std::string path = forged.get("moe-tiny", "q4_0");  // 4 layers of 16 experts, 4 a token
  std::vector<uint64_t> slots;
  for (const double weights : {0.0, 0.5, 0.6, 0.7, 0.85}) {
    for (const std::string_view name : cache_policy_names()) {
      for (const std::string_view split_name : cache_split_names()) {
        const std::string policy(name), split(split_name);
        uint64_t n_slots = 0;
        for (const uint32_t n_parts : {2U, 1U}) {
          const Counted counted = run(path, weights, policy, split, {}, n_parts);
          n_slots = counted.stats.cache_slots;
          ASSERT_GE(n_slots, n_parts);
          const CacheCounts simulated =
              simulate_cache(counted.trace, n_slots, make_cache_policy(policy, split), {}, n_parts);
          EXPECT_EQ(simulated.hits, counted.stats.hits) << policy << ", " << split << ", " << weights;
          EXPECT_EQ(simulated.misses, counted.stats.misses) << policy << ", " << split << ", " << weights;
        }
        if (slots.empty() || slots.back() != n_slots) slots.push_back(n_slots);
      }
    }
  }
  // Fewer slots than a prompt's pass takes in one layer, than a token's pass in all, and more than either.
  EXPECT_LT(slots.front(), 4U);
  EXPECT_GT(slots.back(), 32U);
  EXPECT_EQ(slots.size(), 5U);
}

// The same where a profile fills the slots and seeds the policy.
TEST(Simulator, CountsWhatAnEngineCountsThatBeginsWarm) {
  const ForgedModels forged;
  const std::string path = forged.get("moe-tiny", "q4_0");
  std::vector<float> rates(4 * 16, 0);
  for (size_t i = 5; i < rates.size(); ++i) rates[i] = static_cast<float>(i * 37 % 64) / 64;
  for (const double weights : {0.0, 0.6, 0.85}) {
    for (const std::string_view name : cache_policy_names()) {
      for (const std::string_view split_name : cache_split_names()) {
        const std::string policy(name), split(split_name);
        const Counted counted = run(path, weights, policy, split, rates, 1);
        const size_t n_slots = counted.stats.cache_slots;
        EXPECT_EQ(counted.stats.warm_units, std::min<size_t>(n_slots, 58)) << weights;  // 58 rates are not 0
        const CacheCounts simulated =
            simulate_cache(counted.trace, n_slots, make_cache_policy(policy, split), rates);
        EXPECT_EQ(simulated.hits, counted.stats.hits) << policy << ", " << split << ", " << weights;
        EXPECT_EQ(simulated.misses, counted.stats.misses) << policy << ", " << split << ", " << weights;
        EXPECT_GE(simulated.misses, simulate_best(counted.trace, n_slots, rates).misses);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::test
