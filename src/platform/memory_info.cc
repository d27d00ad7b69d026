#include "platform/memory_info.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "base/align.h"
#include "base/error.h"
#include "base/units.h"
#include "platform/cgroup.h"

namespace sluice {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

// The number after `key` at the start of a line ("MemTotal:  123 kB", "file 123"); 0 if it is not there.
uint64_t number_after(const std::string& text, std::string_view key) {
  for (size_t at = text.find(key); at != std::string::npos; at = text.find(key, at + 1)) {
    if (at > 0 && text[at - 1] != '\n') continue;
    const size_t digit = text.find_first_not_of(" \t", at + key.size());
    uint64_t value = 0;
    if (digit != std::string::npos) {
      std::from_chars(text.data() + digit, text.data() + text.size(), value);
    }
    return value;
  }
  return 0;
}

// The names of one hierarchy's files.
struct CgroupFiles {
  const char* limit;
  const char* used;
  const char* cache_key;  // in memory.stat
};
constexpr CgroupFiles kV1 = {"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_cache "};
constexpr CgroupFiles kV2 = {"/memory.max", "/memory.current", "file "};

void tighten(MemoryInfo& info, const std::string& directory, const CgroupFiles& files) {
  const auto limit = read_kernel_number(directory + files.limit);
  // v1 spells "no limit" as the greatest multiple of the page size; v2 as "max".
  if (!limit || *limit >= UINT64_MAX / 4 || *limit >= info.cgroup_limit) return;
  info.cgroup_limit = *limit;
  info.cgroup_used = read_kernel_number(directory + files.used).value_or(0);
  info.cgroup_cache = number_after(read_kernel_file(directory + "/memory.stat"), files.cache_key);
}

}  // namespace

uint64_t MemoryInfo::spare() const noexcept {
  if (cgroup_limit == UINT64_MAX) return available;
  const uint64_t held = cgroup_used - std::min(cgroup_cache, cgroup_used);
  return std::min(available, cgroup_limit - std::min(held, cgroup_limit));
}

MemoryInfo memory_info() {
  MemoryInfo info;
  const std::string text = read_kernel_file("/proc/meminfo");
  info.total = number_after(text, "MemTotal:") * 1024;
  info.available = number_after(text, "MemAvailable:") * 1024;
  info.swap = number_after(text, "SwapTotal:") * 1024;
  info.cgroup_limit = UINT64_MAX;
  const CgroupDirectories groups = cgroup_directories("memory");
  for (const std::string& directory : groups.v1) tighten(info, directory, kV1);
  for (const std::string& directory : groups.v2) tighten(info, directory, kV2);
  return info;
}

uint64_t resident_bytes() { return number_after(read_kernel_file("/proc/self/status"), "VmRSS:") * 1024; }

uint64_t peak_resident_bytes() {
  return number_after(read_kernel_file("/proc/self/status"), "VmHWM:") * 1024;
}

uint64_t locked_bytes() { return number_after(read_kernel_file("/proc/self/status"), "VmLck:") * 1024; }

uint64_t huge_page_bytes() {
  return number_after(read_kernel_file("/proc/self/smaps_rollup"), "AnonHugePages:") * 1024;
}

PageBuffer::PageBuffer(size_t bytes) {
  if (bytes == 0) return;
  const auto refuse = [bytes] {
    throw_error(ErrorKind::kNoMemory, "the system has no %s to give", format_bytes(bytes).c_str());
  };
  if (bytes > SIZE_MAX / 2) refuse();
  const size_t size = round_up(bytes, kPageBytes);
  // Huge pages need an aligned start: map more than is wanted and give back both ends.
  const size_t slack = size >= kHugePageBytes ? kHugePageBytes : 0;
  void* mapped = ::mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) refuse();
  auto* const begin = static_cast<std::byte*>(mapped);
  data_ = begin;
  size_ = size;
  if (slack > 0) {
    data_ +=
        round_up(reinterpret_cast<uintptr_t>(begin), kHugePageBytes) - reinterpret_cast<uintptr_t>(begin);
    const size_t before = static_cast<size_t>(data_ - begin);
    if (before > 0) ::munmap(begin, before);
    if (slack > before) ::munmap(data_ + size, slack - before);
    (void)::madvise(data_, size, MADV_HUGEPAGE);
  }
  (void)::madvise(data_, size, MADV_DONTDUMP);
}

PageBuffer::~PageBuffer() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void PageBuffer::give_back(size_t begin, size_t end) const noexcept {
  begin = round_up(begin, kPageBytes);
  end = round_down(end, kPageBytes);
  if (begin >= end) return;
  // The call itself, because the sanitizers make nothing of munlock() but leave mlock2() alone.
  if (is_locked_) (void)::syscall(SYS_munlock, data_ + begin, end - begin);
  (void)::madvise(data_ + begin, end - begin, MADV_DONTNEED);
  if (is_locked_) (void)::mlock2(data_ + begin, end - begin, MLOCK_ONFAULT);
}

bool PageBuffer::prefault(size_t begin, size_t end) const noexcept {
#if defined(MADV_POPULATE_WRITE)
  constexpr int kPopulateWrite = MADV_POPULATE_WRITE;
#else
  constexpr int kPopulateWrite = 23;
#endif
  begin = round_down(begin, kPageBytes);
  end = round_up(end, kPageBytes);
  return ::madvise(data_ + begin, end - begin, kPopulateWrite) == 0;
}

bool PageBuffer::lock() noexcept {
  is_locked_ = data_ != nullptr && ::mlock2(data_, size_, MLOCK_ONFAULT) == 0;
  return is_locked_;
}

PageBuffer::PageBuffer(PageBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      is_locked_(std::exchange(other.is_locked_, false)) {}

PageBuffer& PageBuffer::operator=(PageBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(is_locked_, other.is_locked_);
  return *this;
}

}  // namespace sluice
