#include "engine/memory_plan.h"

#include <algorithm>
#include <array>

#include "base/align.h"
#include "base/units.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

// Descending. Below 8 rows a pass over the weights serves too few tokens to be worth planning for.
constexpr std::array<int64_t, 7> kChunks = {512, 256, 128, 64, 32, 16, 8};

uint64_t add_capped(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
uint64_t subtract_floored(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

MemoryPlan plan_memory(const MemoryRequest& request) {
  const uint64_t fixed =
      add_capped(add_capped(request.process_bytes, request.margin_bytes), request.kv_bytes);
  const int64_t smallest_chunk = request.chunk > 0 ? request.chunk : kChunks.back();
  const uint64_t least =
      std::max(request.peak_bytes,
               add_capped(add_capped(fixed, request.scratch_bytes(smallest_chunk)), request.weights.minimum));
  MemoryPlan plan;
  plan.smallest_ram = least > UINT64_MAX - kMiB ? UINT64_MAX : div_up(least, kMiB) * kMiB;
  if (request.ram_bytes < plan.smallest_ram) return plan;

  const uint64_t room = request.ram_bytes - fixed;  // for scratch and weights
  const uint64_t useful = std::min(request.weights.all, request.weight_limit);
  plan.chunk = smallest_chunk;
  if (request.chunk == 0) {
    for (const int64_t chunk : kChunks) {
      const uint64_t scratch = request.scratch_bytes(chunk);
      const bool modest =
          scratch <= request.ram_bytes / 16 && add_capped(scratch, request.weights.minimum) <= room;
      if (modest || add_capped(scratch, useful) <= room) {
        plan.chunk = chunk;
        break;
      }
    }
  }
  plan.fits = true;
  plan.scratch_bytes = request.scratch_bytes(plan.chunk);
  plan.weight_bytes = std::min(room - plan.scratch_bytes, request.weight_limit);
  plan.budget_bytes = add_capped(room, request.kv_bytes);
  return plan;
}

uint64_t margin_bytes(int n_threads) { return 12 * kMiB + static_cast<uint64_t>(n_threads) * kMiB / 2; }

uint64_t parse_ram(const std::string& text, const MemoryInfo& machine, uint64_t process_bytes) {
  if (text != "auto") return parse_bytes_or_percent(text, machine.ceiling(), "--ram");
  const uint64_t spare = machine.spare();
  const uint64_t for_others = std::min(kGiB, spare / 4);
  return std::min(machine.ceiling() / 10 * 9, add_capped(process_bytes, subtract_floored(spare, for_others)));
}

uint64_t parse_weights(const std::string& text, const StoreNeeds& needs) {
  if (text.empty()) return UINT64_MAX;
  if (text == "min") return needs.minimum;
  return parse_bytes_or_percent(text, needs.all, "--weights");
}

std::string mebibytes(uint64_t bytes) { return std::to_string(div_up(bytes, kMiB)) + "M"; }

}  // namespace sluice
