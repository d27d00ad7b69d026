#include "plan/cost_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/check.h"

namespace sluice {
namespace {

constexpr double kMostReadBytes = 512 << 10;  // into which the engine cuts its reads

// Found by short runs of this engine; docs/performance.md says how to find them again.
constexpr double kBurstEfficiency = 0.9;    // of its speed in bursts: the experts that a token misses
constexpr double kSweepEfficiency = 0.7;    // of its speed at random: the experts of a whole prompt
constexpr double kFewRows = 64;             // below which the next counts
constexpr double kFewRowsEfficiency = 0.8;  // of the kernels: experts' rows vary from one to the next
constexpr double kMissSeconds = 0.25e-3;    // of a layer that must read, beside the reads
constexpr double kAheadRight = 0.8;       // how often the missing expert that is thought likeliest is wanted
constexpr double kLoadEfficiency = 0.6;   // of the disk's speed in order: loading, with fresh pages
constexpr double kRegionSeconds = 10e-6;  // of a parallel region
constexpr double kRegionsPerLayer = 4;    // q/k/v, output, gate and up, down
constexpr double kLayerSeconds = 10e-6;   // what runs between them
constexpr double kMoeLayerSeconds = 10e-6;  // routing, gathering, combining
constexpr double kRowSeconds = 4.2e-9;  // norms, RoPE, activation, residuals: per row, layer and hidden value
constexpr double kLogitSeconds = 1.1e-9;  // sampling, per word of the vocabulary
constexpr double kReadsPerExpert = 3;     // gate, up and down lie apart in GGUF files

// Experts hit more often than their share, because a text keeps to some: h = share ^ this. The demo model's
// routing on stories and code gives 0.45, published runs of large models 0.2 to 0.37.
constexpr double kTypicalExponent = 0.35;

// The part of a model's weights that a pass always reads, and that of one expert.
struct Shape {
  double expert_bytes;  // of one, a mean
  double experts_per_token, n_experts, n_moe_layers;
  double dense_bytes;       // per pass, the head included
  double dense_parameters;  // without the head
  double head_parameters;
  double total_experts() const { return n_experts * n_moe_layers; }
};

Shape shape_of(const ModelInfo& model) {
  Shape s = {};
  s.experts_per_token = static_cast<double>(model.n_experts_per_token);
  s.n_experts = static_cast<double>(model.n_experts);
  s.n_moe_layers = static_cast<double>(model.n_moe_layers);
  if (model.n_experts > 0) s.expert_bytes = static_cast<double>(model.experts_bytes) / s.total_experts();
  const double expert_uses = s.experts_per_token * s.n_moe_layers;
  s.dense_bytes = static_cast<double>(model.bytes_per_token) - expert_uses * s.expert_bytes;
  s.head_parameters = static_cast<double>(model.hidden * model.vocab);
  s.dense_parameters = static_cast<double>(model.n_active_parameters) -
                       expert_uses * static_cast<double>(model.expert_parameters) - s.head_parameters;
  return s;
}

double head_bytes_of(const Shape& shape) {
  return shape.dense_bytes * shape.head_parameters / (shape.dense_parameters + shape.head_parameters);
}

// Seconds to multiply `bytes` of weights of the model's mix of encodings with `rows` input rows.
double product_seconds(const ModelInfo& model, const HardwareProfile& machine, double bytes, double rows) {
  double known = 0, seconds = 0;
  for (const EncodingUse& use : model.encodings) {
    const double speed = machine.product_speed(use.name, rows);
    if (speed <= 0) continue;
    known += static_cast<double>(use.bytes);
    seconds += static_cast<double>(use.bytes) / speed;
  }
  SLUICE_CHECK(known > 0, "no encoding of the model was measured");
  return seconds / known * bytes;
}

// Keys that the queries at [depth, depth + n) look at, a mean over the layers.
double keys_seen(const ModelInfo& model, double depth, double n) {
  double sum = 0;
  for (const int64_t window : model.attention_windows) {
    const double mean = depth + (n + 1) / 2;
    sum += n * (window == 0 ? mean : std::min(mean, static_cast<double>(window)));
  }
  return sum / static_cast<double>(std::max<size_t>(model.attention_windows.size(), 1));
}

double overhead_seconds(const ModelInfo& model, double rows) {
  const double row_s = kRowSeconds * static_cast<double>(model.hidden);
  return static_cast<double>(model.n_layers) *
             (kRegionsPerLayer * kRegionSeconds + kLayerSeconds + rows * row_s) +
         static_cast<double>(model.n_moe_layers) * kMoeLayerSeconds;
}

double binomial(int64_t n, int64_t k, double p) {
  if (p <= 0) return k == 0 ? 1 : 0;
  if (p >= 1) return k == n ? 1 : 0;
  const auto real = [](int64_t i) { return static_cast<double>(i); };
  return std::exp(std::lgamma(real(n + 1)) - std::lgamma(real(k + 1)) - std::lgamma(real(n - k + 1)) +
                  real(k) * std::log(p) + real(n - k) * std::log1p(-p));
}

// Bytes of experts per second when `n` of them are asked for at once.
double expert_read_speed(const Shape& shape, const HardwareProfile& machine, double n, DiskPattern pattern) {
  const auto block = static_cast<uint64_t>(std::min(shape.expert_bytes / kReadsPerExpert, kMostReadBytes));
  return machine.disk_speed(block, n * kReadsPerExpert, pattern);
}

// What the budget holds of the experts.
struct Cache {
  double slots = 0;
  bool whole = false;

