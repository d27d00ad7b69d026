// Which rows the lanes of a vector hold. Included by vec_<isa>.inl.h once kLanes is known.

// kLanes rows, `stride` bytes apart, in groups of four: lane 4k + i reads base[k] + apart[i]. With fewer rows
// than lanes some rows stand in two lanes: a group starts early enough to be whole. A few bases and distances
// stay in registers, where a pointer a lane would be read again for every load.
struct LaneRows {
  const std::byte* base[kLanes / 4];
  int64_t apart[4];

  const std::byte* at(int lane, int64_t offset) const { return base[lane / 4] + offset + apart[lane % 4]; }
};

// Row of the n >= 1 in `lane`.
SLUICE_INLINE int64_t row_of_lane(int lane, int64_t n) {
  const int64_t i = lane % 4, start = lane - i;
  if (n < 4) return i < n ? i : n - 1;
  return (start < n - 4 ? start : n - 4) + i;
}

SLUICE_INLINE LaneRows lane_rows(const std::byte* first, int64_t stride, int64_t n) {
  LaneRows rows;
  SLUICE_UNROLL for (int k = 0; k < kLanes / 4; ++k) {
    rows.base[k] = first + (n < 4 ? 0 : row_of_lane(4 * k, n)) * stride;
  }
  SLUICE_UNROLL for (int i = 0; i < 4; ++i) rows.apart[i] = (i < n ? i : n - 1) * stride;
  return rows;
}
