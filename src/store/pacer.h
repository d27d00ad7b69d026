// Between the store and the law of pace_controller.h: measures passes, and tells the reading thread the
// limit.
#pragma once

#include <cstdint>
#include <string>

#include "store/pace_controller.h"
#include "store/read_queue.h"

namespace sluice {

// Not thread-safe.
class Pacer {
 public:
  // `tolerated`: 0: measures nothing and limits nothing.
  Pacer(double tolerated, ReadQueue& reads) : tolerated_(tolerated), reads_(reads), law_(tolerated) {}

  bool is_on() const { return tolerated_ > 0; }
  // A pass begins; `is_measured`: end_pass() will follow. Others run without a limit.
  void begin_pass(bool is_measured, uint64_t now_ns, uint64_t stall_ns);
  // See WeightStore::end_measured_pass().
  void end_pass(uint64_t now_ns, uint64_t stall_ns, uint64_t kernel_ns, uint64_t calm_ns);

  PaceReport report() const { return law_.report(); }
  std::string describe() const;  // "; ...", or nothing

 private:
  const double tolerated_;
  ReadQueue& reads_;
  PaceController law_;
  uint64_t begin_ns_ = 0, begin_stall_ns_ = 0, begin_bytes_ = 0, begin_unawaited_ = 0;
};

}  // namespace sluice
