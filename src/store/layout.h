// How the extents of a unit, or of some of its rows, lie in memory: which contiguous reads bring them, and
// where each extent is found afterwards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "platform/file.h"
#include "store/weight_store.h"

namespace sluice {

// One contiguous read.
struct Segment {
  uint32_t file = 0;
  uint64_t offset = 0;  // in the file
  uint64_t bytes = 0;
  uint64_t at = 0;  // in the room
};

struct Layout {
  std::vector<Segment> segments;
  std::vector<uint64_t> extent_at;  // [n_extents] where each extent begins in the room
  uint64_t room = 0;                // bytes that all this takes
};

// How a unit is read where the others are read with `mode`: what is kPinned is read once, and many small
// extents in whole pages would take a multiple of their bytes for good.
inline IoMode mode_of(const UnitSpec& unit, IoMode mode) {
  return unit.kind == UnitKind::kPinned ? IoMode::kBuffered : mode;
}

// Extents that touch on disk become one segment. With kDirect a segment is whole pages and the extents lie
// inside it wherever the file has them; with kBuffered it is exact and starts on a cache line. Reuses the
// memory of `layout`.
void lay_out(std::span<const Extent> extents, IoMode mode, Layout& layout);

}  // namespace sluice
