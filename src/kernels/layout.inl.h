// The two ways in which weight rows lie in memory (encoding/woven.h), and what the products need of each:
// rows in the lanes of vectors, as bytes of a plane or as blocks, and their bytes brought to the cache ahead.

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

// Block `index` of kLanes rows that lie apart. As all that know blocks it has
//   read<kAt, kBytes>(out)   bytes from kAt on: whole words, all in one part of its form
//   half(), byte()           what is loose in it: an f16, or a byte
template <Encoding kEncoding>
struct RowBlock {
  static constexpr WovenForm kForm = woven_form(kEncoding);
  const LaneRows& row;
  int64_t begin;  // byte of a row

  RowBlock(const LaneRows& rows, int64_t index) : row(rows), begin(index * kForm.block) {}

  template <int kAt, int kBytes>
  SLUICE_INLINE void read(I* out) const {
    constexpr int kPiece = kBytes >= 64 ? 64 : kBytes >= 32 ? 32 : kBytes >= 16 ? 16 : kBytes;
    load_rows<kPiece>(row, begin + kAt, out);
    if constexpr (kBytes > kPiece) read<kAt + kPiece, kBytes - kPiece>(out + kPiece / 4);
  }
  // Read as the 16 bytes that a block begins or ends with: that costs less than 16 bits for each row.
  SLUICE_INLINE F half() const {
    constexpr bool kIsFirst = kForm.loose_at == 0;
    I words[4];
    load_rows<16>(row, begin + (kIsFirst ? 0 : kForm.block - 16), words);
    return kIsFirst ? f16_low(words[0]) : f16_high(words[3]);
  }
  SLUICE_INLINE I byte() const {
    I words[4];
    load_rows<16>(row, begin, words);
    return i_and(words[0], i_set(0xff));
  }
};

// kLanes neighbours in a woven group: one word of each is one vector.
struct WovenLanes {
  const std::byte* base;  // the first line of the group, where the first word of the first of them is
  int64_t lane;           // of the group that is the first of them

  const std::byte* word(
      int64_t offset) const {  // that byte `offset` of rows whose words keep their order is in
    return base + static_cast<uint64_t>(offset) / kWovenWord * kWovenLine;
  }
};
// As for rows that lie apart, where words keep their order; N is a multiple of 4.
template <int N>
SLUICE_INLINE void load_rows(const WovenLanes& row, int64_t offset, I* out) {
  const std::byte* const word = row.word(offset);
  const auto load = [&](I* to, int n) SLUICE_LAMBDA_INLINE {
    SLUICE_UNROLL for (int j = 0; j < n; ++j) {
      to[j] = i_load(word + j * kWovenLine);
      if constexpr (N > 4) i_keep(to[j]);  // as WovenBlock does
    }
  };
  if (offset % kWovenWord == 0) return load(out, N / 4);
  I read[N / 4 + 1];
  load(read, N / 4 + 1);
  words_at<2, N / 4>(read, out);
}
SLUICE_INLINE I load_rows_u16(const WovenLanes& row, int64_t offset) {
  const I word = i_load(row.word(offset));
  return offset % kWovenWord == 0 ? i_and(word, i_set(0xffff)) : i_shr<16>(word);
}

template <Encoding kEncoding>
struct WovenBlock {
  static constexpr WovenForm kForm = woven_form(kEncoding);
  const std::byte *words, *loose;

  WovenBlock(const WovenLanes& rows, int64_t index) {
    constexpr uint64_t kBlocks = kForm.n_unit_blocks();
    const uint64_t unit = static_cast<uint64_t>(index) / kBlocks, i = static_cast<uint64_t>(index) % kBlocks;
    const std::byte* const begin =
        rows.base + unit * static_cast<uint64_t>(kForm.n_unit_lines() * kWovenLine);
    words = begin + ((kForm.loose > 0) + i * kForm.n_words()) * kWovenLine;
    const int64_t lane = kLanes == kWovenRows ? 0 : rows.lane;
    loose = begin + i * (kWovenRows * kForm.loose) - lane * (kWovenWord - kForm.loose);
  }

  // Spread among the arithmetic, fewer loads would wait for memory at once (Q5_K, one core: 0.8 of the
  // speed).
  template <int kAt, int kBytes>
  SLUICE_INLINE void read(I* out) const {
    constexpr int kWord = kForm.word_of(kAt);
    static_assert(kWord >= 0 && kForm.word_of(kAt + kBytes - 1) == kWord + kBytes / kWovenWord - 1);
    SLUICE_UNROLL for (int j = 0; j < kBytes / kWovenWord; ++j) {
      out[j] = i_load(words + (kWord + j) * kWovenLine);
      i_keep(out[j]);
    }
  }
  SLUICE_INLINE F half() const { return f16_load(loose); }
  SLUICE_INLINE I byte() const { return u8_load(loose); }
};

