#include "store/cache_simulator.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "store/task_profile.h"

namespace sluice {
namespace {

// For each access, whether the best possible eviction hits it.
std::vector<uint8_t> best_hits(std::span<const uint64_t> accesses, size_t n_slots) {
  const size_t n = accesses.size();
  std::vector<size_t> next(n);
  std::unordered_map<uint64_t, size_t> seen;
  for (size_t i = n; i-- > 0;) {
    const auto [found, is_last] = seen.try_emplace(accesses[i], i);
    next[i] = is_last ? n + i : found->second;  // all different, so that they name what is held
    found->second = i;
  }
  std::vector<uint8_t> hits(n, 0);
  std::unordered_map<uint64_t, size_t> held;      // its next use
  std::set<std::pair<size_t, uint64_t>> by_next;  // the same, ordered
  for (size_t i = 0; i < n && n_slots > 0; ++i) {
    const auto found = held.find(accesses[i]);
    if (found != held.end()) {
      hits[i] = 1;
      by_next.erase({found->second, accesses[i]});
    } else if (held.size() == n_slots) {
      const auto last = std::prev(by_next.end());
      if (last->first < next[i]) continue;  // needed later than all that is held: read and dropped
      held.erase(last->second);
      by_next.erase(last);
    }
    held[accesses[i]] = next[i];
    by_next.insert({next[i], accesses[i]});
  }
  return hits;
}

// Calls visit(pass, group, units) in the order of the engine's leases; units ascend.
template <typename Visit>
void for_each_lease(const RoutingTrace& trace, const Visit& visit) {
  std::vector<UnitId> units;
  for (size_t pass = 0; pass < trace.passes.size(); ++pass) {
    for (size_t group = 0; group < trace.shape.groups.size(); ++group) {
      const std::span<const uint16_t> chosen = trace.chosen(pass, group);
      units.assign(chosen.begin(), chosen.end());
      std::sort(units.begin(), units.end());
      units.erase(std::unique(units.begin(), units.end()), units.end());
      for (UnitId& unit : units) unit += static_cast<UnitId>(group) * trace.shape.n_units;
      visit(pass, group, units);
    }
  }
}

}  // namespace

CacheSimulator::CacheSimulator(std::vector<uint32_t> groups, size_t n_slots,
                               std::unique_ptr<CachePolicy> policy, uint32_t n_parts)
    : groups_(std::move(groups)),
      policy_(std::move(policy)),
      n_parts_(n_parts),
      slots_(n_slots),
      where_(groups_.size(), kNowhere) {
  SLUICE_CHECK(n_parts > 0 && n_slots >= n_parts);
  policy_->reset(CacheGeometry(n_slots, groups_));
}

void CacheSimulator::warm(std::span<const float> rates) {
  SLUICE_CHECK(n_taken_ == 0 && rates.size() == where_.size());
  policy_->seed(rates);
  const std::vector<UnitId> units = hottest_units(rates, slots_.size());
  for (size_t i = units.size(); i-- > 0;) policy_->on_prefetch(move_in(units[i]), units[i]);
}

uint64_t CacheSimulator::acquire(std::span<const UnitId> units) {
  if (units.empty()) return 0;
  const uint64_t misses_before = misses_;
  const bool some_are_missing =
      std::any_of(units.begin(), units.end(), [this](UnitId unit) { return where_[unit] == kNowhere; });
  max_kept_ = slots_.size() - (some_are_missing ? n_parts_ : 0);
  policy_->begin(groups_[units[0]]);
  for (const UnitId unit : units) {
    if (where_[unit] != kNowhere) keep(unit);
  }
  for (const UnitId unit : units) lease(unit);
  for (Slot& slot : slots_) slot.is_leased = false;
  n_busy_ = 0;
  SLUICE_CHECK(n_kept_ == 0);
  return misses_ - misses_before;
}

void CacheSimulator::keep(UnitId unit) {
  Slot& slot = slots_[where_[unit]];
  if (n_kept_ == max_kept_) return;
  slot.is_kept = true;
  ++n_kept_;
  ++n_busy_;
  policy_->on_hit(where_[unit], unit);
}

void CacheSimulator::lease(UnitId unit) {
  const bool is_new = where_[unit] == kNowhere;
  const size_t index = is_new ? move_in(unit) : where_[unit];
  Slot& slot = slots_[index];
  if (is_new) policy_->on_insert(index, unit);
  if (slot.is_kept) {
    slot.is_kept = false;
    --n_kept_;
  } else {
    if (!is_new) policy_->on_hit(index, unit);
    ++n_busy_;
  }
  slot.is_leased = true;
  ++(is_new ? misses_ : hits_);
}

size_t CacheSimulator::move_in(UnitId unit) {
  const size_t index = choose_slot(unit);
  Slot& slot = slots_[index];
  if (slot.unit != kEmpty) {
    ++evictions_;
    where_[slot.unit] = kNowhere;
    if (slot.is_leased) --n_busy_;
  }
  slot = {.unit = unit};
  where_[unit] = index;
  return index;
}

size_t CacheSimulator::choose_slot(UnitId unit) {
  if (n_taken_ < slots_.size()) return n_taken_++;
  const auto is_idle = [this](size_t slot) { return !slots_[slot].is_kept && !slots_[slot].is_leased; };
  if (n_busy_ < slots_.size()) return policy_->victim(is_idle);
  // More than fits at once: the newcomer waits for one of this lease, but for a part of its own. As many
  // slots as there are parts are never kept.
  return policy_->victim([this, unit](size_t slot) {
    return !slots_[slot].is_kept && slots_[slot].unit / n_parts_ != unit / n_parts_;
  });
}

CacheCounts simulate_cache(const RoutingTrace& trace, size_t n_slots, std::unique_ptr<CachePolicy> policy,
                           std::span<const float> rates, uint32_t n_parts) {
  std::vector<uint32_t> groups;
  for (const uint32_t group : trace.shape.groups)
    groups.insert(groups.end(), trace.shape.n_units * n_parts, group);
  CacheSimulator simulator(std::move(groups), n_slots, std::move(policy), n_parts);
  if (!rates.empty()) {
    std::vector<float> of_parts;
    for (const float rate : rates) of_parts.insert(of_parts.end(), n_parts, rate);
    simulator.warm(of_parts);
  }
  std::vector<UnitId> parts;
  CacheCounts counts;
  counts.misses_of.reserve(trace.passes.size() * trace.shape.groups.size());
  for_each_lease(trace, [&](size_t, size_t, std::span<const UnitId> units) {
    parts.clear();
    for (const UnitId unit : units)
      for (uint32_t part = 0; part < n_parts; ++part) parts.push_back(unit * n_parts + part);
    counts.misses_of.push_back(static_cast<uint32_t>(simulator.acquire(parts)));
  });
  counts.hits = simulator.hits();
  counts.misses = simulator.misses();
  return counts;
}

CacheCounts simulate_best(const RoutingTrace& trace, size_t n_slots, std::span<const float> rates) {
  // What is warm was accessed before everything else, and is not counted.
  const std::vector<UnitId> warm = hottest_units(rates, n_slots);
  std::vector<uint64_t> accesses(warm.begin(), warm.end());
  std::vector<size_t> lease_of;  // of each access
  CacheCounts counts;
  for_each_lease(trace, [&](size_t, size_t, std::span<const UnitId> units) {
    accesses.insert(accesses.end(), units.begin(), units.end());
    lease_of.insert(lease_of.end(), units.size(), counts.misses_of.size());
    counts.misses_of.push_back(0);
  });
  const std::vector<uint8_t> hits = best_hits(accesses, n_slots);
  for (size_t i = 0; i < lease_of.size(); ++i) {
    const bool is_hit = hits[warm.size() + i] != 0;
    ++(is_hit ? counts.hits : counts.misses);
    if (!is_hit) ++counts.misses_of[lease_of[i]];
  }
  return counts;
}

uint64_t best_possible_misses(std::span<const uint64_t> accesses, size_t n_slots) {
  const std::vector<uint8_t> hits = best_hits(accesses, n_slots);
  const auto n_missed = static_cast<size_t>(std::count(hits.begin(), hits.end(), 0));
  const size_t n_distinct = std::set<uint64_t>(accesses.begin(), accesses.end()).size();
  return n_missed - std::min(n_slots, n_distinct);
}

}  // namespace sluice
