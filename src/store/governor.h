// The governor gives memory of the expert cache back while others need it, and takes it again when they do
// not. GovernorRule decides from what a PressureSource sees; Governor is the thread that looks, asks the rule
// and has the store act. It acts by itself rather than through the store's caller, which may be in a pass of
// a second or waiting for its user.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "platform/pressure.h"

namespace sluice {

struct GovernorOptions {
  uint64_t max_reserve = uint64_t{512} << 20;  // kept free for others, less where less was free at the start
  double horizon_s = 0.25;     // what others will take in this time at their present rate is needed now
  double quiet_s = 10;         // without pressure before the cache grows
  double grow_interval_s = 1;  // between two steps of growth
  int look_ms = 20;            // between two looks where memory is scarce, else some more
};

// How large the cache should be. No clock, no thread.
class GovernorRule {
 public:
  // The cache is between `least` and `full` bytes and starts full.
  GovernorRule(const GovernorOptions& options, uint64_t least, uint64_t full);

  // `fixed`: what this process holds or will come to hold beside the cache. Room is what is left to others
  // once that and a cache of target() bytes are in use. Returns the new target.
  uint64_t decide(double now_s, const Pressure& pressure, uint64_t fixed);

  uint64_t target() const { return target_; }
  int64_t reserve() const { return reserve_; }   // bytes that are kept free for others
  bool is_scarce() const { return is_scarce_; }  // worth looking often

 private:
  const GovernorOptions options_;
  const uint64_t least_, full_, step_;
  uint64_t target_;
  bool has_looked_ = false;
  bool is_scarce_ = true;
  int64_t reserve_ = 0;
  int64_t last_left_ = 0;  // free + own at last_look_s_: falls when others take memory, whatever we do
  double last_look_s_ = 0;
  double fall_ = 0;  // bytes per second that others take
  double last_pressure_s_ = 0, last_growth_s_ = 0;
};

class Governor {
 public:
  struct Cache {
    uint64_t least = 0, full = 0;     // bytes
    std::function<uint64_t()> fixed;  // as decide() wants it
    // Makes the cache that large, or as near as can be had now: what is leased cannot go yet. Called at every
    // look. Returns its size.
    std::function<uint64_t(uint64_t target)> resize;
  };
  struct Stats {
    uint64_t shrinks = 0, grows = 0;  // decisions
    uint64_t given_back_bytes = 0;    // memory that has left the process
    uint64_t taken_again_bytes = 0;
    uint64_t give_back_ns = 0;      // from a sign to the end of giving back, all of them together
    uint64_t max_give_back_ns = 0;  // the longest
  };

  Governor(const GovernorOptions& options, std::unique_ptr<PressureSource> source, Cache cache);
  ~Governor();
  Governor(const Governor&) = delete;
  Governor& operator=(const Governor&) = delete;

  Stats stats() const;                                          // any thread
  std::string describe() const { return source_->describe(); }  // what it watches

 private:
  void watch();

  const int look_ms_;
  const std::unique_ptr<PressureSource> source_;
  const Cache cache_;
  GovernorRule rule_;
  std::atomic<uint64_t> shrinks_ = 0, grows_ = 0, given_back_bytes_ = 0, taken_again_bytes_ = 0,
                        give_back_ns_ = 0, max_give_back_ns_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;  // last: uses all of the above
};

}  // namespace sluice
