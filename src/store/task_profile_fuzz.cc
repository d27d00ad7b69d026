// Task profiles from arbitrary bytes, with a checksum that is right: what is read must be usable without harm
// and come back as it was.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "sluice/error.h"
#include "store/task_profile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), data, size);
  if (size >= sizeof(uint64_t)) {
    const uint64_t hash = sluice::fnv1a(std::span(bytes).first(size - sizeof(hash)));
    std::memcpy(bytes.data() + size - sizeof(hash), &hash, sizeof(hash));
  }
  try {
    const sluice::TaskProfile profile = sluice::parse_task_profile(bytes, "the input");
    if (sluice::task_profile_bytes(profile) != bytes) __builtin_trap();
    const std::vector<float> rates = profile.rates();
    if (!std::all_of(rates.begin(), rates.end(), [](float rate) { return rate >= 0 && rate <= 1; }))
      __builtin_trap();
    if (!(profile.coverage(0.5) >= 0)) __builtin_trap();
    sluice::hottest_units(rates, 3);
  } catch (const sluice::Error&) {
  }
  return 0;
}
