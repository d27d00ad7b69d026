#include "store/layout.h"

#include <algorithm>
#include <numeric>

#include "base/align.h"

namespace sluice {

void lay_out(std::span<const Extent> extents, IoMode mode, Layout& layout) {
  const uint64_t unit = mode == IoMode::kDirect ? kPageBytes : 1;
  layout.segments.clear();
  layout.extent_at.assign(extents.size(), 0);
  layout.room = 0;

  // `extent_at` first holds the extents' order on disk, so that no further memory is needed.
  std::vector<uint64_t>& at = layout.extent_at;
  std::iota(at.begin(), at.end(), 0);
  if (extents.size() > 1) {
    std::sort(at.begin(), at.end(), [&](uint64_t a, uint64_t b) {
      return std::pair(extents[a].file, extents[a].offset) < std::pair(extents[b].file, extents[b].offset);
    });
  }
  for (uint64_t index : at) {
    const Extent& extent = extents[index];
    const uint64_t begin = round_down(extent.offset, unit);
    const uint64_t end = round_up(extent.offset + extent.bytes, unit);
    Segment* last = layout.segments.empty() ? nullptr : &layout.segments.back();
    if (last != nullptr && last->file == extent.file && begin <= last->offset + last->bytes) {
      last->bytes = std::max(last->bytes, end - last->offset);
    } else {
      layout.segments.push_back({extent.file, begin, end - begin, 0});
    }
  }
  for (Segment& segment : layout.segments) {
    segment.at = layout.room;
    layout.room += round_up(segment.bytes, kCacheLineBytes);
  }
  for (size_t i = 0; i < extents.size(); ++i) {
    const Extent& extent = extents[i];
    const auto holds = [&](const Segment& s) {
      return s.file == extent.file && s.offset <= extent.offset &&
             extent.offset + extent.bytes <= s.offset + s.bytes;
    };
    const auto segment = std::find_if(layout.segments.begin(), layout.segments.end(), holds);
    at[i] = segment->at + (extent.offset - segment->offset);
  }
}

}  // namespace sluice
