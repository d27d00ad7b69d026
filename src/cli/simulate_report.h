// What sluice simulate tells: curves of policies over budgets, as text, JSON and a drawing.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "store/trace.h"

namespace sluice {

struct SimulatedPoint {
  uint64_t hits = 0, misses = 0;
  double tokens_s = 0;  // predicted, of passes of one token; 0: nothing to predict it from

  double hit_rate() const {
    return hits + misses > 0 ? static_cast<double>(hits) / static_cast<double>(hits + misses) : 0;
  }
};

struct SimulatedBudget {
  std::string name;  // as it was asked for
  size_t n_slots = 0;
  double share = 0;  // of all experts
};

// One policy, or the best possible, at every budget.
struct SimulatedCurve {
  std::string policy, split;
  std::vector<SimulatedPoint> points;

  std::string name() const { return split == "measured" ? policy + "+measured" : policy; }
};

struct SimulationReport {
  TraceShape shape;
  size_t n_tokens = 0, n_passes = 0;
  std::string task;                            // whose profile the cache begins with; empty: none
  uint64_t task_tokens = 0;                    // that it was learned from
  double disk_bytes_s = 0, token_seconds = 0;  // what predictions rest on
  std::vector<SimulatedBudget> budgets;        // ascending
  SimulatedCurve best;                         // Belady's bound
  std::vector<SimulatedCurve> curves;

  const SimulatedCurve& leader() const;  // fewest misses over all budgets
  // Budget from which on another 10 % of all experts never gain 5 % of the leader's speed: the first of which
  // this holds for every step that follows. nullopt without predictions, with fewer than two budgets, or if
  // the last step still pays.
  std::optional<size_t> knee() const;
};

std::string simulation_text(const SimulationReport& report);
nlohmann::ordered_json simulation_json(const SimulationReport& report);
std::string simulation_svg(const SimulationReport& report);

}  // namespace sluice
