// Least recently used: slots in a doubly linked list, the oldest first.
#include <vector>

#include "store/policy/policies.h"

namespace sluice {
namespace {

class LruPolicy final : public CachePolicy {
 public:
  std::string name() const override { return "lru"; }

  void reset(const CacheGeometry& geometry) override {
    const size_t n_slots = geometry.n_slots;
    links_.assign(n_slots + 1, {});  // the last is the anchor of the circle
    for (size_t slot = 0; slot <= n_slots; ++slot) links_[slot] = {slot, slot};
  }

  void on_insert(size_t slot, UnitId) override { make_newest(slot); }
  void on_hit(size_t slot, UnitId) override { make_newest(slot); }

  size_t victim(const std::function<bool(size_t slot)>& evictable) override {
    for (size_t slot = links_[anchor()].newer; slot != anchor(); slot = links_[slot].newer) {
      if (evictable(slot)) return slot;
    }
    SLUICE_CHECK(false, "no slot may be evicted");
    return 0;
  }

 private:
  struct Link {
    size_t older = 0, newer = 0;
  };

  size_t anchor() const { return links_.size() - 1; }

  void make_newest(size_t slot) {
    Link& link = links_[slot];
    links_[link.older].newer = link.newer;
    links_[link.newer].older = link.older;
    const size_t newest = links_[anchor()].older;
    link = {newest, anchor()};
    links_[newest].newer = slot;
    links_[anchor()].older = slot;
  }

  std::vector<Link> links_;
};

}  // namespace

std::unique_ptr<CachePolicy> make_lru_policy() { return std::make_unique<LruPolicy>(); }

}  // namespace sluice
