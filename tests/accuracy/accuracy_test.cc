// What the default activation format costs: the demo model in every encoding that compress() writes, int8
// against float inputs on held-out text.
//
// The model routes: where two experts are nearly tied, rounding (any at all) may choose the other one, which
// moves that position tens of times as far as rounding does by itself. A tenth of the positions carries three
// quarters of the divergence so; with float's choices imposed on the int8 run, all positions together stayed
// below 4e-4 nats in every encoding. So the limit of 1e-3 holds in all encodings where the experts are the
// same; over all positions, affine2 to affine4 do not keep it, and have limits of their own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "compress/compress.h"
#include "engine/text_assets.h"
#include "tests/golden/model_runner.h"
#include "tests/scratch.h"
#include "tests/shared_data.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

constexpr size_t kWindow = 256, kWindowsPerDomain = 8;
constexpr double kMaxDivergence = 1e-3;  // nats, mean over positions
constexpr double kMaxChange = 0.003;     // of the perplexity

// Windows that do not overlap, evenly spread over each of the held-out texts; each has one token more, the
// last target.
std::vector<std::vector<int32_t>> held_out_windows() {
  const TextAssets assets = load_text_assets(shared_path("demo-model"));
  EncodeOptions options;
  options.parse_special = true;
  std::vector<std::vector<int32_t>> windows;
  for (const char* domain : {"stories", "math", "code", "novels"}) {
    const auto ids = assets.tokenizer->encode(
        read_file(shared_path(std::string("demo-model/eval/") + domain + ".valid.txt")), options);
    const size_t step = ids.size() / kWindowsPerDomain;
    EXPECT_GT(step, kWindow);
    for (size_t w = 0; w < kWindowsPerDomain; ++w) {
      const auto begin = ids.begin() + static_cast<ptrdiff_t>(w * step);
      windows.emplace_back(begin, begin + static_cast<ptrdiff_t>(kWindow + 1));
    }
  }
  return windows;
}

// Logarithms of the softmax of one row of logits, in double.
std::vector<double> log_softmax(std::span<const float> logits) {
  double best = logits[0], sum = 0;
  for (const double x : logits) best = std::max(best, x);
  for (const double x : logits) sum += std::exp(x - best);
  std::vector<double> out;
  for (const double x : logits) out.push_back(x - best - std::log(sum));
  return out;
}

// Over all positions. Measured on 24,576 of them: 4.7e-3, 1.3e-3 and 1.1e-3 in the first three, 0.9e-3 to
// 1.0e-3 in the others. Fewer bits make ties more frequent and the experts less alike.
double max_divergence_with_other_experts(Encoding encoding) {
  if (encoding == Encoding::kAffine2) return 6e-3;
  if (encoding == Encoding::kAffine3 || encoding == Encoding::kAffine4) return 1.5e-3;
  return kMaxDivergence;
}

// Of each position, the experts of all layers, each layer's in ascending order.
using Routes = std::map<int64_t, std::vector<int32_t>>;

void record_routes(Model& model, Routes& routes) {
  model.set_route_observer([&routes](int64_t layer, size_t, int64_t position,
                                     std::span<const int32_t> experts, std::span<const float>) {
    std::vector<int32_t>& all = routes[position];
    if (layer == 0) all.clear();  // of the window before
    all.insert(all.end(), experts.begin(), experts.end());
    std::sort(all.end() - static_cast<ptrdiff_t>(experts.size()), all.end());
  });
}

struct Comparison {
  int64_t positions = 0, same_experts = 0;
  // Of the default format from float, in nats: over all positions with its standard error, and over those
  // with the same experts in all layers.
  double divergence = 0, divergence_error = 0, same_experts_divergence = 0;
  double float_perplexity = 0, change = 0, change_error = 0;  // relative, by the default format
  double same_first = 0;  // share of positions with the same likeliest token
  bool identical = true;  // all logits, bit for bit
};

