// From logits to the next token. A sampler has no state that matters: the token is a function of the logits,
// the options, the history and a counter. Scratch is kept so that sampling allocates nothing in steady state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sluice/options.h"

namespace sluice {

// Error(kInvalid) that names the option and its range. `vocab` bounds the ids of logit_bias.
void check_sampler_options(const SamplerOptions& options, int64_t vocab);

// A number in [0, 1) with 53 random bits, from (seed, counter) alone: two rounds of the SplitMix64 finaliser.
double counter_random(uint64_t seed, uint64_t counter) noexcept;

// Not thread-safe.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options) {}

  // `logits` [vocab]; NaN counts as -inf. `history` is the timeline so far, for the penalties. Equal logits
  // are ordered by id, the lower one first. Throws Error(kInvalid) if no logit is above -inf.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t counter);

  const SamplerOptions& options() const noexcept { return options_; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };

  static bool better(const Candidate& a, const Candidate& b) noexcept {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  }

  bool penalises() const;
  void adjust(std::span<const float> logits, std::span<const int32_t> history);
  void collect();
  void keep_typical();
  void keep_top_p();
  void keep_min_p();
  double total_weight() const;
  template <typename Less, typename Weight>
  void keep_mass(Less less, Weight weight, double mass);

  SamplerOptions options_;
  std::vector<float> logits_;          // [vocab], after bias and penalties
  std::vector<Candidate> candidates_;  // what is left, ascending by id between the stages
  std::vector<int32_t> recent_;        // the penalty window, sorted
  float best_logit_ = 0;
};

}  // namespace sluice
