// Which cached unit gives up its slot: the interface of all policies, and their names. A policy knows slots,
// units and groups (a model's layers), nothing of bytes or time. The store and the simulator
// (store/cache_simulator.h) use the same objects in the same order, so that both count the same hits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sluice {

using UnitId = uint32_t;

// What a policy is given to work with. `group` is [n_units], for each unit a number that ascends through a
// pass (the model's layer), or kNoGroup for a unit that never comes into a slot; valid in reset() only.
struct CacheGeometry {
  static constexpr uint32_t kNoGroup = UINT32_MAX;

  CacheGeometry(size_t slots, std::span<const uint32_t> groups) : n_slots(slots), group(groups) {
    for (const uint32_t g : group) {
      if (g != kNoGroup && g >= n_groups) n_groups = g + 1;
    }
  }
  size_t n_units() const { return group.size(); }

  size_t n_slots;
  std::span<const uint32_t> group;
  uint32_t n_groups = 1;  // every group is below it
};

// That a unit will be asked for, by somebody who predicts.
struct Expectation {
  UnitId unit = 0;
  float probability = 0;      // 0 to 1
  uint32_t groups_ahead = 0;  // how many groups after the present one; 0: the present one
};

// Calls come in the canonical order of acquire, never of arrival, so that a simulation of the same accesses
// counts the same hits: for each acquire() first begin(), then the hits, then the units that are new, both in
// the order of its ranges. Not thread-safe: the store serialises.
class CachePolicy {
 public:
  virtual ~CachePolicy() = default;
  virtual std::string name() const = 0;

  // Forgets everything. All slots are empty.
  virtual void reset(const CacheGeometry& geometry) = 0;
  // What is known of former runs, after reset(): `rates`, [n_units], how often a token used each unit, 0
  // to 1. A policy that does not count uses leaves it.
  virtual void seed(std::span<const float> /*rates*/) {}
  // Units of this group will be asked for. A group that is not above the last one begins a pass.
  virtual void begin(uint32_t /*group*/) {}
  // A unit was asked for and gets the slot, whose holder, if there was one, has left.
  virtual void on_insert(size_t slot, UnitId unit) = 0;
  // The same for a unit that nobody has asked for yet.
  virtual void on_prefetch(size_t slot, UnitId unit) { on_insert(slot, unit); }
  // A unit was asked for that has the slot.
  virtual void on_hit(size_t slot, UnitId unit) = 0;
  // A slot for which `evictable(slot)` holds; there is at least one. All slots were given to somebody.
  virtual size_t victim(const std::function<bool(size_t slot)>& evictable) = 0;

  // The slot lost its unit without a victim() and may be out of use: it is not evictable until the next
  // on_insert() or on_prefetch(), if that ever comes.
  virtual void on_emptied(size_t /*slot*/) {}

  // What is expected until the next call. Advice; a policy that does not look ahead leaves it.
  virtual void expect(std::span<const Expectation> /*expected*/) {}
};

// The names of all policies, the default first.
std::span<const std::string_view> cache_policy_names();
// "shared": one pool. "measured": slots are divided among groups by what they miss.
std::span<const std::string_view> cache_split_names();

// Error(kInvalid) lists the names.
std::unique_ptr<CachePolicy> make_cache_policy(const std::string& name, const std::string& split = "shared");

}  // namespace sluice
