// How fast a model will run at a budget, from its shape, from how the engine would divide the budget
// (Engine::outlook, not modelled here) and from what this machine was measured to do.
//
// A step takes max(arithmetic, reads), with the losses and overheads of this engine:
//   arithmetic  bytes of weights / the kernel's measured speed for that encoding and number of rows,
//               attention over the KV cache, and fixed costs per layer and per logit
//   reads       dense weights that are not pinned, in order, beside all of the arithmetic; experts that
//               miss, beside the layer's other experts, since the router must have spoken first, but for
//               one of each layer that is read ahead
// The constants and how they were found: docs/performance.md.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "plan/hardware.h"
#include "sluice/engine.h"

namespace sluice {

// How experts are chosen, each token and layer for itself.
struct Routing {
  enum class Kind : uint8_t {
    kTypical,  // as trained models do on text of one kind
    kZipf,     // the expert of rank r about as often as r^-exponent, k different ones a token, as in forged
               // models; 0: all alike
  };
  Kind kind = Kind::kTypical;
  double exponent = 0;  // kZipf: in [0, kMostExponent]

  static constexpr double kMostExponent = 8;
};
// "typical", "uniform" (zipf:0) or "zipf:A"; nullopt for anything else.
std::optional<Routing> parse_routing(std::string_view text);

// Hits per expert asked for, of a cache that holds the share `resident` of all experts and gives up the one
// that is expected last: with kZipf it comes to hold the most frequent ones, as far as it can tell them
// apart. `k` of `n_experts` a token.
double expected_hit_rate(const Routing& routing, int64_t n_experts, int64_t k, double resident);

struct PlanWorkload {
  int64_t prompt_tokens = 256;  // decoding begins after them
  Routing routing;
};

struct Prediction {
  double load_s = 0;         // nothing of the files in the page cache
  double first_token_s = 0;  // from the start: loading, and reading the prompt
  double prefill_tok_s = 0;  // of a prompt that finds the cache of experts full
  double decode_tok_s = 0;
  std::string bound;  // of decoding: "ssd", "memory" or "compute"

  // Of one decoded token.
  double disk_bytes = 0;
  double disk_s = 0;        // reads, by themselves
  double arithmetic_s = 0;  // kernels and overheads, by themselves
  double hit_rate = 1;      // of experts
};

// Precondition: outlook.fits.
Prediction predict(const ModelInfo& model, const MemoryOutlook& outlook, const HardwareProfile& machine,
                   const PlanWorkload& workload);

// The least budget in [low, high] from which on another 10 % of memory buys less than 5 % of speed. `speed`
// need not rise evenly; above `high` it is taken as constant.
uint64_t find_knee(uint64_t low, uint64_t high, const std::function<double(uint64_t)>& speed);

}  // namespace sluice
