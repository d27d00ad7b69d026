#pragma once

#include <cstdint>

namespace sluice {

// Monotonic time in nanoseconds / seconds from an arbitrary origin.
uint64_t monotonic_ns();
inline double monotonic_seconds() { return static_cast<double>(monotonic_ns()) * 1e-9; }

}  // namespace sluice