  double share(const ModelInfo& model) const {
    return whole ? 1 : slots / static_cast<double>(model.n_experts * model.n_moe_layers);
  }
};
Cache cache_of(const ModelInfo& model, const MemoryOutlook& outlook) {
  if (model.n_experts == 0) return {.whole = true};
  const double total = static_cast<double>(model.n_experts * model.n_moe_layers);
  if (outlook.cache_bytes >= model.experts_bytes) return {.slots = total, .whole = true};
  // Every slot has room for the largest expert.
  const uint64_t slots = outlook.cache_bytes / model.expert_bytes;
  return {.slots = static_cast<double>(slots)};
}

double hit_rate(const ModelInfo& model, const Cache& cache, const Routing& routing) {
  if (cache.whole) return 1;
  return expected_hit_rate(routing, model.n_experts, model.n_experts_per_token, cache.share(model));
}

void decode(const ModelInfo& model, const MemoryOutlook& outlook, const HardwareProfile& machine,
            const PlanWorkload& workload, Prediction& p) {
  const Shape shape = shape_of(model);
  const Cache cache = cache_of(model, outlook);
  const auto k = model.n_experts_per_token;
  p.hit_rate = hit_rate(model, cache, workload.routing);

  const double keys = keys_seen(model, static_cast<double>(workload.prompt_tokens), 1);
  const double kv_bytes = keys * static_cast<double>(model.kv_bytes_per_token);
  const double layer_experts_s =
      product_seconds(model, machine, shape.expert_bytes * static_cast<double>(k), 1);
  const double head_bytes = head_bytes_of(shape);
  const double layers_s = product_seconds(model, machine, shape.dense_bytes - head_bytes, 1) +
                          kv_bytes / machine.attention.bytes_per_second + overhead_seconds(model, 1);
  const double dense_s = layers_s + product_seconds(model, machine, head_bytes, 1) +
                         static_cast<double>(model.vocab) * kLogitSeconds;
  p.arithmetic_s = dense_s + shape.n_moe_layers * layer_experts_s;

  double experts_s = shape.n_moe_layers * layer_experts_s;  // with what their reads add
  const double missed = static_cast<double>(k) * shape.n_moe_layers * (1 - p.hit_rate) * shape.expert_bytes;
  p.disk_bytes = static_cast<double>(outlook.streamed_bytes) + missed;
  p.disk_s = static_cast<double>(outlook.streamed_bytes) / machine.disk_sequential(true);
  if (missed > 0) {
    const auto read_s = [&](int64_t n) {
      if (n == 0) return 0.0;
      const auto experts = static_cast<double>(n);
      return kMissSeconds + experts * shape.expert_bytes / kBurstEfficiency /
                                expert_read_speed(shape, machine, experts, DiskPattern::kBurst);
    };
    // With `n` to be waited for: the last one to arrive is computed after all the others.
    const auto layer_s = [&](int64_t n) {
      const double last_s = n == 0 ? 0 : layer_experts_s / static_cast<double>(k);
      return std::max(layer_experts_s, read_s(n) + last_s);
    };
    // Between a router and the next one there is time to read an expert ahead.
    const double between_s = layers_s / static_cast<double>(model.n_layers);
    const double late_s = std::max(0.0, read_s(1) - between_s);
    double without_s = 0, ahead_s = 0;
    for (int64_t m = 0; m <= k; ++m) {
      const double chance = binomial(k, m, 1 - p.hit_rate);
      without_s += chance * layer_s(m);
      ahead_s += chance * (m == 0 ? layer_s(0)
                                  : kAheadRight * (late_s + layer_s(m - 1)) + (1 - kAheadRight) * layer_s(m));
      p.disk_s += chance * read_s(m) * shape.n_moe_layers;
    }
    experts_s = shape.n_moe_layers * std::min(without_s, ahead_s);
  }
  const double step_s = std::max(dense_s + experts_s, p.disk_s);
  p.decode_tok_s = 1 / step_s;

  const double memory_s = (static_cast<double>(model.bytes_per_token) + kv_bytes) / machine.memory_peak();
  const double compute_s = 2 * static_cast<double>(model.n_active_parameters) / machine.arithmetic.int8;
  p.bound = p.disk_s >= p.arithmetic_s ? "ssd" : memory_s >= compute_s ? "memory" : "compute";
}

// How often a token chooses each expert of a layer, the most used first; about k together.
std::vector<double> expert_chances(const Routing& routing, int64_t n_experts, int64_t k) {
  const auto n = static_cast<double>(n_experts), wanted = static_cast<double>(k);
  std::vector<double> chances;
  if (routing.kind == Routing::Kind::kTypical) {
    const auto first = [&](int64_t i) { return std::pow(static_cast<double>(i) / n, kTypicalExponent); };
    for (int64_t i = 0; i < n_experts; ++i) {
      chances.push_back(std::min(1.0, wanted * (first(i + 1) - first(i))));
    }
    return chances;
  }
  // Logits of -exponent * ln(rank) and a normal deviate as wide as the Gumbel one that would draw by 1 /
  // rank^exponent: an expert is chosen if its logit is above a bar that lets k through.
  constexpr double kGumbelDeviation = 1.28255;
  double low = -100, high = 100;  // too many pass, too few
  for (int step = 0; step < 60; ++step) {
    const double bar = (low + high) / 2;
    chances.clear();
    for (int64_t i = 0; i < n_experts; ++i) {
      const double logit = -routing.exponent * std::log(static_cast<double>(i + 1));
      chances.push_back(std::erfc((bar - logit) / (kGumbelDeviation * std::sqrt(2.0))) / 2);
    }
    (std::accumulate(chances.begin(), chances.end(), 0.0) > wanted ? low : high) = bar;
  }
  return chances;
}

// That one of `tokens` tokens chooses an expert.
double touch_chance(double chance, double tokens) { return 1 - std::pow(1 - chance, tokens); }

double touched_experts(const std::vector<double>& chances, double tokens) {
  double sum = 0;
  for (const double chance : chances) sum += touch_chance(chance, tokens);
  return sum;
}

// How probably a cache of the share `share` of a layer's experts holds each, which are in the order of their
// use. Between what is used most and what was used last: a policy knows the frequent ones apart, but has seen
// the rare ones too seldom, and they decide the larger the cache is.
std::vector<double> resident_chances(const std::vector<double>& chances, double share) {
  const double n = share * static_cast<double>(chances.size());
  double low = 0, high = 1e6;  // tokens since which what was used is held: too few, too many
  for (int step = 0; step < 60; ++step) {
    const double tokens = (low + high) / 2;
    (touched_experts(chances, tokens) < n ? low : high) = tokens;
  }
  std::vector<double> resident;
  for (size_t i = 0; i < chances.size(); ++i) {
    const double by_use = std::clamp(n - static_cast<double>(i), 0.0, 1.0);
    resident.push_back((1 - share) * by_use + share * (share < 1 ? touch_chance(chances[i], low) : 1));
  }
  return resident;
}

// `is_first`: the cache is still empty, if it is filled by use.
double prefill_seconds(const ModelInfo& model, const MemoryOutlook& outlook, const HardwareProfile& machine,
                       const PlanWorkload& workload, bool is_first) {
  const Shape shape = shape_of(model);
  const Cache cache = cache_of(model, outlook);
  const std::vector<double> chances =
      expert_chances(workload.routing, model.n_experts, model.n_experts_per_token);
  const std::vector<double> later_resident = resident_chances(chances, cache.share(model));
  const std::vector<double> first_resident = resident_chances(chances, cache.whole ? 1 : 0);
  const auto n_tokens = static_cast<double>(workload.prompt_tokens);
  const double head_bytes = head_bytes_of(shape);
  const double streamed = static_cast<double>(outlook.streamed_bytes);
  const double head_streamed = streamed * head_bytes / shape.dense_bytes;
  // The last pass ends with the head, which multiplies one row: nothing hides its reads.
  double seconds =
      std::max(product_seconds(model, machine, head_bytes, 1), head_streamed / machine.disk_sequential(true));
  for (double done = 0; done < n_tokens;) {
    const double chunk = std::min(static_cast<double>(outlook.prefill_chunk), n_tokens - done);
    const double dense_s = product_seconds(model, machine, shape.dense_bytes - head_bytes, chunk) +
                           4 * static_cast<double>(model.n_heads * model.head_dim * model.n_layers) *
                               keys_seen(model, done, chunk) / machine.attention.operations_per_second +
                           overhead_seconds(model, chunk);
    const double streamed_s = (streamed - head_streamed) / machine.disk_sequential(true);
    double experts_s = 0, missed_s = 0;
    if (shape.n_experts > 0) {
      const double touched = touched_experts(chances, chunk);  // of a layer
      const double rows = chunk * shape.experts_per_token / touched;
      experts_s = shape.n_moe_layers * product_seconds(model, machine, touched * shape.expert_bytes, rows) /
                  (rows < kFewRows ? kFewRowsEfficiency : 1);
      const std::vector<double>& resident = is_first && done == 0 ? first_resident : later_resident;
      double missed = 0;  // of a layer
      for (size_t i = 0; i < chances.size(); ++i)
        missed += touch_chance(chances[i], chunk) * (1 - resident[i]);
      if (missed > 0) {
        missed_s = missed * shape.n_moe_layers * shape.expert_bytes / kSweepEfficiency /
                   expert_read_speed(shape, machine, touched, DiskPattern::kRandom);
      }
    }
    // Experts are read ahead, yet this comes nearer to what was measured than reads beside everything.
    seconds += std::max(dense_s + std::max(experts_s, missed_s), streamed_s + missed_s);
    done += chunk;
  }
  return seconds;
}

}  // namespace

std::optional<Routing> parse_routing(std::string_view text) {
  if (text == "typical") return Routing{};
  if (text == "uniform") return Routing{Routing::Kind::kZipf, 0};
  constexpr std::string_view kPrefix = "zipf:";
  if (!text.starts_with(kPrefix)) return std::nullopt;
  Routing routing{Routing::Kind::kZipf, 0};
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + kPrefix.size(), end, routing.exponent);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  if (!(routing.exponent >= 0 && routing.exponent <= Routing::kMostExponent)) return std::nullopt;
  return routing;
}

