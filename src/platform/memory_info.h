// What the machine has and what the process uses, read from /proc and the cgroup file systems (v1 and v2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace sluice {

struct MemoryInfo {
  uint64_t total = 0;         // bytes of the machine
  uint64_t available = 0;     // MemAvailable
  uint64_t swap = 0;          // SwapTotal
  uint64_t cgroup_limit = 0;  // the tightest limit of the process's memory cgroups; UINT64_MAX for none
  uint64_t cgroup_used = 0;   // of that cgroup, page cache included; 0 if there is no limit
  uint64_t cgroup_cache = 0;  // of which page cache, given back under pressure
  // What `--ram 100%` means: the smaller of total and cgroup_limit.
  uint64_t ceiling() const noexcept { return total < cgroup_limit ? total : cgroup_limit; }
  // What can still be used, on the machine and in the cgroup, without pushing out anything but page cache.
  uint64_t spare() const noexcept;
};
MemoryInfo memory_info();

uint64_t resident_bytes();       // VmRSS of this process
uint64_t peak_resident_bytes();  // VmHWM of this process
uint64_t locked_bytes();         // VmLck of this process
uint64_t huge_page_bytes();      // of this process's anonymous memory that lie on huge pages

// Anonymous memory straight from the kernel, page-aligned, zero until touched, on huge pages where they help
// and can be had, left out of core dumps. Freed pages go back to the system at once. Owner; not thread-safe.
class PageBuffer {
 public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes);  // Error(kNoMemory)
  ~PageBuffer();
  PageBuffer(PageBuffer&& other) noexcept;
  PageBuffer& operator=(PageBuffer&& other) noexcept;
  std::byte* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  // The whole pages of bytes [begin, end) leave the process at once. They are zero, and memory again, when
  // they are next touched.
  void give_back(size_t begin, size_t end) const noexcept;
  // Makes bytes [begin, end) memory now, and changes none of them. False where the system cannot.
  bool prefault(size_t begin, size_t end) const noexcept;
  // Keeps what is touched from now on from being swapped out. False where RLIMIT_MEMLOCK forbids it. What is
  // given back is unlocked first and locked again when it is touched again.
  bool lock() noexcept;

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;  // as mapped
  bool is_locked_ = false;
};

}  // namespace sluice
