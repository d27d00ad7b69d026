// Forged checkpoints are real ones: they open, bind, fill the disk, repeat from their seed and hold values of
// the deviation that they should. (That Zipf routing skews what a running model does is in tests/compress.)
#include "forge/forge.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "encoding/reference.h"
#include "model/bound_model.h"
#include "platform/file.h"
#include "tests/scratch.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

class Forged : public testing::Test {
 protected:
  std::string make(ForgeOptions options, const std::string& name) const {
    options.out = directory_ / name;
    forge(options);
    return options.out;
  }

  test::Scratch directory_;
};

struct Moments {
  double mean = 0, deviation = 0;
};

Moments moments(const BoundModel& model, const Weight& weight) {
  double sum = 0, squares = 0;
  int64_t n = 0;
  std::vector<float> row(static_cast<size_t>(weight.cols));
  for (const WeightRef& ref : weight.pieces) {
    WeightView view{.encoding = ref.encoding, .params = ref.params, .rows = ref.rows, .cols = ref.cols};
    view.stride = row_bytes(ref.encoding, ref.params, static_cast<uint64_t>(ref.cols));
    std::array<std::vector<std::byte>, kMaxPlanes> planes;
    for (size_t p = 0; p < plane_count(ref.encoding); ++p) {
      const Extent& extent = model.units[ref.unit].extents[ref.first_extent + p];
      planes[p].resize(extent.bytes);
      File::open(model.files[extent.file])->read_at(extent.offset, planes[p]);
      view.plane[p] = planes[p].data();
    }
    for (int64_t r = 0; r < ref.rows; ++r) {
      decode_row(view, r, row.data());
      for (const double v : row) sum += v, squares += v * v, ++n;
    }
  }
  const double mean = sum / static_cast<double>(n);
  return {mean, std::sqrt(squares / static_cast<double>(n) - mean * mean)};
}

CheckpointFamily home_of(Encoding encoding) {
  return encoding_info(encoding).family == Family::kBlock ? CheckpointFamily::kGguf
                                                          : CheckpointFamily::kHuggingFace;
}

// Rounding moves the deviation a little: by far the most where steps are coarse, or scales powers of two.
double tolerance(Encoding encoding) {
  if (encoding == Encoding::kMXFP4) return 0.42;
  if (encoding == Encoding::kAffine2) return 0.25;
  return 0.06;
}

TEST_F(Forged, EveryEncodingInItsFamilyBindsAndHasItsDeviation) {
  for (size_t e = 0; e < kNumEncodings; ++e) {
    const auto encoding = static_cast<Encoding>(e);
    for (const CheckpointFamily family : {CheckpointFamily::kGguf, CheckpointFamily::kHuggingFace}) {
      if (family != home_of(encoding) && encoding_info(encoding).family != Family::kFloat) continue;
      const bool gguf = family == CheckpointFamily::kGguf;
      const std::string name(encoding_info(encoding).name);
      SCOPED_TRACE(name + (gguf ? " gguf" : " hf"));
      const std::string path = make({.shape = "moe-tiny", .encoding = encoding, .family = family, .zipf = 1},
                                    name + (gguf ? ".gguf" : ""));
      const BoundModel model = bind(*Checkpoint::open(path));
      EXPECT_EQ(model.layers[0].v.encoding, encoding);
      EXPECT_EQ(model.layers[0].experts.up.encoding, encoding);
      const double expected = 1.0 / 16;  // 1 / sqrt(hidden)
      for (const Weight* weight : {&model.layers[0].v, &model.layers[3].q}) {
        const Moments m = moments(model, *weight);
        EXPECT_NEAR(m.mean, 0, 0.1 * expected);  // levels need not be as many on both sides of zero
        EXPECT_NEAR(m.deviation, expected, tolerance(encoding) * expected);
      }
      fs::remove_all(path);
    }
  }
}

TEST_F(Forged, DenseShapesBindInBothFamilies) {
  for (const char* name : {"a.gguf", "b"}) {
    const bool gguf = std::string(name) == "a.gguf";
    const std::string path = make({.shape = "llama-tiny",
                                   .encoding = gguf ? Encoding::kQ4_K : Encoding::kAffine4,
                                   .family = gguf ? CheckpointFamily::kGguf : CheckpointFamily::kHuggingFace},
                                  name);
    const BoundModel model = bind(*Checkpoint::open(path));
    EXPECT_EQ(model.spec.n_layers, 3);
    EXPECT_EQ(model.layers[2].down.cols, 768);
    EXPECT_FALSE(model.spec.tied_head);
  }
}

TEST_F(Forged, TheSeedDecidesTheBytes) {
  ForgeOptions options{.shape = "moe-tiny", .encoding = Encoding::kQ4_0, .zipf = 1.1, .seed = 7};
  const std::string one = test::read_file(make(options, "1.gguf"));
  EXPECT_EQ(one, test::read_file(make(options, "2.gguf")));
  options.seed = 8;
  EXPECT_NE(one, test::read_file(make(options, "3.gguf")));
}

// The channels that stand out of these norm weights, each `scale` times the rest.
std::vector<size_t> outlier_channels(const std::vector<float>& norm, double scale) {
  std::vector<float> sorted = norm;
  std::sort(sorted.begin(), sorted.end());
  const double rest = sorted[sorted.size() / 2];
  std::vector<size_t> channels;
  for (size_t i = 0; i < norm.size(); ++i) {
    if (norm[i] > 1.01 * rest) {
      channels.push_back(i);
      EXPECT_NEAR(norm[i] / rest, scale, 0.01 * scale) << "channel " << i;  // bf16 in one of the families
    } else {
      EXPECT_EQ(norm[i], static_cast<float>(rest)) << "channel " << i;
    }
  }
  return channels;
}

