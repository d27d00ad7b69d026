// Divides the slots among the groups by what they miss, whatever policy chooses within that. Every group that
// has units begins with the same share. Every kPasses passes the group with the fewest misses gives some
// slots of its share to the one with the most. A share is not a wall: a victim is looked for first in groups
// that hold more than theirs, counting who is about to come in, and anywhere if none of those may be evicted.
#include <algorithm>
#include <utility>

#include "store/policy/policies.h"

namespace sluice {
namespace {

constexpr uint32_t kPasses = 16;
constexpr size_t kMovedShare = 16;    // of an even share one in so many slots moves, at least one
constexpr uint64_t kLeastExcess = 8;  // misses one in so many more than the other's, or nothing moves

class MeasuredSplit final : public CachePolicy {
 public:
  explicit MeasuredSplit(std::unique_ptr<CachePolicy> inner) : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name() + "+measured"; }

  void reset(const CacheGeometry& geometry) override {
    inner_->reset(geometry);
    clock_.reset(geometry.n_groups);
    group_of_.assign(geometry.group.begin(), geometry.group.end());
    groups_.assign(geometry.n_groups, {});
    slot_group_.assign(geometry.n_slots, CacheGeometry::kNoGroup);
    size_t n_units = 0;
    for (const uint32_t group : group_of_) {
      if (group == CacheGeometry::kNoGroup) continue;
      ++groups_[group].n_units;
      ++n_units;
    }
    divide_evenly(std::min(geometry.n_slots, n_units));
  }

  void seed(std::span<const float> rates) override { inner_->seed(rates); }

  void begin(uint32_t group) override {
    inner_->begin(group);
    const uint32_t before = clock_.pass();
    clock_.begin(group);
    if (clock_.pass() != before && before > 0 && before % kPasses == 0) measure();
  }

  void on_insert(size_t slot, UnitId unit) override {
    ++groups_[group_of_[unit]].n_misses;
    take(slot, unit);
    inner_->on_insert(slot, unit);
  }
  void on_prefetch(size_t slot, UnitId unit) override {
    take(slot, unit);
    inner_->on_prefetch(slot, unit);
  }
  void on_hit(size_t slot, UnitId unit) override { inner_->on_hit(slot, unit); }
  void on_emptied(size_t slot) override {
    if (slot_group_[slot] != CacheGeometry::kNoGroup) --groups_[slot_group_[slot]].n_held;
    slot_group_[slot] = CacheGeometry::kNoGroup;
    inner_->on_emptied(slot);
  }
  void expect(std::span<const Expectation> expected) override { inner_->expect(expected); }

  size_t victim(const std::function<bool(size_t slot)>& evictable) override {
    const auto is_over = [&](size_t slot) {
      const uint32_t group = slot_group_[slot];
      if (group == CacheGeometry::kNoGroup) return false;
      const Group& g = groups_[group];
      return g.n_held + (group == clock_.group() ? 1 : 0) > g.share && evictable(slot);
    };
    for (size_t slot = 0; slot < slot_group_.size(); ++slot) {
      if (is_over(slot)) return inner_->victim(is_over);
    }
    return inner_->victim(evictable);
  }

 private:
  struct Group {
    size_t n_units = 0;
    size_t n_held = 0;  // slots
    size_t share = 0;   // slots that it may hold
    uint64_t n_misses = 0;
  };

  void take(size_t slot, UnitId unit) {
    if (slot_group_[slot] != CacheGeometry::kNoGroup) --groups_[slot_group_[slot]].n_held;
    slot_group_[slot] = group_of_[unit];
    ++groups_[slot_group_[slot]].n_held;
  }

  // One slot to each in turn, none more than it has units, until all are given.
  void divide_evenly(size_t n_slots) {
    for (size_t left = n_slots; left > 0;) {
      for (Group& group : groups_) {
        if (left == 0 || group.share >= group.n_units) continue;
        ++group.share;
        --left;
      }
    }
  }

  void measure() {
    Group* giver = nullptr;
    Group* taker = nullptr;
    size_t n = 0;
    for (Group& group : groups_) {
      if (group.n_units == 0) continue;
      ++n;
      if (group.share > 1 && (giver == nullptr || group.n_misses < giver->n_misses)) giver = &group;
      if (group.share < group.n_units && (taker == nullptr || group.n_misses > taker->n_misses))
        taker = &group;
    }
    if (giver != nullptr && taker != nullptr &&
        taker->n_misses > giver->n_misses + giver->n_misses / kLeastExcess) {
      const size_t wanted = std::max<size_t>(slot_group_.size() / n / kMovedShare, 1);
      const size_t moved = std::min({wanted, giver->share - 1, taker->n_units - taker->share});
      giver->share -= moved;
      taker->share += moved;
    }
    for (Group& group : groups_) group.n_misses /= 2;
  }

  std::unique_ptr<CachePolicy> inner_;
  PassClock clock_;
  std::vector<uint32_t> group_of_;    // [n_units]
  std::vector<uint32_t> slot_group_;  // [n_slots] of its holder
  std::vector<Group> groups_;         // [n_groups]
};

}  // namespace

std::unique_ptr<CachePolicy> make_measured_split(std::unique_ptr<CachePolicy> inner) {
  return std::make_unique<MeasuredSplit>(std::move(inner));
}

}  // namespace sluice
