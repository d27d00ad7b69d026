#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <list>
#include <map>
#include <set>

#include "base/align.h"
#include "sluice/error.h"
#include "store/weight_store.h"
#include "tests/faulty_reader.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using test::Faults;
using test::FaultyReader;

// The byte at an offset of a file, so that contents are checked without keeping a copy.
std::byte byte_at(uint32_t file, uint64_t offset) {
  uint64_t x = (offset + 1) * 0x9e3779b97f4a7c15u + file * 0xbf58476d1ce4e5b9u;
  x ^= x >> 29;
  return static_cast<std::byte>(x * 0x94d049bb133111ebu >> 56);
}

// Files on disk with known bytes, and units that cover them.
class Weights {
 public:
  explicit Weights(std::vector<uint64_t> file_bytes)
      : directory_(fs::path(testing::TempDir()) /
                   ("sluice_store_" + std::to_string(::getpid()) + "_" + std::to_string(counter_++))) {
    fs::create_directories(directory_);
    for (uint32_t f = 0; f < file_bytes.size(); ++f) {
      std::string bytes(file_bytes[f], '\0');
      for (uint64_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(byte_at(f, i));
      paths.push_back((directory_ / std::to_string(f)).string());
      std::ofstream(paths.back(), std::ios::binary) << bytes;
    }
  }
  ~Weights() { fs::remove_all(directory_); }

  UnitId add(UnitKind kind, int64_t rows, std::vector<Extent> extents) {
    units.push_back({kind, std::move(extents), rows});
    return static_cast<UnitId>(units.size() - 1);
  }

  std::vector<std::string> paths;
  std::vector<UnitSpec> units;

 private:
  static inline int counter_ = 0;
  fs::path directory_;
};

// A small model: dense layers of several sizes, some with three planes apart on disk, experts, an embedding.
constexpr int kLayers = 6;
constexpr int kExperts = 8;
constexpr int64_t kVocabulary = 100;

struct SmallModel : Weights {
  SmallModel() : Weights({700'001, 900'003}) {
    uint64_t at = 11;  // nothing is aligned
    const auto take = [&at](uint64_t bytes) {
      at += bytes;
      return Extent{0, at - bytes, bytes};
    };
    // Scales and biases of the embedding lie apart from its values.
    embedding = add(UnitKind::kByRow, kVocabulary, {take(kVocabulary * 320), take(kVocabulary * 20)});
    units.back().extents.push_back({1, 850'000, kVocabulary * 20});
    for (uint64_t layer = 0; layer < kLayers; ++layer) {
      streamed.push_back(add(UnitKind::kStreamed, 1, {take(1 + 33 * layer)}));
      // The planes touch on disk and are listed in another order.
      const Extent biases = take(1000), scales = take(1000), values = take(40'000 + 1000 * layer);
      streamed.push_back(add(UnitKind::kStreamed, 4, {values, scales, biases}));
      for (uint64_t e = 0; e < kExperts; ++e) {
        const uint64_t slice = layer * kExperts + e;
        experts.push_back(add(UnitKind::kCached, 1,
                              {Extent{1, 5 + slice * 5000, 5000}, Extent{1, 300'000 + slice * 7000, 7000},
                               Extent{1, 700'000 + slice * 300, 300}}));
      }
    }
    streamed.push_back(add(UnitKind::kStreamed, 10, {take(90'000)}));  // the head
  }
  UnitId expert(int layer, int e) const { return experts[static_cast<size_t>(layer * kExperts + e)]; }

  UnitId embedding = 0;
  std::vector<UnitId> streamed;
  std::vector<UnitId> experts;
};

// Reads every byte of a range through views of one plane at a time.
bool range_is_right(const Weights& weights, const Lease& lease, size_t index, const UnitRange& range) {
  const UnitSpec& unit = weights.units[range.unit];
  const int64_t row_end = range.row_end < 0 ? unit.rows : range.row_end;
  for (size_t e = 0; e < unit.extents.size(); ++e) {
    WeightRef ref;
    ref.unit = range.unit;
    ref.first_extent = static_cast<uint8_t>(e);
    ref.rows = unit.rows;
    const WeightView view = lease.view(index, ref);
    const Extent& extent = unit.extents[e];
    const uint64_t stride = extent.bytes / static_cast<uint64_t>(unit.rows);
    if (view.rows != row_end - range.row_begin || view.stride[0] != stride) return false;
    const uint64_t begin = extent.offset + static_cast<uint64_t>(range.row_begin) * stride;
    for (uint64_t i = 0; i < static_cast<uint64_t>(view.rows) * stride; ++i) {
      if (view.plane[0][i] != byte_at(extent.file, begin + i)) return false;
    }
  }
  return true;
}

// One forward pass as a model makes it. Adds the result of every check to `ok`.
void forward(const SmallModel& model, WeightStore& store, std::mt19937& random, bool with_head, bool* ok) {
  std::vector<UnitRange> rows;
  for (int i = 0; i < 40; ++i) {
    const int64_t row = random() % kVocabulary;
    rows.push_back({model.embedding, row, row + 1});
  }
  {
    Lease lease = store.acquire(rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      lease.wait(i);
      *ok &= range_is_right(model, lease, i, rows[i]);
      lease.release(i);
    }
  }
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::vector<UnitRange> dense = {{model.streamed[static_cast<size_t>(2 * layer)]},
                                          {model.streamed[static_cast<size_t>(2 * layer + 1)]}};
    {
      Lease lease = store.acquire(dense);
      for (size_t i = 0; i < dense.size(); ++i) {
        lease.wait(i);
        *ok &= range_is_right(model, lease, i, dense[i]);
        lease.release(i);
      }
    }
    std::set<int> chosen;
    while (chosen.size() < 3) chosen.insert(static_cast<int>(random() % kExperts));
    std::vector<UnitRange> experts;
    for (int e : chosen) experts.push_back({model.expert(layer, e)});
    Lease lease = store.acquire(experts);
    size_t n = 0;
    while (const auto index = lease.wait_any()) {
      *ok &= range_is_right(model, lease, *index, experts[*index]);
      lease.release(*index);
      ++n;
    }
    *ok &= n == experts.size();
  }
  if (with_head) {
    const std::vector<UnitRange> head = {{model.streamed.back()}};
    Lease lease = store.acquire(head);
    lease.wait(0);
    *ok &= range_is_right(model, lease, 0, head[0]);
  }
}

struct Case {
  IoChoice io;
  bool faulty;
};

class StoreTest : public testing::TestWithParam<Case> {
 protected:
  StoreOptions options(uint64_t weight_bytes) {
    StoreOptions o;
    o.weight_bytes = weight_bytes;
    o.io = GetParam().io;
    o.queue_depth = 5;
    if (GetParam().faulty) {
      o.reader_factory = [this](size_t depth) -> std::unique_ptr<AsyncReader> {
        return std::make_unique<FaultyReader>(make_reader(depth), depth, faults_);
      };
    }
    return o;
  }
  std::shared_ptr<Faults> faults_ = std::make_shared<Faults>();
};

TEST_P(StoreTest, DeliversTheRightBytesAtEveryBudget) {
  faults_->max_delay_us = 50;
  const SmallModel model;
  const StoreNeeds needs = store_needs(model.units, 3);
  ASSERT_LT(needs.minimum, needs.one_token);
  ASSERT_LE(needs.one_token, needs.all);
  for (int step = 0; step <= 8; ++step) {
    const uint64_t bytes = needs.minimum + (needs.all - needs.minimum) * static_cast<uint64_t>(step) / 8;
    MemoryBudget budget(bytes);
    {
      WeightStore store(model.paths, model.units, options(UINT64_MAX), budget);
      uint64_t last = 0;
      store.load([&](uint64_t done, uint64_t total) {
        EXPECT_LE(last, done);
        EXPECT_LE(done, total);
        last = done;
      });
      std::mt19937 random(static_cast<uint32_t>(step));
      bool ok = true;
      for (int pass = 0; pass < 5; ++pass) forward(model, store, random, pass != 1 && pass != 2, &ok);
      EXPECT_TRUE(ok) << "budget " << bytes;
      const StoreStats stats = store.stats();
      EXPECT_EQ(stats.pinned_bytes + stats.cache_bytes + stats.ring_bytes, budget.used(MemoryUse::kWeights));
      EXPECT_EQ(stats.hits + stats.misses, 5u * kLayers * 3);
      if (step == 8 && GetParam().io == IoChoice::kBuffered) {
        EXPECT_EQ(stats.bytes_read, 0u);
        EXPECT_EQ(stats.misses, 0u);
      }
      if (step == 0) {
        EXPECT_GT(stats.streamed_bytes, 0u);
        EXPECT_GT(stats.bytes_read, 0u);
      }
    }
    EXPECT_LE(budget.peak(), bytes);
    EXPECT_EQ(budget.total(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, StoreTest,
                         testing::Values(Case{IoChoice::kBuffered, false}, Case{IoChoice::kDirect, false},
                                         Case{IoChoice::kBuffered, true}, Case{IoChoice::kDirect, true}),
                         [](const auto& instance) {
                           return std::string(instance.param.io == IoChoice::kDirect ? "Direct"
                                                                                     : "Buffered") +
                                  (instance.param.faulty ? "Faulty" : "");
                         });

}  // namespace
}  // namespace sluice
