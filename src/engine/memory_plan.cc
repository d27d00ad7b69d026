#include "engine/memory_plan.h"

#include <algorithm>
#include <array>

#include "base/align.h"
#include "base/error.h"
#include "base/units.h"

namespace sluice {
namespace {

// Descending. Below 8 rows a pass over the weights serves too few tokens to be worth planning for.
constexpr std::array<int64_t, 7> kChunks = {512, 256, 128, 64, 32, 16, 8};
constexpr int64_t kGoodChunk = 128;  // not worth pushing weights out for more

}  // namespace

MemoryPlan plan_memory(const MemoryRequest& request) {
  const uint64_t fixed = request.process_bytes + request.margin_bytes + request.kv_bytes;
  const auto ram_for = [&](int64_t chunk, uint64_t weights) {
    return std::max(request.peak_bytes, fixed + request.scratch_bytes(chunk) + weights);
  };
  // The next run of the same command may be some pages larger than this one: a budget that is named must
  // still do then.
  const uint64_t growth = kMiB / 2 + request.process_bytes / 32;
  const auto named = [growth](uint64_t ram) { return round_up(ram + growth, kMiB); };
  const StoreNeeds& needs = request.weights;
  const int64_t smallest = request.chunk > 0 ? request.chunk : kChunks.back();
  MemoryPlan plan;
  const uint64_t least = ram_for(smallest, needs.minimum);
  plan.smallest_ram = named(least);
  plan.one_token_ram = named(ram_for(smallest, std::max(needs.one_token, needs.minimum)));
  plan.comfortable_ram = named(ram_for(request.chunk > 0 ? request.chunk : kGoodChunk, needs.all));
  plan.knee_ram =
      std::max(plan.smallest_ram, named(ram_for(request.chunk > 0 ? request.chunk : kChunks.front(),
                                                std::min(needs.all, request.weight_limit))));
  plan.fits = request.ram_bytes >= least;
  if (!plan.fits) return plan;

  const uint64_t room = request.ram_bytes - fixed;  // for scratch and weights
  const auto choose = [&](int64_t least_chunk, uint64_t most_scratch, uint64_t weights) {
    for (const int64_t chunk : kChunks) {
      const uint64_t scratch = request.scratch_bytes(chunk);
      if (plan.chunk == 0 && chunk >= least_chunk && scratch <= most_scratch && weights <= room &&
          scratch <= room - weights)
        plan.chunk = chunk;
    }
  };
  plan.chunk = request.chunk;
  choose(kGoodChunk, UINT64_MAX, std::min(needs.all, request.weight_limit));
  choose(1, request.ram_bytes / 16, std::max(needs.one_token, needs.minimum));
  choose(1, request.ram_bytes / 16, needs.minimum);
  if (plan.chunk == 0) plan.chunk = smallest;
  plan.scratch_bytes = request.scratch_bytes(plan.chunk);
  plan.weight_bytes = std::min(room - plan.scratch_bytes, request.weight_limit);
  plan.budget_bytes = room + request.kv_bytes;
  return plan;
}

uint64_t margin_bytes(int n_threads) { return 8 * kMiB + static_cast<uint64_t>(n_threads) * kMiB / 2; }

uint64_t parse_ram(const std::string& text, const MemoryInfo& machine, uint64_t process_bytes) {
  if (text != "auto") return parse_bytes_or_percent(text, machine.ceiling(), "--ram");
  const uint64_t spare = machine.spare();
  const uint64_t for_others = std::min(kGiB, spare / 4);
  return std::min(machine.ceiling() / 10 * 9, process_bytes + spare - for_others);
}

std::string explain_auto(uint64_t possible, uint64_t knee, const MemoryInfo& machine) {
  const std::string all = format_bytes(knee), could = format_bytes(possible);
  if (knee <= possible) {
    return format_string(
        "auto takes %s: all weights stay in memory, and more would change nothing (%s are there)",
        all.c_str(), could.c_str());
  }
  return format_string(
      "auto takes %s, what others leave of %s: more would save reads, up to %s for everything", could.c_str(),
      format_bytes(machine.ceiling()).c_str(), all.c_str());
}

uint64_t parse_weights(const std::string& text, const StoreNeeds& needs) {
  if (text.empty()) return UINT64_MAX;
  if (text == "min") return needs.minimum;
  return parse_bytes_or_percent(text, needs.all, "--weights");
}

std::string mebibytes(uint64_t bytes) { return std::to_string(div_up(bytes, kMiB)) + "M"; }

}  // namespace sluice