double mean_square(const std::vector<float>& values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return sum / static_cast<double>(values.size());
}

TEST_F(Forged, OutlierChannelsAreInEveryNormedRow) {
  for (const char* shape : {"llama-tiny", "moe-tiny"}) {
    for (const CheckpointFamily family : {CheckpointFamily::kGguf, CheckpointFamily::kHuggingFace}) {
      const bool gguf = family == CheckpointFamily::kGguf;
      SCOPED_TRACE(std::string(shape) + (gguf ? " gguf" : " hf"));
      const ForgeOptions options{.shape = shape,
                                 .encoding = gguf ? Encoding::kQ4_K : Encoding::kAffine4,
                                 .family = family,
                                 .zipf = 1,
                                 .outliers = 5,
                                 .outlier_scale = 40,
                                 .seed = 3};
      const std::string path = make(options, std::string(shape) + (gguf ? ".gguf" : ""));
      const BoundModel model = bind(*Checkpoint::open(path));
      const std::vector<size_t> channels = outlier_channels(model.final_norm, 40);
      ASSERT_EQ(channels.size(), 5U);
      EXPECT_GE(channels.front(), gguf ? 32U : 64U);  // beyond the constant of Zipf routing
      EXPECT_NEAR(mean_square(model.final_norm), 1, 0.01);
      for (const LayerWeights& layer : model.layers) {
        EXPECT_EQ(outlier_channels(layer.attention_norm, 40), channels);
        EXPECT_EQ(outlier_channels(layer.ffn_norm, 40), channels);
        for (const float v : layer.q_norm) EXPECT_EQ(v, 1);  // feeds attention, not a product with weights
      }
    }
  }
}

// What varies from channel to channel still does, around larger means in the outliers.
TEST_F(Forged, OutliersAndVariedNormsCompose) {
  const BoundModel model = bind(*Checkpoint::open(
      make({.shape = "llama-tiny", .outliers = 3, .outlier_scale = 1000, .varied = true}, "x.gguf")));
  std::vector<float> norm = model.layers[1].ffn_norm;
  std::sort(norm.begin(), norm.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
  const auto n = norm.size();
  EXPECT_GT(std::abs(norm[n - 3]), 20 * std::abs(norm[n - 4]));
  EXPECT_NE(norm[n - 1], norm[n - 2]);
  EXPECT_NE(norm[0], norm[1]);
}

TEST_F(Forged, FilesHaveNoHoles) {
  const std::string path = make({.shape = "llama-tiny", .encoding = Encoding::kBF16}, "full.gguf");
  struct stat info;
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_GT(info.st_size, 4 << 20);
  EXPECT_GE(info.st_blocks * 512, info.st_size);
}

ErrorKind refusal(const ForgeOptions& options) {
  try {
    forge(options);
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.kind();
  }
  ADD_FAILURE() << "not refused";
  return ErrorKind::kIo;
}

TEST_F(Forged, NonsenseIsRefusedAndLeavesNothing) {
  const std::string gguf = directory_ / "x.gguf", hf = directory_ / "x";
  EXPECT_EQ(refusal({.shape = "llama-9000b", .out = gguf}), ErrorKind::kInvalid);
  EXPECT_EQ(refusal({.shape = "llama-tiny", .encoding = Encoding::kAffine4, .out = gguf}),
            ErrorKind::kInvalid);
  EXPECT_EQ(refusal({.shape = "llama-tiny", .family = CheckpointFamily::kHuggingFace, .out = hf}),
            ErrorKind::kInvalid);
  EXPECT_EQ(refusal({.shape = "llama-tiny", .out = directory_ / "no/x.gguf"}), ErrorKind::kNotFound);
  for (const int64_t n : {int64_t{-1}, int64_t{256}}) {
    EXPECT_EQ(refusal({.shape = "llama-tiny", .outliers = n, .outlier_scale = 50, .out = gguf}),
              ErrorKind::kInvalid);
  }
  for (const double scale : {-2.0, 1.0, 1e9, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(refusal({.shape = "llama-tiny", .outliers = 4, .outlier_scale = scale, .out = gguf}),
              ErrorKind::kInvalid);
  }
  EXPECT_TRUE(fs::is_empty(directory_.path()));
  fs::create_directory(hf);
  std::ofstream(hf + "/mine") << "precious";
  EXPECT_EQ(refusal({.shape = "llama-tiny",
                     .encoding = Encoding::kBF16,
                     .family = CheckpointFamily::kHuggingFace,
                     .out = hf}),
            ErrorKind::kInvalid);
  EXPECT_EQ(test::read_file(hf + "/mine"), "precious");
}

TEST_F(Forged, CancellingLeavesNothing) {
  for (const bool gguf : {true, false}) {
    const ForgeOptions options{.shape = "moe-small",
                               .encoding = gguf ? Encoding::kQ4_0 : Encoding::kAffine4,
                               .family = gguf ? CheckpointFamily::kGguf : CheckpointFamily::kHuggingFace,
                               .out = directory_ / (gguf ? "x.gguf" : "x")};
    EXPECT_THROW(forge(options, [](uint64_t, uint64_t) { throw_error(ErrorKind::kCancelled, "enough"); }),
                 Error);
    EXPECT_TRUE(fs::is_empty(directory_.path()));
  }
}

}  // namespace
}  // namespace sluice
