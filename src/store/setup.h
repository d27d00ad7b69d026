// What a store settles before it allocates anything: its files, how they are read, and who gets the memory.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "platform/file.h"
#include "platform/memory_budget.h"
#include "platform/memory_info.h"
#include "store/plan.h"
#include "store/weight_store.h"

namespace sluice {

struct Setup {
  using Files = std::vector<std::shared_ptr<const File>>;
  Files files;
  std::vector<Files> copies;  // the files, and then those of each mirror
  IoMode mode = IoMode::kBuffered;
  std::string why;  // of the mode
  StorePlan plan;
};

// Throws Error: kNotFound, kIo, kInvalid for the files, also for mirrors that are not their equals, kCorrupt
// for extents beyond them, kNoMemory if weight_bytes, or what is free of the budget, is below the minimum.
Setup set_up(const std::vector<std::string>& paths, std::span<const UnitSpec> units,
             const StoreOptions& options, size_t depth, const MemoryBudget& budget);

// Why `bytes` should not be locked in memory; empty if they should. Locked memory cannot be swapped out, so
// that a group at its limit has less to give: it is locked only where there is swap to be kept from, and
// ample room.
std::string why_not_lock(const MemoryInfo& machine, uint64_t bytes);

}  // namespace sluice
