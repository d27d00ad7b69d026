// FNV-1a (Fowler, Noll, Vo) of 64 bits: tells files apart that differ by accident, not by intent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

inline constexpr uint64_t kFnvStart = 0xcbf29ce484222325;

inline uint64_t fnv1a(std::span<const std::byte> bytes, uint64_t hash = kFnvStart) {
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001b3;
  return hash;
}

}  // namespace sluice
