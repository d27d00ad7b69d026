// S3-FIFO ("FIFO queues are all you need for cache eviction", Yang, Zhang, Qiu, Yue, Rashmi, SOSP 2023): new
// units enter a small queue of kSmallShare of the slots; those that are used again before they reach its end
// move to the main queue, the others leave and are remembered for as long as the main queue is. Who comes
// back while remembered enters the main queue at once. The main queue gives another round to who was used.
#include <algorithm>
#include <array>

#include "store/policy/policies.h"

namespace sluice {
namespace {

constexpr size_t kSmallShare = 10;  // one in
constexpr uint8_t kMaxUses = 3;     // that are counted
constexpr uint8_t kUsesToStay = 2;  // after the first, to leave the small queue for the main one

class S3FifoPolicy final : public CachePolicy {
 public:
  std::string name() const override { return "s3fifo"; }

  void reset(const CacheGeometry& geometry) override {
    const size_t n = geometry.n_slots;
    n_small_ = std::max<size_t>(n / kSmallShare, 1);
    slots_.assign(n + 2, {});  // the last two are the anchors of the queues
    for (const size_t anchor : {n, n + 1}) slots_[anchor].older = slots_[anchor].newer = anchor;
    length_ = {};
    left_at_.assign(geometry.n_units(), 0);
    n_left_ = 0;
  }

  void on_insert(size_t slot, UnitId unit) override {
    Slot& s = slots_[slot];
    if (s.queue != kNone) {
      if (s.queue == kSmall) left_at_[s.unit] = ++n_left_;
      take_out(slot);
    }
    const size_t remembered = slots_.size() - 2 - n_small_;
    const bool is_back = left_at_[unit] != 0 && n_left_ - left_at_[unit] < remembered;
    left_at_[unit] = 0;
    s.unit = unit;
    s.uses = 0;
    put(slot, is_back ? kMain : kSmall);
  }

  void on_hit(size_t slot, UnitId) override {
    slots_[slot].uses = std::min<uint8_t>(static_cast<uint8_t>(slots_[slot].uses + 1), kMaxUses);
  }

  // Slots that may not be evicted are looked at like the others and stay where that brings them.
  size_t victim(const std::function<bool(size_t slot)>& evictable) override {
    if (length_[kSmall] >= n_small_ || length_[kMain] == 0) {
      const size_t slot = from_small(evictable);
      if (slot != kNobody) return slot;
    }
    // A slot is passed over at most kMaxUses times for its uses.
    for (size_t step = 0; step < (kMaxUses + 1) * length_[kMain]; ++step) {
      const size_t slot = oldest(kMain);
      Slot& s = slots_[slot];
      if (s.uses == 0 && evictable(slot)) return slot;
      if (s.uses > 0) --s.uses;
      take_out(slot);
      put(slot, kMain);
    }
    for (size_t slot = oldest(kSmall); slot != anchor(kSmall); slot = slots_[slot].newer) {
      if (evictable(slot)) return slot;
    }
    SLUICE_CHECK(false, "no slot may be evicted");
    return 0;
  }

 private:
  enum Queue : uint8_t { kSmall, kMain, kNone };
  static constexpr size_t kNobody = SIZE_MAX;

  struct Slot {
    size_t older = 0, newer = 0;
    UnitId unit = 0;
    uint8_t uses = 0;  // since it came, or since the main queue gave it another round
    Queue queue = kNone;
  };

  size_t anchor(Queue queue) const { return slots_.size() - 2 + queue; }
  size_t oldest(Queue queue) const { return slots_[anchor(queue)].newer; }

  // The first that leaves the small queue for good, or kNobody.
  size_t from_small(const std::function<bool(size_t slot)>& evictable) {
    size_t next = 0;
    for (size_t slot = oldest(kSmall); slot != anchor(kSmall); slot = next) {
      next = slots_[slot].newer;
      if (slots_[slot].uses >= kUsesToStay) {
        slots_[slot].uses = 0;
        take_out(slot);
        put(slot, kMain);
      } else if (evictable(slot)) {
        return slot;
      }
    }
    return kNobody;
  }

  void take_out(size_t slot) {
    Slot& s = slots_[slot];
    slots_[s.older].newer = s.newer;
    slots_[s.newer].older = s.older;
    --length_[s.queue];
    s.queue = kNone;
  }

  void put(size_t slot, Queue queue) {
    const size_t end = anchor(queue);
    const size_t newest = slots_[end].older;
    slots_[slot].older = newest;
    slots_[slot].newer = end;
    slots_[slot].queue = queue;
    slots_[newest].newer = slot;
    slots_[end].older = slot;
    ++length_[queue];
  }

  std::vector<Slot> slots_;  // [n_slots + 2]
  std::array<size_t, 2> length_ = {};
  size_t n_small_ = 1;
  std::vector<uint64_t> left_at_;  // [n_units] number among those that left the small queue; 0: never did
  uint64_t n_left_ = 0;
};

}  // namespace

std::unique_ptr<CachePolicy> make_s3fifo_policy() { return std::make_unique<S3FifoPolicy>(); }

}  // namespace sluice
