// How fast reads may go that nobody waits for yet, so that beside them arithmetic loses no more of its speed
// than its user tolerates. The law alone: it has no clock and no thread, what was measured comes in, a limit
// goes out.
//
// What is lost. Reads take memory bandwidth, and some time of the cores, from the products of a pass. What
// products take while nothing is read is known from those of the same pass or earlier ones (`calm_ns`); what
// they took beyond that is lost. Demands take their part of it, by their share of the bytes, and nothing can
// be done about that: a demand is waited for. The rest is divided by the time of the products and called the
// slowdown: of arithmetic, by reads that could have come later.
//
// When it acts. Slower reads can only win back what is lost to them. Where the computation waits for reads
// longer than it loses to them it is bound by the drive, and every byte that comes later is waited for:
// nothing is limited. Where it does not, and the slowdown is above what is tolerated, the limit becomes what
// was read per second, times tolerated / slowdown: right at once where the loss grows with the rate, and
// after a few steps where it grows faster or slower. Each step goes at most to a half. Below three quarters
// of what is tolerated the limit rises by an eighth. In between it stays, and since a step up is smaller than
// that band it is not stepped over: no swinging where the loss grows with the rate or its square. Once the
// limit reaches what was read without one it is lifted.
//
// When it was wrong. A limit that makes the computation wait may cost more than it gives back, which is known
// only by trying. So the price of reads (waiting and loss, per time that was neither) is compared with what
// it was before the limit. If it is higher the limit is lifted, and not tried again for 16 windows, after
// the next such failure for 32, and so on up to 1,024: what trying costs vanishes where it never pays.
#pragma once

#include <cstdint>

namespace sluice {

// What was measured in some time of computing. Sums.
struct PaceSample {
  uint64_t elapsed_ns = 0;
  uint64_t stall_ns = 0;         // of it the computation waited for reads
  uint64_t kernel_ns = 0;        // of it, products whose calm time is known
  uint64_t calm_ns = 0;          // what these take while nothing is read
  uint64_t awaited_bytes = 0;    // asked of drives meanwhile, by demands
  uint64_t unawaited_bytes = 0;  // and by nobody yet
};

struct PaceReport {
  double tolerated = 0;           // slowdown; 0: nothing is measured
  uint64_t limit = 0;             // bytes per second; 0: none now
  uint64_t windows = 0;           // that were judged
  uint64_t limited_windows = 0;   // of them, under a limit
  uint64_t io_bound_windows = 0;  // more waited than lost, without a limit
  uint64_t failures = 0;          // limits that cost more than they gave back
  uint64_t kernel_ns = 0;         // of products whose calm time is known
  double lost = 0;                // share of it that reads of all kinds took
  double slowdown = 0;            // the part of those that nobody waited for
};

// Not thread-safe.
class PaceController {
 public:
  static constexpr uint64_t kWindowNs = 250'000'000;  // of computing, that is judged together
  static constexpr uint64_t kSlowest = uint64_t{32} << 20;
  static constexpr double kLow = 0.75;  // of what is tolerated: below it the limit rises
  static constexpr double kRise = 1.125;
  static constexpr double kMostFall = 0.5;  // in one step
  static constexpr uint64_t kLeastRest = 16, kMostRest = 1024;
  static constexpr double kFade = 0.25;    // weight of the newest window in a price
  static constexpr double kMargin = 0.01;  // that a price must rise to be called higher

  // `tolerated`: share of the arithmetic's speed, above 0.
  explicit PaceController(double tolerated) : tolerated_(tolerated) {}

  // Returns the limit from now on, in bytes per second; 0: none.
  uint64_t add(const PaceSample& sample);
  uint64_t limit() const { return limit_; }
  PaceReport report() const;

 private:
  void judge();
  void fall(double rate, double slowdown);

  const double tolerated_;
  PaceSample window_;
  uint64_t limit_ = 0;
  uint64_t rest_ = 0;  // windows before the next try
  uint64_t next_rest_ = kLeastRest;
  uint64_t held_ = 0;         // windows that this limit has lasted
  double open_rate_ = 0;      // bytes per second before the limit
  double open_price_ = -1;    // of reads without a limit, fading; -1: not known yet
  double limited_price_ = 0;  // and with this one
  PaceReport report_;
  double kernel_ns_ = 0, calm_ns_ = 0, own_ns_ = 0;  // of all samples
};

}  // namespace sluice