double expected_hit_rate(const Routing& routing, int64_t n_experts, int64_t k, double resident) {
  const double share = std::clamp(resident, 0.0, 1.0);
  if (routing.kind == Routing::Kind::kTypical) return std::pow(share, kTypicalExponent);
  const std::vector<double> chances = expert_chances(routing, n_experts, k);
  const std::vector<double> held = resident_chances(chances, share);
  const double hits = std::inner_product(chances.begin(), chances.end(), held.begin(), 0.0);
  return std::min(1.0, hits / std::accumulate(chances.begin(), chances.end(), 0.0));
}

Prediction predict(const ModelInfo& model, const MemoryOutlook& outlook, const HardwareProfile& machine,
                   const PlanWorkload& workload) {
  SLUICE_CHECK(outlook.fits && outlook.prefill_chunk > 0);
  Prediction p;
  decode(model, outlook, machine, workload, p);
  p.prefill_tok_s = static_cast<double>(workload.prompt_tokens) /
                    prefill_seconds(model, outlook, machine, workload, /*is_first=*/false);

  // Slots are filled by use, unless all experts fit.
  const Cache cache = cache_of(model, outlook);
  const uint64_t loaded = outlook.pinned_bytes + (cache.whole ? outlook.cache_bytes : 0);
  const bool whole = outlook.streamed_bytes == 0 && cache.whole;
  p.load_s = static_cast<double>(loaded) / kLoadEfficiency / machine.disk_sequential(/*direct=*/!whole);
  p.first_token_s = p.load_s + prefill_seconds(model, outlook, machine, workload, /*is_first=*/true);
  return p;
}

uint64_t find_knee(uint64_t low, uint64_t high, const std::function<double(uint64_t)>& speed) {
  constexpr int kStepsPerTenth = 4;  // steps that make up 10 % of memory
  constexpr double kWorth = 1.05;
  const double step = std::pow(1.1, 1.0 / kStepsPerTenth);
  std::vector<uint64_t> budgets;
  std::vector<double> speeds;
  for (double budget = static_cast<double>(low);; budget *= step) {
    budgets.push_back(std::min(static_cast<uint64_t>(budget), high));
    speeds.push_back(speed(budgets.back()));
    if (budgets.back() >= high) break;
  }
  size_t knee = budgets.size() - 1;
  while (knee > 0) {
    const size_t more = std::min(knee - 1 + kStepsPerTenth, budgets.size() - 1);
    if (speeds[more] >= kWorth * speeds[knee - 1]) break;
    --knee;
  }
  return budgets[knee];
}

}  // namespace sluice
