// CLOCK (second chance): a hand goes round; a slot that was used since it last came by is passed over once.
#include <vector>

#include "store/policy/policies.h"

namespace sluice {
namespace {

class ClockPolicy final : public CachePolicy {
 public:
  std::string name() const override { return "clock"; }

  void reset(const CacheGeometry& geometry) override {
    used_.assign(geometry.n_slots, 0);
    hand_ = 0;
  }

  void on_insert(size_t slot, UnitId) override { used_[slot] = 1; }
  void on_hit(size_t slot, UnitId) override { used_[slot] = 1; }

  size_t victim(const std::function<bool(size_t slot)>& evictable) override {
    // The first round may take every chance away; the second then finds one.
    for (size_t step = 0; step < 2 * used_.size() + 1; ++step) {
      const size_t slot = hand_;
      hand_ = (hand_ + 1) % used_.size();
      if (!evictable(slot)) continue;
      if (!used_[slot]) return slot;
      used_[slot] = 0;
    }
    SLUICE_CHECK(false, "no slot may be evicted");
    return 0;
  }

 private:
  std::vector<uint8_t> used_;  // [n_slots]
  size_t hand_ = 0;
};

}  // namespace

std::unique_ptr<CachePolicy> make_clock_policy() { return std::make_unique<ClockPolicy>(); }

}  // namespace sluice
