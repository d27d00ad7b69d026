// The policies by themselves, and what they share. Each is one file of this directory.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "base/check.h"
#include "store/cache_policy.h"

namespace sluice {

std::unique_ptr<CachePolicy> make_lru_policy();
std::unique_ptr<CachePolicy> make_clock_policy();
std::unique_ptr<CachePolicy> make_lfu_policy();
std::unique_ptr<CachePolicy> make_s3fifo_policy();
std::unique_ptr<CachePolicy> make_lcp_policy();
std::unique_ptr<CachePolicy> make_least_stale_policy();
std::unique_ptr<CachePolicy> make_forward_policy();
std::unique_ptr<CachePolicy> make_measured_split(std::unique_ptr<CachePolicy> inner);

// Counts passes, told from the groups, which ascend within one.
class PassClock {
 public:
  void reset(uint32_t n_groups) {
    *this = PassClock();
    n_groups_ = n_groups;
  }
  void begin(uint32_t group) {
    if (pass_ == 0 || group <= group_) ++pass_;
    group_ = group;
  }
  uint32_t pass() const { return pass_; }  // 1 is the first; 0: none has begun
  uint32_t group() const { return group_; }
  uint32_t n_groups() const { return n_groups_; }
  uint64_t position() const { return uint64_t{pass_} * n_groups_ + group_; }  // groups since the start
  // Groups from the present one to the next turn of that one, which for itself is a whole pass away.
  uint32_t distance(uint32_t group) const {
    return group > group_ ? group - group_ : group + n_groups_ - group_;
  }

 private:
  uint32_t pass_ = 0;
  uint32_t group_ = 0;
  uint32_t n_groups_ = 1;
};

// The evictable slot with the lowest score, the first of equals. score(slot) is asked once per slot;
// evictable(slot), which costs more, only for slots that would win.
template <typename Score, typename Evictable>
size_t lowest_slot(size_t n_slots, const Score& score, const Evictable& evictable) {
  size_t best = n_slots;
  auto lowest = score(size_t{0});
  for (size_t slot = 0; slot < n_slots; ++slot) {
    const auto value = score(slot);
    if ((best == n_slots || value < lowest) && evictable(slot)) {
      best = slot;
      lowest = value;
    }
  }
  SLUICE_CHECK(best < n_slots, "no slot may be evicted");
  return best;
}

}  // namespace sluice
