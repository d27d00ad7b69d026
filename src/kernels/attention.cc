// Attention cut into tasks for the thread pool: tiles of query rows, and, where those are too few to feed the
// threads, segments of their contexts as well. Either way a tile's segments are reduced one by one from
// scratch and merged in ascending order, so the cut does not show in the result.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>
#include <vector>

#include "base/align.h"
#include "base/check.h"
#include "kernels/table.h"

namespace sluice {
namespace {

// Fewer tiles than so many per thread are cut along the context: threads would idle at the end.
constexpr int kTilesPerThread = 4;
// Segments of one sequence that scratch holds at a time.
constexpr int64_t kScratchSegments = 32;
// Rows times out_stride of a tile, on the stack of its thread.
constexpr int64_t kTileFloats = kAttentionRows * 128;
static_assert(kTileFloats >= kMaxHeadDim);

int64_t rows_per_tile(int64_t head_dim) {
  return std::min(kAttentionRows, kTileFloats / attention_out_stride(head_dim));
}

// One AttentionTask and where its tiles begin in the numbering of all.
struct Slice {
  AttentionSegmentFn segment;
  AttentionArgs args;
  int64_t n_rows;
  int64_t tile_rows;
  int64_t first_tile;
};

struct Tile {
  AttentionSegmentFn segment;
  AttentionArgs args;
  int64_t next_segment;  // to be reduced
  int64_t end_segment;
  float* state = nullptr;  // maximum [n], total [n]

