// The one account of memory. Weights, sequence state and scratch reserve here before they allocate, so that
// `--ram` is a ceiling on the whole process and a run that cannot fit is refused before it starts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

namespace sluice {

enum class MemoryUse : uint8_t { kWeights, kKvCache, kScratch, kOther, kCount };

const char* memory_use_name(MemoryUse use);  // "weights", "KV cache", "scratch", "other"

// Thread-safe.
class MemoryBudget {
 public:
  // `limit` in bytes for everything reserved; UINT64_MAX for no limit.
  explicit MemoryBudget(uint64_t limit);

  // Throws Error(kNoMemory) that names the use, the wanted and the free bytes, and changes nothing then.
  void reserve(MemoryUse use, uint64_t bytes);
  bool try_reserve(MemoryUse use, uint64_t bytes) noexcept;
  void release(MemoryUse use, uint64_t bytes) noexcept;

  uint64_t limit() const noexcept { return limit_; }
  uint64_t used(MemoryUse use) const noexcept;
  uint64_t total() const noexcept;
  uint64_t peak() const noexcept;
  uint64_t free() const noexcept;

 private:
  const uint64_t limit_;
  mutable std::mutex mutex_;
  std::array<uint64_t, static_cast<size_t>(MemoryUse::kCount)> used_ = {};
  uint64_t total_ = 0;
  uint64_t peak_ = 0;
};

}  // namespace sluice
