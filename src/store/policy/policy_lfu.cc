// Least frequently used, with aging: a use counts 1 and loses half of it every kHalfLife passes, also while
// the unit is not in a slot. Rather than let every count decay, new uses weigh more:
//
//   count = sum over uses of 2^(pass of the use / kHalfLife)
//
// which orders units alike and touches only the one that is used ("Forward Decay", Cormode, Shkapenyuk,
// Srivastava, Xu, ICDE 2009). Of equals the one that was used longest ago goes.
#include <cmath>
#include <utility>

#include "store/policy/policies.h"

namespace sluice {
namespace {

constexpr double kHalfLife = 64;  // passes; 32 to 128 differ by about a point on the demo model's routes
constexpr uint32_t kRescale = 512 * static_cast<uint32_t>(kHalfLife);  // passes; 2^512 is a double yet

class LfuPolicy final : public CachePolicy {
 public:
  std::string name() const override { return "lfu"; }

  void reset(const CacheGeometry& geometry) override {
    clock_.reset(geometry.n_groups);
    count_.assign(geometry.n_units(), 0);
    used_.assign(geometry.n_units(), 0);
    unit_.assign(geometry.n_slots, 0);
    base_ = 0;
    time_ = 0;
    set_weight();
  }

  // As if there had been passes at these rates for ever.
  void seed(std::span<const float> rates) override {
    const double all = 1 / (1 - std::exp2(-1 / kHalfLife));  // the count of a unit that every pass uses
    for (size_t unit = 0; unit < count_.size(); ++unit) count_[unit] = all * static_cast<double>(rates[unit]);
  }

  void begin(uint32_t group) override {
    const uint32_t before = clock_.pass();
    clock_.begin(group);
    if (clock_.pass() == before) return;
    if (clock_.pass() - base_ > kRescale) {
      const double scale = std::exp2(-static_cast<double>(clock_.pass() - base_) / kHalfLife);
      for (double& count : count_) count *= scale;
      base_ = clock_.pass();
    }
    set_weight();
  }

  void on_insert(size_t slot, UnitId unit) override {
    on_prefetch(slot, unit);
    on_hit(slot, unit);
  }
  void on_prefetch(size_t slot, UnitId unit) override { unit_[slot] = unit; }
  void on_hit(size_t, UnitId unit) override {
    count_[unit] += weight_;
    used_[unit] = ++time_;
  }

  size_t victim(const std::function<bool(size_t slot)>& evictable) override {
    return lowest_slot(
        unit_.size(), [this](size_t slot) { return std::pair(count_[unit_[slot]], used_[unit_[slot]]); },
        evictable);
  }

 private:
  void set_weight() { weight_ = std::exp2(static_cast<double>(clock_.pass() - base_) / kHalfLife); }

  PassClock clock_;
  std::vector<double> count_;   // [n_units]
  std::vector<uint64_t> used_;  // [n_units] when last
  std::vector<UnitId> unit_;    // [n_slots]
  double weight_ = 1;           // of a use in this pass
  uint32_t base_ = 0;           // the pass in which a use weighs 1
  uint64_t time_ = 0;
};

}  // namespace

std::unique_ptr<CachePolicy> make_lfu_policy() { return std::make_unique<LfuPolicy>(); }

}  // namespace sluice