Comparison compare(const std::string& model, const std::vector<std::vector<int32_t>>& windows) {
  RunOptions options{.kv = KvType::kF16, .f32_activations = true, .n_threads = 2};
  ModelRunner in_float(model, options);
  options.f32_activations = false;
  ModelRunner standard(model, options);
  Routes float_routes, routes;
  record_routes(in_float.model(), float_routes);
  record_routes(standard.model(), routes);
  const auto vocab = static_cast<size_t>(in_float.spec().vocab);
  Comparison c;
  double nll = 0, change = 0, change_squares = 0, divergence_squares = 0;
  for (const std::vector<int32_t>& window : windows) {
    const std::vector<int32_t> tokens(window.begin(), window.end() - 1);
    const auto x = in_float.all_logits(tokens), y = standard.all_logits(tokens);
    c.identical = c.identical && x == y;
    for (size_t t = 0; t < tokens.size(); ++t) {
      const auto p = log_softmax(std::span(x).subspan(t * vocab, vocab));
      const auto q = log_softmax(std::span(y).subspan(t * vocab, vocab));
      double divergence = 0;
      for (size_t i = 0; i < vocab; ++i) divergence += std::exp(p[i]) * (p[i] - q[i]);
      c.divergence += divergence;
      divergence_squares += divergence * divergence;
      if (float_routes.at(static_cast<int64_t>(t)) == routes.at(static_cast<int64_t>(t))) {
        c.same_experts_divergence += divergence;
        ++c.same_experts;
      }
      const auto target = static_cast<size_t>(window[t + 1]);
      const double loss = p[target] - q[target];
      nll -= p[target];
      change += loss;
      change_squares += loss * loss;
      c.same_first += std::max_element(p.begin(), p.end()) - p.begin() ==
                      std::max_element(q.begin(), q.end()) - q.begin();
      ++c.positions;
    }
  }
  const auto n = static_cast<double>(c.positions);
  c.divergence /= n, c.same_first /= n, change /= n;
  c.divergence_error = std::sqrt((divergence_squares / n - c.divergence * c.divergence) / n);
  c.same_experts_divergence /= static_cast<double>(c.same_experts);
  c.float_perplexity = std::exp(nll / n);
  c.change = std::exp(change) - 1;
  c.change_error = std::sqrt((change_squares / n - change * change) / n);
  return c;
}

TEST(Accuracy, TheDefaultActivationsStayCloseToFloat) {
  SLUICE_REQUIRE_SHARED();
  const Scratch directory;
  const auto windows = held_out_windows();
  std::printf("%34s %28s\n", "perplexity", "KL divergence, 1e-3 nats");
  std::printf("%-8s %10s %18s %16s %14s %14s %10s\n", "encoding", "f32", "change, %", "all positions",
              "same experts", "same experts", "same top");
  for (const Encoding encoding :
       {Encoding::kAffine2, Encoding::kAffine3, Encoding::kAffine4, Encoding::kAffine5, Encoding::kAffine6,
        Encoding::kAffine8, Encoding::kQ4_0, Encoding::kQ8_0, Encoding::kBF16, Encoding::kF16}) {
    const EncodingInfo& info = encoding_info(encoding);
    const std::string name(info.name);
    SCOPED_TRACE(name);
    const bool gguf = info.family == Family::kBlock;
    const std::string path = directory / (gguf ? name + ".gguf" : name);
    compress({.model = shared_path("demo-model"), .out = path, .encoding = encoding});
    const Comparison c = compare(path, windows);
    const double same_experts = static_cast<double>(c.same_experts) / static_cast<double>(c.positions);
    std::printf("%-8s %10.4f %+9.4f ± %.4f %7.4f ± %.4f %14.4f %13.2f%% %9.2f%%\n", name.c_str(),
                c.float_perplexity, 100 * c.change, 100 * c.change_error, 1e3 * c.divergence,
                1e3 * c.divergence_error, 1e3 * c.same_experts_divergence, 100 * same_experts,
                100 * c.same_first);
    std::fflush(stdout);
    EXPECT_EQ(c.positions, static_cast<int64_t>(4 * kWindowsPerDomain * kWindow));
    EXPECT_LT(c.same_experts_divergence, kMaxDivergence);
    // A sample of a mean near its limit: what is above it by chance is not held against it.
    EXPECT_LT(c.divergence - 2 * c.divergence_error, max_divergence_with_other_experts(encoding));
    EXPECT_GT(same_experts, 0.8);
    EXPECT_LT(std::abs(c.change), kMaxChange);
    // Where float inputs are taken in both; everywhere else the format must make a difference to measure.
    EXPECT_EQ(c.identical, activation_of({.table = &kernel_table()}, encoding) == Activation::kF32);
    fs::remove_all(path);
  }
}

}  // namespace
}  // namespace sluice::test