template <Encoding kEncoding>
SLUICE_INLINE RowBlock<kEncoding> block_of(const RowsOf<LaneRows>& rows, int64_t index) {
  return {rows.plane[0], index};
}
template <Encoding kEncoding>
SLUICE_INLINE WovenBlock<kEncoding> block_of(const RowsOf<WovenLanes>& rows, int64_t index) {
  return {rows.plane[0], index};
}

struct Woven {
  using Rows = RowsOf<WovenLanes>;

  // The kLanes rows that `first` is among.
  static SLUICE_INLINE Rows rows_at(const MatmulArgs& w, int64_t first, int64_t /*apart*/, int64_t /*n*/) {
    const int64_t group = first / kWovenRows * kWovenRows, lane = (first - group) / kLanes * kLanes;
    Rows rows;
    rows.params = w.params;
    for (size_t p = 0; p < kMaxPlanes; ++p) {
      rows.plane[p] = {w.plane[p] + group * static_cast<int64_t>(w.stride[p]) + lane * kWovenWord, lane};
    }
    return rows;
  }

  static constexpr bool kHasStreams = false;

  // As above: a few lines of each group at a time.
  template <int kPlanes, bool kIsOneGroup, bool kIsNear>
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
        end_[p] = n_groups_ < 1 ? at_[p] : group + (begin + n < row_end ? begin + n : row_end);
        step_[p] = (static_cast<int64_t>(n) + 64 * n_steps - 1) / (64 * n_steps) * 64;
      }
    }

    void fetch() {
      SLUICE_UNROLL for (int p = 0; p < kPlanes; ++p) {
        const std::byte* const until = end_[p] - at_[p] < step_[p] ? end_[p] : at_[p] + step_[p];
        for (; at_[p] < until; at_[p] += 64) {
          for (int64_t g = 0; g < (kIsOneGroup ? 1 : n_groups_); ++g) {
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
  using AheadFor = std::conditional_t<
      Product::kLead == Lead::kNone, Nothing,
      Ahead<Product::kPlanes, Product::kGroups * kLanes <= kWovenRows, Product::kLead == Lead::kNear>>;
};

// See table.h.
inline void weave_rows(std::byte* rows, int64_t n_rows, uint64_t row_bytes, const WovenForm& form,
                       std::byte* scratch) noexcept {
  const auto n_bytes = static_cast<int64_t>(row_bytes);
  const auto apart = static_cast<int64_t>(weave_scratch_stride(row_bytes));
  for (int64_t first = 0; first < n_rows; first += kWovenRows) {
    std::byte* const group = rows + first * n_bytes;
    for (int64_t r = 0; r < kWovenRows; ++r) {
      __builtin_memcpy(scratch + r * apart, group + r * n_bytes, row_bytes);
    }
    for_each_woven_run(form, row_bytes, [&](uint64_t begin, uint64_t place, uint64_t n_run, int width) {
      const auto first_byte = static_cast<int64_t>(begin);
      if (width < kWovenWord) {
        const std::byte* const from = scratch + first_byte;
        std::byte* const to = group + place;
        for (int64_t r = 0; width == 2 && r < kWovenRows; ++r)
          __builtin_memcpy(to + 2 * r, from + r * apart, 2);
        for (int64_t r = 0; width == 1 && r < kWovenRows; ++r) to[r] = from[r * apart];
        return;
      }
      for (int64_t lane = 0; lane < kWovenRows; lane += kLanes) {
        const LaneRows from = lane_rows(scratch + lane * apart, apart, kLanes);
        std::byte* to = group + place + lane * kWovenWord;
        const int64_t end = first_byte + static_cast<int64_t>(n_run);
        I word[16];
        int64_t at = first_byte;
        for (; at + 64 <= end; at += 64) {
          load_rows<64>(from, at, word);
          SLUICE_UNROLL for (int j = 0; j < 16; ++j, to += kWovenLine) i_store(to, word[j]);
        }
        for (; at + 16 <= end; at += 16) {
          load_rows<16>(from, at, word);
          SLUICE_UNROLL for (int j = 0; j < 4; ++j, to += kWovenLine) i_store(to, word[j]);
        }
        for (; at < end; at += 4, to += kWovenLine) {
          load_rows<4>(from, at, word);
          i_store(to, word[0]);
        }
      }
    });
  }
}
