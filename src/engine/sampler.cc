#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace sluice {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

uint64_t mix(uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

// Finite or kForbidden: later stages subtract logits from each other.
float tame(float logit) noexcept {
  if (std::isnan(logit)) return kForbidden;
  return std::min(logit, FLT_MAX);
}

// Not counting NaN. Eight running maxima, for a single one waits for itself at every logit.
float greatest(std::span<const float> logits) noexcept {
  std::array<float, 8> best;
  best.fill(kForbidden);
  size_t i = 0;
  for (; i + best.size() <= logits.size(); i += best.size()) {
    for (size_t j = 0; j < best.size(); ++j) best[j] = logits[i + j] > best[j] ? logits[i + j] : best[j];
  }
  for (; i < logits.size(); ++i) best[0] = std::max(best[0], logits[i]);
  return *std::max_element(best.begin(), best.end());
}

void check_range(float value, const char* name, float low, bool low_allowed, float high) {
  const bool above = low_allowed ? value >= low : value > low;
  if (!std::isfinite(value) || !above || value > high)
    throw_error(ErrorKind::kInvalid, "%s must be %s %g and at most %g, not %g", name,
                low_allowed ? "at least" : "above", static_cast<double>(low), static_cast<double>(high),
                static_cast<double>(value));
}

}  // namespace

void check_sampler_options(const SamplerOptions& options, int64_t vocab) {
  check_range(options.temperature, "temperature", 0, true, 100);
  check_range(options.top_p, "top-p", 0, false, 1);
  check_range(options.min_p, "min-p", 0, true, 1);
  check_range(options.typical_p, "typical-p", 0, false, 1);
  check_range(options.repetition_penalty, "repetition penalty", 0, false, 100);
  check_range(options.presence_penalty, "presence penalty", -100, true, 100);
  check_range(options.frequency_penalty, "frequency penalty", -100, true, 100);
  if (options.top_k < 0)
    throw_error(ErrorKind::kInvalid, "top-k must be 0 (off) or more, not %d", options.top_k);
  if (options.penalty_window < -1)
    throw_error(ErrorKind::kInvalid, "the penalty window must be -1 (all) or more, not %d",
                options.penalty_window);
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= vocab)
      throw_error(ErrorKind::kInvalid, "logit bias for token %d, but the vocabulary has %lld tokens", id,
                  static_cast<long long>(vocab));
    if (std::isnan(bias)) throw_error(ErrorKind::kInvalid, "logit bias for token %d is not a number", id);
  }
}

double counter_random(uint64_t seed, uint64_t counter) noexcept {
  const uint64_t stream = mix(seed + 0x9e3779b97f4a7c15U);
  const uint64_t bits = mix(stream + (counter + 1) * 0x9e3779b97f4a7c15U);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

bool Sampler::penalises() const {
  return options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
         options_.frequency_penalty != 0;
}

// Copies the logits with bias and penalties applied.
void Sampler::adjust(std::span<const float> logits, std::span<const int32_t> history) {
  logits_.resize(logits.size());
  std::transform(logits.begin(), logits.end(), logits_.begin(), tame);
  for (const auto& [id, bias] : options_.logit_bias) {
    float& logit = logits_[static_cast<size_t>(id)];
    logit = tame(logit + bias);
  }
  if (!penalises()) return;

  const size_t window =
      options_.penalty_window < 0 ? history.size() : static_cast<size_t>(options_.penalty_window);
  if (history.size() > window) history = history.last(window);
  recent_.assign(history.begin(), history.end());
  std::sort(recent_.begin(), recent_.end());
  for (size_t i = 0; i < recent_.size();) {
    size_t end = i;
    while (end < recent_.size() && recent_[end] == recent_[i]) ++end;
    const auto id = static_cast<size_t>(recent_[i]);
    if (id < logits_.size()) {
      float& logit = logits_[id];
      logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
      logit =
          tame(logit - options_.presence_penalty - options_.frequency_penalty * static_cast<float>(end - i));
    }
    i = end;
  }
}

// Fills candidates_ with the best top_k tokens, or with all, ascending by id.
void Sampler::collect() {
  candidates_.clear();
  const auto vocab = static_cast<int32_t>(logits_.size());
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= logits_.size()) {
    for (int32_t id = 0; id < vocab; ++id) {
      const float logit = logits_[static_cast<size_t>(id)];
      if (logit > kForbidden) candidates_.push_back({logit, id});
    }
    return;
  }
  // One scan with a rising floor: whenever twice k have come together, the worse half goes. A later token of
  // equal logit has a higher id, so that "not above the floor" is also right for ties.
  float floor = kForbidden;
  const auto cut = [&] {
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(k - 1),
                     candidates_.end(), better);
    candidates_.resize(k);
    floor = candidates_.back().logit;
  };
  for (int32_t id = 0; id < vocab; ++id) {
    const float logit = logits_[static_cast<size_t>(id)];
    if (!(logit > floor)) continue;
    candidates_.push_back({logit, id});
    if (candidates_.size() == 2 * k) cut();
  }
  if (candidates_.size() > k) cut();
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

