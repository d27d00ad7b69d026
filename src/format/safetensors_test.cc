#include "format/safetensors.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>

#include "base/error.h"
#include "format/checkpoint.h"
#include "format/json.h"
#include "tests/scratch.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

void write_one(const std::string& path, const std::string& name, std::string_view dtype, uint64_t n_values) {
  SafetensorsWriter writer(path, "mlx");
  writer.declare_tensor(name, dtype, std::vector<uint64_t>{n_values});
  writer.begin_data();
  writer.write(std::vector<std::byte>(n_values * safetensors_dtype_bits(dtype) / 8));
  writer.commit();
}

TEST(Safetensors, RoundTrip) {
  const test::Scratch scratch;
  const std::string path = scratch / "round_trip";
  SafetensorsWriter writer(path, "mlx");
  writer.declare_tensor("z \"quoted\" ä\n", "U32", std::vector<uint64_t>{2, 3});
  writer.declare_tensor("scalar", "F32", std::vector<uint64_t>{});
  writer.declare_tensor("empty", "F16", std::vector<uint64_t>{0, 8});
  writer.declare_tensor("a", "BF16", std::vector<uint64_t>{5});
  writer.begin_data();
  std::vector<std::byte> data(24 + 4 + 10);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i);
  writer.write(std::span(data).first(9));
  writer.write(std::span(data).subspan(9));
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.commit();

  const auto file = File::open(path);
  const std::vector<TensorInfo> tensors = read_safetensors(*file, 3);
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].name, "z \"quoted\" ä\n");
  EXPECT_EQ(tensors[0].dtype, "U32");
  EXPECT_EQ(tensors[0].encoding, Encoding::kCount);
  EXPECT_EQ(tensors[0].offset % 8, 0u);
  EXPECT_EQ(tensors[0].file, 3u);
  EXPECT_EQ(tensors[1].name, "scalar");
  EXPECT_EQ(tensors[1].shape, std::vector<uint64_t>{});
  EXPECT_EQ(tensors[1].encoding, Encoding::kF32);
  EXPECT_EQ(tensors[2].bytes, 0u);
  EXPECT_EQ(tensors[3].name, "a");
  std::vector<std::byte> last(10);
  file->read_at(tensors[3].offset, last);
  EXPECT_TRUE(std::equal(last.begin(), last.end(), data.end() - 10));
  std::filesystem::remove(path);
}

// FP8, packed FP4 and dtypes of the future stay in the table under their own names.
TEST(Safetensors, KeepsForeignDtypes) {
  const test::Scratch scratch;
  const std::string header = R"({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]},)"
                             R"( "b": {"dtype": "F4", "shape": [2, 4], "data_offsets": [4, 8]},)"
                             R"( "c": {"dtype": "F2_NEXT", "shape": [9], "data_offsets": [8, 11]}})";
  const uint64_t length = header.size();
  const std::string path = scratch.write(
      "foreign", std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(11, 'x'));
  const std::vector<TensorInfo> tensors = read_safetensors(*File::open(path), 0);
  ASSERT_EQ(tensors.size(), 3u);
  for (const TensorInfo& tensor : tensors) EXPECT_EQ(tensor.encoding, Encoding::kCount);
  EXPECT_EQ(tensors[0].dtype, "F8_E4M3");
  EXPECT_EQ(tensors[1].bytes, 4u);
  EXPECT_EQ(tensors[2].dtype, "F2_NEXT");
  EXPECT_EQ(tensors[2].bytes, 3u);
  std::filesystem::remove(path);
}

TEST(Safetensors, Shards) {
  const test::Scratch scratch;
  const std::filesystem::path& directory = scratch.path();
  std::ofstream(directory / "config.json") << R"({"z": 1, "a": 2})";
  write_one(directory / "x.safetensors", "kept", "F32", 4);
  write_one(directory / "y.safetensors", "other", "F16", 4);
  std::ofstream(directory / "model.safetensors.index.json")
      << R"({"metadata": {"total_size": 24}, "weight_map": {"other": "y.safetensors", "kept": "x.safetensors"}})";
  const auto checkpoint = Checkpoint::open(directory);
  ASSERT_EQ(checkpoint->files().size(), 2u);
  EXPECT_EQ(checkpoint->config().begin().key(), "z");  // order is kept
  EXPECT_EQ(checkpoint->total_bytes(), 24u);
  EXPECT_EQ(checkpoint->files()[checkpoint->find("kept")->file], directory / "x.safetensors");
  EXPECT_EQ(checkpoint->files()[checkpoint->find("other")->file], directory / "y.safetensors");

  // Two shards hold "kept": the index decides.
  write_one(directory / "y.safetensors", "kept", "F16", 4);
  std::ofstream(directory / "model.safetensors.index.json")
      << R"({"weight_map": {"kept": "y.safetensors", "same": "x.safetensors"}})";
  write_one(directory / "x.safetensors", "same", "F32", 4);
  EXPECT_EQ(Checkpoint::open(directory)->find("kept")->dtype, "F16");

  // No index: numbered shards.
  std::filesystem::remove(directory / "model.safetensors.index.json");
  std::filesystem::rename(directory / "x.safetensors", directory / "model-00001-of-00002.safetensors");
  std::filesystem::rename(directory / "y.safetensors", directory / "model-00002-of-00002.safetensors");
  EXPECT_EQ(Checkpoint::open(directory)->tensors().size(), 2u);
}

TEST(Json, Limits) {
  EXPECT_EQ(parse_json(R"({"b": ["[{:", "\"{"], "a": null})", "x").begin().key(), "b");
  const JsonLimits limits{.bytes = 100, .depth = 3, .keys = 2};
  EXPECT_NO_THROW(parse_json("[[[]]]", "x", limits));
  EXPECT_THROW(parse_json("[[[[]]]]", "x", limits), Error);
  EXPECT_NO_THROW(parse_json(R"({"a": {"b": 1}})", "x", limits));
  EXPECT_THROW(parse_json(R"({"a": {"b": 1, "c": 2}})", "x", limits), Error);
  EXPECT_THROW(parse_json(std::string(101, ' '), "x", limits), Error);
}

}  // namespace
}  // namespace sluice
