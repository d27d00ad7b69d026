// The two ways in which weight rows lie in memory (encoding/encoding.h), and what the products need of each:
// rows in the lanes of vectors, and their bytes brought to the cache ahead.

// Bytes of `chunk` columns of each plane of a row.
template <int kPlanes>
struct ChunkBytes {
  uint64_t plane[kPlanes];

  ChunkBytes(const MatmulArgs& a, int64_t chunk) {
    for (int p = 0; p < kPlanes; ++p) {
      plane[p] = a.row_bytes[p] * static_cast<uint64_t>(chunk) / static_cast<uint64_t>(a.cols);
    }
  }
};

inline const std::byte* line_at(const std::byte* p) {  // the first not before p
  return p + (-reinterpret_cast<uintptr_t>(p) & 63);
}

// Weight rows in the lanes, by plane.
template <class Row>
struct RowsOf {
  Row plane[kMaxPlanes];
  EncodingParams params;
};

// Where woven weights are brought before they are multiplied: to the second-level cache, the first, or
// nowhere.
enum class Lead { kFar, kNear, kNone };

// One row after another.
struct RowMajor {
  using Rows = RowsOf<LaneRows>;

  // n >= 1 rows (of more, the first kLanes), `apart` rows from each to the next.
  static SLUICE_INLINE Rows rows_at(const MatmulArgs& w, int64_t first, int64_t apart, int64_t n) {
    Rows rows;
    rows.params = w.params;
    for (size_t p = 0; p < kMaxPlanes; ++p) {
      const auto stride = static_cast<int64_t>(w.stride[p]);
      rows.plane[p] = lane_rows(w.plane[p] + first * stride, stride * apart, n < kLanes ? n : kLanes);
    }
    return rows;
  }

  // Lane l holds a stream of rows: with few inputs memory's prefetcher follows that, and not short pieces of
  // neighbouring rows.
  static constexpr bool kHasStreams = true;

  // The columns that are decoded after the present ones, brought into the second-level cache meanwhile, a few
  // lanes at a time.
  template <int kPlanes>
  class Ahead {
   public:
    // Chunk `index` of n_lanes rows from `row` on, `apart` rows from lane to lane.
    Ahead(const MatmulArgs& a, int64_t row, int64_t apart, int64_t n_lanes, const ChunkBytes<kPlanes>& bytes,
          uint64_t index, int64_t n_steps)
        : args_(a), row_(row), apart_(apart), left_(n_lanes), step_((n_lanes + n_steps - 1) / n_steps) {
      SLUICE_UNROLL for (int p = 0; p < kPlanes; ++p) {
        begin_[p] = bytes.plane[p] * index;
        end_[p] = begin_[p] + bytes.plane[p];
        if (end_[p] > a.row_bytes[p])
          end_[p] = a.row_bytes[p];  // and nothing where that ends before it begins
      }
    }

    void fetch() {
      for (int64_t i = 0; i < step_ && left_ > 0 && row_ < args_.rows; ++i, --left_, row_ += apart_) {
        SLUICE_UNROLL for (int p = 0; p < kPlanes; ++p) {
          const std::byte* const start = args_.plane[p] + static_cast<uint64_t>(row_) * args_.stride[p];
          const std::byte* const end = start + end_[p];
          // A line that begins earlier belongs to the columns before.
          for (const std::byte* at = line_at(start + begin_[p]); at < end; at += 64) prefetch_far(at);
        }
      }
    }

   private:
    const MatmulArgs& args_;
    int64_t row_, apart_, left_, step_;
    uint64_t begin_[kPlanes], end_[kPlanes];  // bytes within a row
  };
  template <class Product>
  using AheadFor = Ahead<Product::kPlanes>;
};

// The words from byte kAt on of some that were read in order.
template <int kAt, int kWords>
SLUICE_INLINE void words_at(const I* read, I* out) {
  constexpr int kShift = kAt % 4 * 8;
  SLUICE_UNROLL for (int j = 0; j < kWords; ++j) {
    const I* const at = read + kAt / 4 + j;
    if constexpr (kShift == 0)
      out[j] = at[0];
    else
      out[j] = i_or(i_shr<kShift>(at[0]), i_shl<32 - kShift>(at[1]));
  }
}

// kLanes neighbours in a woven group: one word of each is one vector.
struct WovenLanes {
  static constexpr int64_t kWordBytes = kWovenRows * kWovenWord;  // from word to word
  const std::byte* base;

