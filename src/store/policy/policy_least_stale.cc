// Least stale, after SpecMD (arXiv 2602.03921): a unit that was not used in this pass is stale. Stale ones go
// first, of them those whose group comes again latest; then, in the same order, those of this pass. Of equals
// the one that was used longest ago goes.
#include <tuple>

#include "store/policy/policies.h"

namespace sluice {
namespace {

class LeastStalePolicy final : public CachePolicy {
 public:
  std::string name() const override { return "least-stale"; }

  void reset(const CacheGeometry& geometry) override {
    clock_.reset(geometry.n_groups);
    group_.assign(geometry.group.begin(), geometry.group.end());
    slots_.assign(geometry.n_slots, {});
    time_ = 0;
  }

  void begin(uint32_t group) override { clock_.begin(group); }
  void on_insert(size_t slot, UnitId unit) override { slots_[slot] = {++time_, clock_.pass(), group_[unit]}; }
  void on_hit(size_t slot, UnitId unit) override { on_insert(slot, unit); }

  size_t victim(const std::function<bool(size_t slot)>& evictable) override {
    const auto staleness = [this](size_t index) {
      const Slot& slot = slots_[index];
      const bool is_fresh = slot.pass == clock_.pass();
      return std::tuple(is_fresh, clock_.n_groups() - clock_.distance(slot.group), slot.used);
    };
    return lowest_slot(slots_.size(), staleness, evictable);
  }

 private:
  struct Slot {
    uint64_t used = 0;  // when last
    uint32_t pass = 0;  // in which
    uint32_t group = 0;
  };

  PassClock clock_;
  std::vector<uint32_t> group_;  // [n_units]
  std::vector<Slot> slots_;
  uint64_t time_ = 0;
};

}  // namespace

std::unique_ptr<CachePolicy> make_least_stale_policy() { return std::make_unique<LeastStalePolicy>(); }

}  // namespace sluice
