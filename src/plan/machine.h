// What the system says of this machine without measuring anything: limits, settings, and what lies below a
// path. Whatever cannot be found out stays at its "unknown" value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace sluice {

struct MachineFacts {
  std::string cpu;
  int cpus_online = 0;
  int cpus_allowed = 0;    // by affinity and cgroup quota
  double load = 0;         // processes that wanted to run, over the last minute
  std::string governor;    // of CPU 0: "performance", "powersave"; empty: unknown
  uint64_t throttled = 0;  // times that the CPUs slowed down for heat, since boot; in a profile: meanwhile

  uint64_t memory_bytes = 0;
  uint64_t available_bytes = 0;
  uint64_t cgroup_bytes = UINT64_MAX;   // the tightest limit; UINT64_MAX: none
  uint64_t memlock_bytes = UINT64_MAX;  // RLIMIT_MEMLOCK; UINT64_MAX: none
  uint64_t swap_bytes = 0, swap_used_bytes = 0;
  std::string huge_pages;  // "always", "madvise", "never"; empty: unknown

  bool io_uring = false;
};
MachineFacts look_at_machine();

struct DiskFacts {
  std::string path;         // that was asked about
  std::string file_system;  // "ext4"; a number in hexadecimal if it has no name here
  std::string device;       // "259:1"; "0:..." where there is no block device below
  bool network = false;
  bool memory = false;  // tmpfs
  std::optional<bool> rotational;
  double celsius = 0;  // of the hottest NVMe drive; 0: unknown
};
DiskFacts look_at_disk(const std::string& path);  // Error(kNotFound, kIo)

}  // namespace sluice
