// The engine's arithmetic against independent references: ids, logits and routes of real checkpoints.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/golden/model_runner.h"
#include "tests/golden/reference_forward.h"
#include "tests/shared_data.h"

namespace sluice::test {
namespace {

using nlohmann::json;

json read_json(const std::string& relative) { return json::parse(read_file(shared_path(relative))); }

std::vector<float> read_floats(const std::string& relative) {
  const std::string bytes = read_file(shared_path(relative));
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

double worst_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

double mean_difference(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) sum += std::abs(static_cast<double>(a[i]) - b[i]);
  return sum / static_cast<double>(a.size());
}

// Kullback-Leibler divergence of the distributions after rows [n, vocab] of logits, from p to q, in nats.
double mean_divergence(std::span<const float> p, std::span<const float> q, size_t vocab) {
  double total = 0;
  for (size_t row = 0; row < p.size(); row += vocab) {
    double zp = 0, zq = 0;
    for (size_t i = row; i < row + vocab; ++i) {
      zp += std::exp(static_cast<double>(p[i]));
      zq += std::exp(static_cast<double>(q[i]));
    }
    for (size_t i = row; i < row + vocab; ++i) {
      const double lp = p[i] - std::log(zp), lq = q[i] - std::log(zq);
      total += std::exp(lp) * (lp - lq);
    }
  }
  return total / static_cast<double>(p.size() / vocab);
}

// The goldens are float64 on the f32 weights, from which those of the f16 file differ: its logits may be as
// far away as float64 on its own weights is (OnItsOwnWeights).
struct StoriesCase {
  const char* path;
  double worst;
  double mean;
};

void PrintTo(const StoriesCase& c, std::ostream* out) { *out << c.path; }

class Stories260K : public testing::TestWithParam<StoriesCase> {};

TEST_P(Stories260K, GreedyIdsAndLogits) {
  SLUICE_REQUIRE_SHARED();
  const json golden = read_json("data/derived/stories260K/golden.json");
  const auto ids = golden["greedy_ids"].get<std::vector<int32_t>>();
  ASSERT_GE(ids.size(), 200u);
  ModelRunner runner(shared_path(GetParam().path), {.n_threads = 2});
  EXPECT_EQ(runner.greedy({ids[0]}, static_cast<int64_t>(ids.size()) - 1), ids);

  const auto expected = read_floats("data/derived/stories260K/golden_logits_64x512.f32");
  ASSERT_EQ(expected.size(), 64u * 512u);
  const auto logits = runner.all_logits({ids.begin(), ids.begin() + 64});
  EXPECT_LE(worst_difference(logits, expected), GetParam().worst);
  EXPECT_LE(mean_difference(logits, expected), GetParam().mean);
}

INSTANTIATE_TEST_SUITE_P(
    Files, Stories260K,
    testing::Values(StoriesCase{"data/derived/stories260K/hf", 2e-4, 2e-5},
                    StoriesCase{"data/derived/stories260K/stories260K-F32.gguf", 2e-4, 2e-5},
                    StoriesCase{"data/derived/stories260K/stories260K-F16.gguf", 0.0115, 2e-3}));

TEST(Stories260KF16, OnItsOwnWeights) {
  SLUICE_REQUIRE_SHARED();
  const std::string path = shared_path("data/derived/stories260K/stories260K-F16.gguf");
  auto ids = read_json("data/derived/stories260K/golden.json")["greedy_ids"].get<std::vector<int32_t>>();
  ids.resize(64);
  const std::vector<double> exact = reference_forward(path, ids).logits;
  const std::vector<float> expected(exact.begin(), exact.end());
  ModelRunner runner(path, {.n_threads = 2});
  EXPECT_LE(worst_difference(runner.all_logits(ids), expected), 2e-4);

  // No exact engine is nearer to the golden of the f32 weights than this.
  const auto golden = read_floats("data/derived/stories260K/golden_logits_64x512.f32");
  const double rounding = worst_difference(expected, golden);
  std::printf("f16 weights move a float64 pass by up to %.4f, by %.4f in the mean\n", rounding,
              mean_difference(expected, golden));
  EXPECT_NEAR(rounding, 0.0113, 1e-4);
}

// The default formats (f16 KV) on the float file: the same text, and how far the distributions are apart.
TEST(Stories260KDefaults, SameGreedyTextAndSmallDivergence) {
  SLUICE_REQUIRE_SHARED();
  const auto ids =
      read_json("data/derived/stories260K/golden.json")["greedy_ids"].get<std::vector<int32_t>>();
  const std::string path = shared_path("data/derived/stories260K/stories260K-F32.gguf");
  ModelRunner exact(path, {});
  ModelRunner standard(path, {.kv = KvType::kF16, .f32_activations = false});
  EXPECT_EQ(standard.greedy({ids[0]}, 64), std::vector<int32_t>(ids.begin(), ids.begin() + 65));

  const double kl = mean_divergence(exact.all_logits(ids), standard.all_logits(ids), 512);
  std::printf("stories260K: KL of the default formats to the float path %.3g nats\n", kl);
  EXPECT_LT(kl, 1e-4);
}

class TinyMoe : public testing::TestWithParam<const char*> {};

TEST_P(TinyMoe, GreedyIdsLogitsAndRoutes) {
  SLUICE_REQUIRE_SHARED();
  const std::string directory = std::string("data/derived/moe/") + GetParam();
  const json golden = read_json(directory + "/expected.json");
  const auto prompt = golden["prompt"].get<std::vector<int32_t>>();
  const auto tokens = golden["tokens"].get<std::vector<int32_t>>();
  ModelRunner runner(shared_path(directory), {.n_threads = 2});
  EXPECT_EQ(runner.greedy(prompt, static_cast<int64_t>(tokens.size() - prompt.size())), tokens);

  size_t n_routes = 0;
  runner.model().set_route_observer([&](int64_t layer, size_t, int64_t position,
                                        std::span<const int32_t> experts, std::span<const float> weights) {
    const json& route = golden["routes"][static_cast<size_t>(position)][static_cast<size_t>(layer)];
    ASSERT_EQ(route.size(), experts.size());
    for (size_t i = 0; i < experts.size(); ++i) {
      EXPECT_EQ(route[i][0].get<int32_t>(), experts[i]) << "layer " << layer << " position " << position;
      EXPECT_NEAR(route[i][1].get<double>(), static_cast<double>(weights[i]), 1e-4);
    }
    ++n_routes;
  });
  const auto logits = runner.all_logits(tokens);
  size_t expected_routes = 0;
  for (const json& token : golden["routes"]) {
    for (const json& layer : token) expected_routes += !layer.is_null();
  }
  EXPECT_EQ(n_routes, expected_routes);

  std::vector<float> expected;
  for (const json& row : golden["logits"]) {
    const auto values = row.get<std::vector<float>>();
    expected.insert(expected.end(), values.begin(), values.end());
  }
  EXPECT_LE(worst_difference(logits, expected), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Models, TinyMoe, testing::Values("tiny-qwen3-moe", "tiny-mixtral"));

TEST(LlamaTinyRandom, GreedyIdsAndTopLogits) {
  SLUICE_REQUIRE_SHARED();
  const json golden = read_json("data/derived/llama-2-tiny-random.golden.json");
  const auto ids = golden["greedy_ids"].get<std::vector<int32_t>>();
  ModelRunner runner(shared_path("data/weights/gguf/llama-2-tiny-random.gguf"), {});
  EXPECT_EQ(runner.greedy({ids[0]}, static_cast<int64_t>(ids.size()) - 1), ids);
  const auto logits = runner.all_logits(ids);
  const auto vocab = static_cast<size_t>(runner.spec().vocab);
  ASSERT_FALSE(golden["top5"].empty());
  for (size_t row = 0; row < golden["top5"].size(); ++row) {
    for (const json& entry : golden["top5"][row]) {
      EXPECT_NEAR(logits[row * vocab + entry[0].get<size_t>()], entry[1].get<float>(), 1e-3);
    }
  }
}

TEST(DemoModel, MatchesItsReference) {
  SLUICE_REQUIRE_SHARED();
  const json golden = read_json("demo-model/expected.json");
  const auto prompt = golden["prompt_ids"].get<std::vector<int32_t>>();
  auto tokens = prompt;
  for (const int32_t id : golden["greedy_ids"]) tokens.push_back(id);
  ModelRunner runner(shared_path("demo-model"), {.n_threads = 2});
  EXPECT_EQ(runner.greedy(prompt, static_cast<int64_t>(tokens.size() - prompt.size())), tokens);

  size_t n_routes = 0;
  runner.model().set_route_observer(
      [&](int64_t layer, size_t, int64_t position, std::span<const int32_t> experts, std::span<const float>) {
        const json& route = golden["routes"][static_cast<size_t>(layer)][static_cast<size_t>(position)];
        EXPECT_EQ(route.get<std::vector<int32_t>>(), std::vector<int32_t>(experts.begin(), experts.end()));
        ++n_routes;
      });
  const auto logits = runner.all_logits(tokens);
  EXPECT_EQ(n_routes, golden["routes"].size() * tokens.size());
  const auto vocab = static_cast<size_t>(runner.spec().vocab);
  ASSERT_EQ(golden["top8"].size(), tokens.size());
  for (size_t row = 0; row < tokens.size(); ++row) {
    for (const json& entry : golden["top8"][row]) {
      EXPECT_NEAR(logits[row * vocab + entry[0].get<size_t>()], entry[1].get<float>(), 1e-3);
    }
  }
}

// The default formats: f16 KV cache for the trained bf16 model, int8 activations as well for the quantised
// one.
TEST(DemoModelDefaults, SmallDivergence) {
  SLUICE_REQUIRE_SHARED();
  const json golden = read_json("demo-model/expected.json");
  auto tokens = golden["prompt_ids"].get<std::vector<int32_t>>();
  for (const int32_t id : golden["greedy_ids"]) tokens.push_back(id);
  for (const std::string& path :
       {shared_path("demo-model"), SLUICE_SOURCE_DIR + std::string("/models/demo")}) {
    ModelRunner exact(path, {});
    ModelRunner standard(path, {.kv = KvType::kF16, .f32_activations = false});
    const auto vocab = static_cast<size_t>(exact.spec().vocab);
    const double kl = mean_divergence(exact.all_logits(tokens), standard.all_logits(tokens), vocab);
    std::printf("%s: KL of the default formats to the float path %.3g nats\n", path.c_str(), kl);
    EXPECT_LT(kl, 1e-3);
    ModelRunner int8(path, {.kv = KvType::kInt8});
    const double int8_kl = mean_divergence(exact.all_logits(tokens), int8.all_logits(tokens), vocab);
    std::printf("%s: KL of an int8 KV cache alone %.3g nats\n", path.c_str(), int8_kl);
    EXPECT_GT(int8_kl, 0);
    EXPECT_LT(int8_kl, 1e-3);
  }
}

}  // namespace
}  // namespace sluice::test
