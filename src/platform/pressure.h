// Signs that memory runs short, for this process's cgroups (v1 and v2) and for the machine: how much can
// still be taken, and whether the kernel has had to reclaim. Counters are polled; where the kernel offers PSI
// (pressure stall information) its triggers end the wait early.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "platform/cgroup.h"

namespace sluice {

struct Pressure {
  // Bytes that anybody can still take before a limit of our cgroups or the end of the machine's memory; page
  // cache counts as free.
  uint64_t free = 0;
  uint64_t own = 0;    // resident bytes of this process
  bool alarm = false;  // since the last look the kernel stalled somebody for memory, or ran into a limit
};

class PressureSource {
 public:
  virtual ~PressureSource() = default;
  // Looks after `timeout_ms`, or as soon as the kernel reports a stall, or wake(). One thread.
  virtual Pressure look(int timeout_ms) = 0;
  virtual void wake() noexcept = 0;          // from any thread: look() returns early, once
  virtual std::string describe() const = 0;  // "PSI, cgroup v1, MemAvailable"
};

// What to watch; for tests, files of their own.
struct PressurePaths {
  CgroupDirectories groups;                   // of the memory controller
  std::string psi = "/proc/pressure/memory";  // of the machine
  std::string meminfo = "/proc/meminfo";
  std::string statm = "/proc/self/statm";
};

// Of this process. Files that are not there are left out.
std::unique_ptr<PressureSource> make_pressure_source();
std::unique_ptr<PressureSource> make_pressure_source(const PressurePaths& paths);

}  // namespace sluice
