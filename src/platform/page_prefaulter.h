// Touches memory that reads will fill later, so that nobody who waits for a read also waits for its pages:
// clearing one takes a tenth of a millisecond per megabyte, and two milliseconds on a virtual machine whose
// host has yet to find them.
#pragma once

#include <atomic>
#include <thread>

#include "platform/memory_info.h"

namespace sluice {

// Owner of a thread that gives way to all others. start() and stop() are not thread-safe.
class PagePrefaulter {
 public:
  PagePrefaulter() = default;
  ~PagePrefaulter() { stop(); }
  PagePrefaulter(const PagePrefaulter&) = delete;
  PagePrefaulter& operator=(const PagePrefaulter&) = delete;

  // From its begin to its end, while others use it. `memory` outlives this object or stop(). Does nothing
  // where the system cannot (Linux before 5.14) or has no thread to give.
  void start(const PageBuffer& memory);
  // Returns once nothing more is touched, within a few milliseconds.
  void stop() noexcept;

 private:
  std::atomic<bool> is_stopped_{false};
  std::thread thread_;
};

}  // namespace sluice