  int64_t n_rows() const { return args.row_end - args.row_begin; }
};

Tile tile_of(const std::vector<Slice>& slices, int64_t tile) {
  const auto after = std::upper_bound(slices.begin(), slices.end(), tile,
                                      [](int64_t t, const Slice& slice) { return t < slice.first_tile; });
  const Slice& slice = *(after - 1);
  AttentionArgs args = slice.args;
  args.row_begin = (tile - slice.first_tile) * slice.tile_rows;
  args.row_end = std::min(args.row_begin + slice.tile_rows, slice.n_rows);
  const int64_t first_position = args.first_position + args.row_begin / args.group;
  const int64_t end_key = args.first_position + (args.row_end - 1) / args.group + 1;
  args.fetch_end = end_key;
  const int64_t first_key = args.window > 0 ? std::max<int64_t>(first_position + 1 - args.window, 0) : 0;
  return {slice.segment, args, first_key / kAttentionSegment, (end_key - 1) / kAttentionSegment + 1};
}

void begin_tile(const Tile& tile) {
  std::fill_n(tile.state, tile.n_rows(), -std::numeric_limits<float>::infinity());
  std::fill_n(tile.state + tile.n_rows(), tile.n_rows(), 0.0F);
  for (int64_t i = tile.args.row_begin; i < tile.args.row_end; ++i) {
    float* const out = tile.args.out + i / tile.args.group * tile.args.out_stride;
    std::fill_n(out + i % tile.args.group * tile.args.head_dim, tile.args.head_dim, 0.0F);
  }
}

void run_tile(const KernelTable& table, Tile tile) {
  alignas(kCacheLineBytes) std::array<float, attention_out_offset(kAttentionRows) + kTileFloats> partial;
  std::array<float, 2 * kAttentionRows> state;
  tile.state = state.data();
  begin_tile(tile);
  for (int64_t segment = tile.next_segment; segment < tile.end_segment; ++segment) {
    tile.segment(tile.args, segment, partial.data());
    table.attention_merge(tile.args, partial.data(), tile.state);
  }
  table.attention_finish(tile.args, tile.state);
}

// All tiles segment by segment, as many segments at a time as there is room for. Who ends the last of a
// tile's segments merges them.
void run_segments(const Compute& compute, std::vector<Tile>& tiles, std::span<float> scratch) {
  struct Item {
    size_t tile;
    int64_t segment;
    float* partial;
  };
  float* room = scratch.data();
  float* const room_end = room + scratch.size();
  for (Tile& tile : tiles) {
    tile.state = room;
    room += attention_out_offset(tile.n_rows());
    begin_tile(tile);
  }
  std::vector<Item> items;
  std::vector<size_t> first_item(tiles.size());
  std::vector<std::atomic<int64_t>> unfinished(tiles.size());
  for (size_t first_tile = 0; first_tile < tiles.size();) {
    items.clear();
    float* at = room;
    const auto fits = [&](const Tile& tile) {
      return attention_partial_floats(tile.n_rows(), tile.args.head_dim) <= room_end - at;
    };
    for (size_t t = first_tile; t < tiles.size() && fits(tiles[t]); ++t) {
      Tile& tile = tiles[t];
      first_item[t] = items.size();
      for (; tile.next_segment < tile.end_segment && fits(tile); ++tile.next_segment) {
        items.push_back({t, tile.next_segment, at});
        at += attention_partial_floats(tile.n_rows(), tile.args.head_dim);
      }
      unfinished[t].store(static_cast<int64_t>(items.size() - first_item[t]), std::memory_order_relaxed);
      if (tile.next_segment < tile.end_segment) break;
      first_tile = t + 1;
    }
    SLUICE_CHECK(!items.empty());
    compute.pool->run(static_cast<int64_t>(items.size()), [&](int64_t i, int) {
      const Item& item = items[static_cast<size_t>(i)];
      const Tile& tile = tiles[item.tile];
      AttentionArgs args = tile.args;
      args.fetch_end = std::min(args.fetch_end, (item.segment + 1) * kAttentionSegment);
      tile.segment(args, item.segment, item.partial);
      if (unfinished[item.tile].fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      for (size_t k = first_item[item.tile]; k < items.size() && items[k].tile == item.tile; ++k) {
        compute.table->attention_merge(args, items[k].partial, tile.state);
      }
      if (tile.next_segment == tile.end_segment) compute.table->attention_finish(args, tile.state);
    });
  }
}

}  // namespace

void store_keys(const Compute& compute, KvType type, const float* src, int64_t stride, int64_t n,
                int64_t head_dim, std::byte* dst, int64_t slot) {
  alignas(kCacheLineBytes) std::array<std::byte, kMaxHeadDim * sizeof(float)> row;
  SLUICE_CHECK(head_dim <= kMaxHeadDim && slot + n <= kKvBlockTokens);
  const size_t bytes = kv_type_bytes(type);
  std::byte* const scales = dst + static_cast<size_t>(kKvBlockTokens * head_dim) * bytes;
  for (int64_t i = slot; i < slot + n; ++i, src += stride) {
    if (type == KvType::kInt8) {
      const float scale = compute.table->quantize_kv(src, reinterpret_cast<int8_t*>(row.data()), head_dim);
      std::memcpy(scales + static_cast<size_t>(i) * sizeof(scale), &scale, sizeof(scale));
    } else {
      compute.table->convert_kv(type, src, row.data(), head_dim);
    }
    const auto scatter = [&]<size_t kBytes>(std::array<std::byte, kBytes>) {
      for (int64_t d = 0; d < head_dim; ++d) {
        std::memcpy(dst + static_cast<size_t>(d * kKvBlockTokens + i) * kBytes,
                    row.data() + static_cast<size_t>(d) * kBytes, kBytes);
      }
    };
    if (bytes == 1)
      scatter(std::array<std::byte, 1>());
    else if (bytes == 2)
      scatter(std::array<std::byte, 2>());
    else
      scatter(std::array<std::byte, 4>());
  }
}

void store_values(const Compute& compute, KvType type, const float* src, int64_t stride, int64_t n,
                  int64_t head_dim, std::byte* dst, int64_t slot) {
  SLUICE_CHECK(slot + n <= kKvBlockTokens);
  const size_t row_bytes = static_cast<size_t>(head_dim) * kv_type_bytes(type);
  std::byte* const scales = dst + static_cast<size_t>(kKvBlockTokens) * row_bytes;
  for (int64_t i = slot; i < slot + n; ++i, src += stride) {
    std::byte* const row = dst + static_cast<size_t>(i) * row_bytes;
    if (type == KvType::kInt8) {
      const float scale = compute.table->quantize_kv(src, reinterpret_cast<int8_t*>(row), head_dim);
      std::memcpy(scales + static_cast<size_t>(i) * sizeof(scale), &scale, sizeof(scale));
    } else {
      compute.table->convert_kv(type, src, row, head_dim);
    }
  }
}

int64_t attention_scratch_floats(int64_t n_heads, int64_t head_dim) {
  // A tile's states and one partial at least, and a partial of each head's every segment. One row alone pads
  // its part of a partial most.
  return (kScratchSegments + 1) * n_heads * attention_partial_floats(1, head_dim) +
         attention_partial_floats(rows_per_tile(head_dim), head_dim);
}

void attention(const Compute& compute, std::span<const AttentionTask> tasks, std::span<float> scratch) {
  std::vector<Slice> slices;
  slices.reserve(tasks.size());
  int64_t n_tiles = 0;
  for (const AttentionTask& task : tasks) {
    if (task.n_queries == 0) continue;
    const int64_t n_keys = task.first_position + task.n_queries;
    SLUICE_CHECK(static_cast<int64_t>(task.blocks.size()) * kKvBlockTokens >= n_keys);
    SLUICE_CHECK(task.head_dim <= kMaxHeadDim && task.scale > 0);
    Slice slice = {};
    slice.segment = compute.table->attention_segment[static_cast<size_t>(task.kv_type)];
    slice.args = {.row_begin = 0,
                  .row_end = 0,
                  .fetch_end = 0,
                  .q = task.q,
                  .q_stride = task.q_stride,
                  .first_position = task.first_position,
                  .blocks = task.blocks.data(),
                  .k_offset = task.k_offset,
                  .v_offset = task.v_offset,
                  .group = task.group,
                  .head_dim = task.head_dim,
                  .window = task.window,
                  .scale = task.scale,
                  .sinks = task.sinks,
                  .out = task.out,
                  .out_stride = task.out_stride};
    slice.n_rows = task.n_queries * task.group;
    slice.tile_rows = rows_per_tile(task.head_dim);
    slice.first_tile = n_tiles;
    n_tiles += (slice.n_rows + slice.tile_rows - 1) / slice.tile_rows;
    slices.push_back(slice);
  }

  const int n_threads = compute.pool->size();
  if (n_threads > 1 && n_tiles < int64_t{kTilesPerThread} * n_threads) {
    std::vector<Tile> tiles;
    int64_t longest = 0, state_floats = 0, partial_floats = 0;
    for (int64_t i = 0; i < n_tiles; ++i) {
      tiles.push_back(tile_of(slices, i));
      const Tile& tile = tiles.back();
      longest = std::max(longest, tile.end_segment - tile.next_segment);
      state_floats += attention_out_offset(tile.n_rows());
      partial_floats = std::max(partial_floats, attention_partial_floats(tile.n_rows(), tile.args.head_dim));
    }
    if (longest > 1 && state_floats + partial_floats <= static_cast<int64_t>(scratch.size())) {
      return run_segments(compute, tiles, scratch);
    }
  }
  compute.pool->run(n_tiles, [&](int64_t tile, int) { run_tile(*compute.table, tile_of(slices, tile)); });
}

}  // namespace sluice