  const std::byte* word(int64_t offset) const {  // that byte `offset` of the rows is in
    return base + static_cast<uint64_t>(offset) / kWovenWord * kWordBytes;
  }
};
// As for rows that lie apart, N a multiple of 4.
template <int N>
SLUICE_INLINE void load_rows(const WovenLanes& row, int64_t offset, I* out) {
  const std::byte* const word = row.word(offset);
  const auto load = [&](I* to, int n) SLUICE_LAMBDA_INLINE {
    SLUICE_UNROLL for (int j = 0; j < n; ++j) to[j] = i_load(word + j * WovenLanes::kWordBytes);
  };
  const auto within = static_cast<uint64_t>(offset) % kWovenWord;
  if (within == 0) return load(out, N / 4);
  I read[N / 4 + 1];
  load(read, N / 4 + 1);
  if (within == 2) return words_at<2, N / 4>(read, out);
  if (within == 1) return words_at<1, N / 4>(read, out);
  words_at<3, N / 4>(read, out);
}
SLUICE_INLINE I load_rows_u16(const WovenLanes& row, int64_t offset) {
  const I word = i_load(row.word(offset));
  return offset % 4 == 0 ? i_and(word, i_set(0xffff)) : i_shr<16>(word);
}

struct Woven {
  using Rows = RowsOf<WovenLanes>;

  // The kLanes rows that `first` is among.
  static SLUICE_INLINE Rows rows_at(const MatmulArgs& w, int64_t first, int64_t /*apart*/, int64_t /*n*/) {
    const int64_t group = first / kWovenRows * kWovenRows, within = (first - group) / kLanes * kLanes;
    Rows rows;
    rows.params = w.params;
    for (size_t p = 0; p < kMaxPlanes; ++p) {
      rows.plane[p].base = w.plane[p] + group * static_cast<int64_t>(w.stride[p]) + within * kWovenWord;
    }
    return rows;
  }

  static constexpr bool kHasStreams = false;

  // As above: a few lines of each group at a time.
  template <int kPlanes, bool kIsNear>
  class Ahead {
   public:
    Ahead(const MatmulArgs& a, int64_t row, int64_t /*apart*/, int64_t n_lanes,
          const ChunkBytes<kPlanes>& bytes, uint64_t index, int64_t n_steps)
        : n_groups_((n_lanes + kWovenRows - 1) / kWovenRows) {
      const int64_t left = (a.rows - row) / kWovenRows;
      if (n_groups_ > left) n_groups_ = left;
      SLUICE_UNROLL for (int p = 0; p < kPlanes; ++p) {
        const uint64_t begin = bytes.plane[p] * index * kWovenRows, row_end = a.row_bytes[p] * kWovenRows;
        const uint64_t n = bytes.plane[p] * kWovenRows;
        const std::byte* const group = a.plane[p] + static_cast<uint64_t>(row) * a.stride[p];
        group_bytes_[p] = a.stride[p] * kWovenRows;
        at_[p] = line_at(group + begin);
        end_[p] = group + (begin + n < row_end ? begin + n : row_end);
        step_[p] = (static_cast<int64_t>(n) + 64 * n_steps - 1) / (64 * n_steps) * 64;
      }
    }

    void fetch() {
      SLUICE_UNROLL for (int p = 0; p < kPlanes; ++p) {
        const std::byte* const until = end_[p] - at_[p] < step_[p] ? end_[p] : at_[p] + step_[p];
        for (; at_[p] < until; at_[p] += 64) {
          for (int64_t g = 0; g < n_groups_; ++g) {
            const std::byte* const line = at_[p] + static_cast<uint64_t>(g) * group_bytes_[p];
            if (kIsNear)
              prefetch(line);
            else
              prefetch_far(line);
          }
        }
      }
    }

   private:
    int64_t n_groups_;
    const std::byte *at_[kPlanes], *end_[kPlanes];
    int64_t step_[kPlanes];
    uint64_t group_bytes_[kPlanes];
  };

  // For one input, whose reads in order the prefetchers follow best when left alone.
  struct Nothing {
    template <class... Args>
    explicit Nothing(const Args&...) {}
    void fetch() {}
  };
  template <class Product>
  using AheadFor = std::conditional_t<Product::kLead == Lead::kNone, Nothing,
                                      Ahead<Product::kPlanes, Product::kLead == Lead::kNear>>;
};

// See table.h.
inline void weave_rows(std::byte* rows, int64_t n_rows, uint64_t row_bytes, std::byte* scratch) noexcept {
  const auto n_bytes = static_cast<int64_t>(row_bytes);
  const auto apart = static_cast<int64_t>(weave_scratch_stride(row_bytes));
  for (int64_t first = 0; first < n_rows; first += kWovenRows) {
    std::byte* const group = rows + first * n_bytes;
    for (int64_t r = 0; r < kWovenRows; ++r) {
      __builtin_memcpy(scratch + r * apart, group + r * n_bytes, row_bytes);
    }
    for (int64_t lane = 0; lane < kWovenRows; lane += kLanes) {
      const LaneRows from = lane_rows(scratch + lane * apart, apart, kLanes);
      std::byte* to = group + lane * kWovenWord;
      I word[16];
      int64_t at = 0;
      for (; at + 64 <= n_bytes; at += 64) {
        load_rows<64>(from, at, word);
        SLUICE_UNROLL for (int j = 0; j < 16; ++j, to += WovenLanes::kWordBytes) i_store(to, word[j]);
      }
      for (; at < n_bytes; at += 4, to += WovenLanes::kWordBytes) {
        load_rows<4>(from, at, word);
        i_store(to, word[0]);
      }
    }
  }
}
