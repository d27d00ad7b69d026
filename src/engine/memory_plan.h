// How --ram is divided: the process as it is, a margin, KV cache, scratch, and the weights get what is left.
// Pure arithmetic on needs that are known before anything is loaded; who asks the system is engine.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "platform/memory_info.h"
#include "store/weight_store.h"

namespace sluice {

struct MemoryRequest {
  uint64_t ram_bytes = 0;              // the ceiling for the whole process
  uint64_t process_bytes = 0;          // resident before the model is loaded
  uint64_t margin_bytes = 0;           // what the process still grows by beside the accounts below
  uint64_t peak_bytes = 0;             // the process has been this large already
  uint64_t kv_bytes = 0;               // of all sequences at their full reserve
  StoreNeeds weights;                  // what the store could use
  uint64_t weight_limit = UINT64_MAX;  // --weights
  int64_t chunk = 0;                   // asked for; 0: to be chosen
  std::function<uint64_t(int64_t chunk)> scratch_bytes;  // rises with the chunk
};

struct MemoryPlan {
  bool fits = false;             // the rest is 0 otherwise, but for the last four
  int64_t chunk = 0;             // tokens per forward pass
  uint64_t scratch_bytes = 0;    // for that chunk
  uint64_t weight_bytes = 0;     // for the store
  uint64_t budget_bytes = 0;     // for weights, KV cache and scratch together
  uint64_t one_token_ram = 0;    // the least with room for one token's experts
  uint64_t comfortable_ram = 0;  // the least that keeps all weights, with a good chunk
  uint64_t knee_ram = 0;         // the same with the largest chunk: what is beyond it changes nothing
  uint64_t smallest_ram = 0;     // the least that fits, in whole MiB
};

// The largest good chunk that leaves all weights resident; where they cannot be, the largest one whose
// scratch takes at most a sixteenth of the budget and leaves room for one token's experts, or else for the
// minimum; or else the smallest.
MemoryPlan plan_memory(const MemoryRequest& request);

// What the process grows by after planning without an account: stacks, code and tables that are touched for
// the first time, malloc's slack, huge pages rounded up. Under 2 MiB for models from 1 MB to 3 GB at their
// smallest and largest budgets; four times that, because the kernel counts resident pages in batches.
uint64_t margin_bytes(int n_threads);

// --ram: bytes, a percentage of the machine or cgroup, or "auto": nine tenths of that ceiling, but never so
// much that the rest of the machine falls below a gibibyte (a quarter of what is spare where that is less).
uint64_t parse_ram(const std::string& text, const MemoryInfo& machine, uint64_t process_bytes);

// What --ram auto takes and why, from what it could take and the knee.
std::string explain_auto(uint64_t possible, uint64_t knee, const MemoryInfo& machine);

// --weights: bytes, a percentage of `all`, "min" for the least that works, empty for no bound.
uint64_t parse_weights(const std::string& text, const StoreNeeds& needs);

// "1352M": for messages that name a --ram that would do.
std::string mebibytes(uint64_t bytes);

}  // namespace sluice
