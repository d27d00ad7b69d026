// Least critical priority, as in mlx-moe (github.com/mu-hashmi/mlx-moe): the lowest
//
//   uses · kBase^(age / kDecay) · (1 + kDepthBias · (1 − group / n_groups))
//
// goes, where `uses` counts since the unit was first seen and `age` is in passes since its last use. The last
// factor is after MoE-Infinity (arXiv 2401.14361), which holds early layers dearer: there is less time before
// them in which a read could hide. Scores are compared as logarithms.
#include <cmath>

#include "store/policy/policies.h"

namespace sluice {
namespace {

constexpr double kBase = 0.25;
constexpr double kDecay = 128;
constexpr double kDepthBias = 0.25;

class LcpPolicy final : public CachePolicy {
 public:
  std::string name() const override { return "lcp"; }

  void reset(const CacheGeometry& geometry) override {
    clock_.reset(geometry.n_groups);
    uses_.assign(geometry.n_units(), 0);
    score_.assign(geometry.n_units(), 0);
    bias_.assign(geometry.n_units(), 0);
    for (size_t unit = 0; unit < bias_.size(); ++unit) {
      if (geometry.group[unit] == CacheGeometry::kNoGroup) continue;
      const double depth = static_cast<double>(geometry.group[unit]) / static_cast<double>(geometry.n_groups);
      bias_[unit] = std::log(1 + kDepthBias * (1 - depth));
    }
    unit_.assign(geometry.n_slots, 0);
  }

  void begin(uint32_t group) override { clock_.begin(group); }
  void on_insert(size_t slot, UnitId unit) override {
    unit_[slot] = unit;
    on_hit(slot, unit);
  }
  void on_prefetch(size_t slot, UnitId unit) override {
    unit_[slot] = unit;
    if (uses_[unit] == 0) set_score(unit, 1);  // as if it was used: it will be, or so somebody says
  }
  void on_hit(size_t, UnitId unit) override { set_score(unit, ++uses_[unit]); }

  size_t victim(const std::function<bool(size_t slot)>& evictable) override {
    return lowest_slot(
        unit_.size(), [this](size_t slot) { return score_[unit_[slot]]; }, evictable);
  }

 private:
  // All ages grow alike, so the time of the last use takes the place of the age.
  void set_score(UnitId unit, uint32_t uses) {
    score_[unit] =
        std::log(static_cast<double>(uses)) - std::log(kBase) * clock_.pass() / kDecay + bias_[unit];
  }

  PassClock clock_;
  std::vector<uint32_t> uses_;  // [n_units]
  std::vector<double> score_;   // [n_units]
  std::vector<double> bias_;    // [n_units]
  std::vector<UnitId> unit_;    // [n_slots]
};

}  // namespace

std::unique_ptr<CachePolicy> make_lcp_policy() { return std::make_unique<LcpPolicy>(); }

}  // namespace sluice