double Sampler::total_weight() const {
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(static_cast<double>(c.logit) - best_logit_);
  return total;
}

// Keeps the shortest prefix in the order `less` whose weights reach `mass`. The order is made piece by piece,
// because the prefix is mostly a small part of the vocabulary.
template <typename Less, typename Weight>
void Sampler::keep_mass(Less less, Weight weight, double mass) {
  const size_t n = candidates_.size();
  double sum = 0;
  size_t kept = 0;
  size_t piece = 64;
  for (size_t sorted = 0; sorted < n && sum < mass; piece *= 4) {
    const auto begin = candidates_.begin() + static_cast<ptrdiff_t>(sorted);
    const size_t end = std::min(n, sorted + piece);
    const auto middle = candidates_.begin() + static_cast<ptrdiff_t>(end);
    if (end < n) std::nth_element(begin, middle, candidates_.end(), less);
    std::sort(begin, middle, less);
    for (; sorted < end && sum < mass; ++sorted) sum += weight(candidates_[kept++]);
    sorted = end;
  }
  candidates_.resize(std::max<size_t>(kept, 1));
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

void Sampler::keep_typical() {
  const double log_total = std::log(total_weight());
  const auto log_p = [&](const Candidate& c) {
    return static_cast<double>(c.logit) - best_logit_ - log_total;
  };
  double entropy = 0;
  for (const Candidate& c : candidates_) entropy -= std::exp(log_p(c)) * log_p(c);
  const auto surprise = [&](const Candidate& c) { return std::abs(-log_p(c) - entropy); };
  keep_mass(
      [&](const Candidate& a, const Candidate& b) {
        const double x = surprise(a);
        const double y = surprise(b);
        return x != y ? x < y : better(a, b);
      },
      [&](const Candidate& c) { return std::exp(log_p(c)); }, static_cast<double>(options_.typical_p));
}

void Sampler::keep_top_p() {
  const double mass = total_weight() * static_cast<double>(options_.top_p);
  keep_mass(
      better, [&](const Candidate& c) { return std::exp(static_cast<double>(c.logit) - best_logit_); }, mass);
}

void Sampler::keep_min_p() {
  float best = kForbidden;  // typical sampling may have dropped the vocabulary's best
  for (const Candidate& c : candidates_) best = std::max(best, c.logit);
  const double floor = static_cast<double>(best) + std::log(static_cast<double>(options_.min_p));
  std::erase_if(candidates_, [&](const Candidate& c) { return static_cast<double>(c.logit) < floor; });
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t counter) {
  const bool is_greedy = options_.temperature <= 0;
  if (!is_greedy || !options_.logit_bias.empty() || penalises()) {
    adjust(logits, history);
    logits = logits_;
  }
  const float best = greatest(logits);
  if (best == kForbidden)
    throw_error(ErrorKind::kInvalid,
                "no token can be sampled: every logit is -inf or not a number (check --logit-bias, then the "
                "model's files)");
  if (is_greedy) {  // the first of equals
    return static_cast<int32_t>(std::find(logits.begin(), logits.end(), best) - logits.begin());
  }
  best_logit_ = best;

  collect();
  if (options_.typical_p < 1) keep_typical();
  if (options_.top_p < 1) keep_top_p();
  if (options_.min_p > 0) keep_min_p();

  const double inverse = 1.0 / static_cast<double>(options_.temperature);
  const auto weight = [&](const Candidate& c) {
    return std::exp((static_cast<double>(c.logit) - best_logit_) * inverse);
  };
  double total = 0;
  for (const Candidate& c : candidates_) total += weight(c);
  // Without the vocabulary's best (typical) everything may underflow at a low temperature.
  if (!(total > 0)) return std::min_element(candidates_.begin(), candidates_.end(), better)->id;
  double target = counter_random(options_.seed, counter) * total;
  int32_t chosen = candidates_.front().id;
  for (const Candidate& c : candidates_) {
    const double w = weight(c);
    if (w <= 0) continue;
    chosen = c.id;
    target -= w;
    if (target < 0) break;
  }
  return chosen;
}

}  // namespace sluice
