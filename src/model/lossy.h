// Ways to give up exactness for speed where experts are on disk. All are off unless asked for; what they cost
// in perplexity is measured with `sluice perplexity`, never assumed.
#pragma once

#include <string>
#include <vector>

namespace sluice {

struct LossyRouting {
  // An expert whose router weight is below this share of its token's first is left out, and the weights of
  // the rest grow to the same sum. 0: none. (Adaptive top-k.)
  float top_k_threshold = 0;
  // Experts in memory look better to the choice by this share of the range of the token's router logits; the
  // first choice and the weights stay as they are. 0: off. (Cache-conditional routing, arXiv 2412.00099.)
  float cache_bias = 0;
  // Experts that are not in memory are left out, but for the token's first, and read for later tokens.
  bool skip_missing = false;
  // Experts that are not in memory and whose router weight is below this share of their token's first are
  // computed from their stand-ins (stand_in.h). 0: none. (Mixed precision on misses, arXiv 2411.01433.)
  float stand_in_threshold = 0;
  // The same for those in memory: what stand-ins would cost if every light expert were missing.
  bool stand_in_always = false;

  bool is_exact() const noexcept {
    return top_k_threshold == 0 && cache_bias == 0 && !skip_missing && stand_in_threshold == 0;
  }
  std::string describe() const;  // "top-k threshold 0.2, skip"; empty if exact
};

// "topk:0.2", "bias:0.3", "skip", "stand-in:0.4" ("stand-in": 1), "stand-in-all:0.4"; several add up, but for
// skip and stand-ins. Error(kInvalid) for others.
LossyRouting parse_lossy(const std::vector<std::string>& modes);

}  // namespace sluice
