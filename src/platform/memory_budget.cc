#include "platform/memory_budget.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "base/units.h"

namespace sluice {

const char* memory_use_name(MemoryUse use) {
  switch (use) {
    case MemoryUse::kWeights:
      return "weights";
    case MemoryUse::kKvCache:
      return "KV cache";
    case MemoryUse::kScratch:
      return "scratch";
    case MemoryUse::kOther:
    case MemoryUse::kCount:
      break;
  }
  return "other";
}

MemoryBudget::MemoryBudget(uint64_t limit) : limit_(limit) {}

void MemoryBudget::reserve(MemoryUse use, uint64_t bytes) {
  if (try_reserve(use, bytes)) return;
  throw_error(ErrorKind::kNoMemory, "%s needs %s and %s of the budget of %s are free: raise --ram",
              memory_use_name(use), format_bytes(bytes).c_str(), format_bytes(free()).c_str(),
              format_bytes(limit_).c_str());
}

bool MemoryBudget::try_reserve(MemoryUse use, uint64_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  if (bytes > limit_ - total_) return false;
  used_[static_cast<size_t>(use)] += bytes;
  total_ += bytes;
  peak_ = std::max(peak_, total_);
  return true;
}

void MemoryBudget::release(MemoryUse use, uint64_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  SLUICE_CHECK(used_[static_cast<size_t>(use)] >= bytes, "%s released twice", memory_use_name(use));
  used_[static_cast<size_t>(use)] -= bytes;
  total_ -= bytes;
}

uint64_t MemoryBudget::used(MemoryUse use) const noexcept {
  const std::lock_guard lock(mutex_);
  return used_[static_cast<size_t>(use)];
}

uint64_t MemoryBudget::total() const noexcept {
  const std::lock_guard lock(mutex_);
  return total_;
}

uint64_t MemoryBudget::peak() const noexcept {
  const std::lock_guard lock(mutex_);
  return peak_;
}

uint64_t MemoryBudget::free() const noexcept {
  const std::lock_guard lock(mutex_);
  return limit_ - total_;
}

}  // namespace sluice
