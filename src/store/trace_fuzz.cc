// Routing traces from arbitrary bytes; what is read must replay without harm.
#include <cstddef>
#include <cstdint>
#include <string>

#include "sluice/error.h"
#include "store/cache_simulator.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const sluice::RoutingTrace trace = sluice::parse_trace(std::as_bytes(std::span(data, size)), "the input");
    if (trace.n_slots_of_all() > (1 << 16)) return 0;
    for (const std::string_view policy : sluice::cache_policy_names()) {
      for (const std::string_view split : sluice::cache_split_names()) {
        const auto counts = sluice::simulate_cache(
            trace, 3, sluice::make_cache_policy(std::string(policy), std::string(split)));
        if (counts.misses < sluice::simulate_best(trace, 3).misses) __builtin_trap();
      }
    }
  } catch (const sluice::Error&) {
  }
  return 0;
}
