#include "format/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>

#include "base/error.h"
#include "format/gguf_types.h"
#include "format/split_name.h"
#include "platform/file.h"
#include "tests/scratch.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

std::vector<std::byte> bytes_of(size_t n, uint8_t first) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(first + i);
  return bytes;
}

std::vector<std::byte> read(const Checkpoint& checkpoint, const TensorInfo& tensor) {
  std::vector<std::byte> bytes(tensor.bytes);
  File::open(checkpoint.files()[tensor.file])->read_at(tensor.offset, bytes);
  return bytes;
}

TEST(Gguf, RoundTrip) {
  const test::Scratch scratch;
  const std::string path = scratch / "round_trip.gguf";
  const std::vector<std::pair<std::string, std::pair<GgufType, GgufValue>>> entries = {
      {"general.architecture", {GgufType::kString, std::string("llama")}},
      {"general.alignment", {GgufType::kU32, int64_t{64}}},
      {"u8", {GgufType::kU8, int64_t{255}}},
      {"i8", {GgufType::kI8, int64_t{-128}}},
      {"u16", {GgufType::kU16, int64_t{65535}}},
      {"i16", {GgufType::kI16, int64_t{-32768}}},
      {"i32", {GgufType::kI32, int64_t{INT32_MIN}}},
      {"u64", {GgufType::kU64, int64_t{INT64_MAX}}},
      {"i64", {GgufType::kI64, int64_t{INT64_MIN}}},
      {"f32", {GgufType::kF32, 0.5}},
      {"f64", {GgufType::kF64, 0.1}},
      {"bool", {GgufType::kBool, true}},
      {"strings", {GgufType::kString, std::vector<std::string>{"a", "", std::string("\0\xff", 2)}}},
      {"integers", {GgufType::kI32, std::vector<int64_t>{1, -2, 3}}},
      {"numbers", {GgufType::kF32, std::vector<double>{1.5, -2.25}}},
      {"booleans", {GgufType::kBool, std::vector<bool>{true, false, true}}},
      {"nothing", {GgufType::kString, std::vector<std::string>{}}},
  };
  GgufWriter writer(path);
  for (const auto& [key, value] : entries) writer.add(key, value.first, value.second);
  writer.declare_tensor("a.weight", Encoding::kQ4_0, std::vector<uint64_t>{3, 32});
  writer.declare_tensor("b.weight", Encoding::kF32, std::vector<uint64_t>{2, 3, 4});
  writer.declare_tensor("c.bias", Encoding::kBF16, std::vector<uint64_t>{5});
  writer.begin_data();
  // In chunks that respect no boundary.
  std::vector<std::byte> data;
  for (const auto& tensor : {bytes_of(54, 1), bytes_of(96, 2), bytes_of(10, 3)}) {
    data.insert(data.end(), tensor.begin(), tensor.end());
  }
  for (size_t i = 0; i < data.size(); i += 7) {
    writer.write(std::span(data).subspan(i, std::min<size_t>(7, data.size() - i)));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.commit();

  const auto checkpoint = open_gguf(path);
  EXPECT_EQ(checkpoint->family(), CheckpointFamily::kGguf);
  const auto& read_entries = checkpoint->metadata().entries();
  ASSERT_EQ(read_entries.size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(read_entries[i].first, entries[i].first);
    EXPECT_EQ(read_entries[i].second, entries[i].second.second) << entries[i].first;
  }
  ASSERT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->total_bytes(), 54u + 96u + 10u);
  const TensorInfo* b = checkpoint->find("b.weight");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->shape, (std::vector<uint64_t>{2, 3, 4}));
  EXPECT_EQ(b->dtype, "F32");
  EXPECT_EQ(b->offset % 64, 0u);
  EXPECT_EQ(read(*checkpoint, *checkpoint->find("a.weight")), bytes_of(54, 1));
  EXPECT_EQ(read(*checkpoint, *b), bytes_of(96, 2));
  EXPECT_EQ(read(*checkpoint, *checkpoint->find("c.bias")), bytes_of(10, 3));
}

TEST(Gguf, TypedLookUps) {
  const test::Scratch scratch;
  const std::string path = scratch / "look_ups.gguf";
  GgufWriter writer(path);
  writer.add("integer", GgufType::kU32, int64_t{7});
  writer.add("number", GgufType::kF32, 1.5);
  writer.add("text", GgufType::kString, std::string("seven"));
  writer.begin_data();
  writer.commit();
  const auto checkpoint = open_gguf(path);
  const GgufMetadata& metadata = checkpoint->metadata();
  EXPECT_EQ(metadata.integer("integer"), 7);
  EXPECT_EQ(metadata.number("integer"), 7.0);
  EXPECT_EQ(metadata.number("number"), 1.5);
  EXPECT_EQ(*metadata.string("text"), "seven");
  EXPECT_EQ(metadata.integer("absent"), std::nullopt);
  EXPECT_EQ(metadata.strings("absent"), nullptr);
  try {
    metadata.integer("number");
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kCorrupt);
    EXPECT_EQ(std::string(e.what()),
              path + ": key 'number' holds a number where an integer belongs; convert the model again");
  }
  EXPECT_THROW(metadata.strings("text"), Error);
  const GgufMetadata copy = metadata;
  EXPECT_EQ(copy.integer("integer"), 7);
}

TEST(Gguf, WriterRefusesAffine) {
  const test::Scratch scratch;
  const std::string path = scratch / "affine.gguf";
  GgufWriter writer(path);
  try {
    writer.declare_tensor("a.weight", Encoding::kAffine4, std::vector<uint64_t>{2, 64});
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
  }
}

// A type that no kernel reads is listed with its size, so that whoever needs the tensor can refuse it by
// name.
TEST(Gguf, ListsTypesWithoutKernels) {
  const test::Scratch scratch;
  const std::string path = scratch / "iq2.gguf";
  {
    GgufWriter writer(path);
    writer.declare_tensor("blk.0.ffn_up.weight", Encoding::kQ2_K, std::vector<uint64_t>{1, 256});
    writer.begin_data();
    writer.write(bytes_of(84, 0));
    writer.commit();
  }
  // The type number follows name and dimensions: 24 + 8 + 19 + 4 + 16.
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(24 + 8 + 19 + 4 + 16);
  file.put(16);
  file.close();
  const auto checkpoint = open_gguf(path);
  const TensorInfo& tensor = checkpoint->tensors()[0];
  EXPECT_EQ(tensor.encoding, Encoding::kCount);
  EXPECT_EQ(tensor.dtype, "IQ2_XXS");
  EXPECT_EQ(tensor.bytes, 66u);
}

TEST(Gguf, ReadsParts) {
  const test::Scratch scratch;
  const SplitName name{scratch / "parts", 1, 3, ".gguf"};
  for (uint32_t i = 1; i <= 3; ++i) {
    GgufWriter writer(name.part(i));
    writer.add("split.no", GgufType::kU16, int64_t{i} - 1);
    writer.add("split.count", GgufType::kU16, int64_t{3});
    writer.add("split.tensors.count", GgufType::kI32, int64_t{3});
    if (i == 1) writer.add("general.architecture", GgufType::kString, std::string("llama"));
    writer.declare_tensor(std::to_string(i), Encoding::kF32, std::vector<uint64_t>{4});
    writer.begin_data();
    writer.write(bytes_of(16, static_cast<uint8_t>(i)));
    writer.commit();
  }
  const auto checkpoint = open_gguf(name.part(1));
  EXPECT_EQ(checkpoint->files().size(), 3u);
  EXPECT_EQ(*checkpoint->metadata().string("general.architecture"), "llama");
  for (uint32_t i = 1; i <= 3; ++i) {
    const TensorInfo* tensor = checkpoint->find(std::to_string(i));
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(read(*checkpoint, *tensor), bytes_of(16, static_cast<uint8_t>(i)));
  }
}

TEST(SplitName, Parses) {
  const auto name = parse_split_name("/m/model-00002-of-00010.gguf", ".gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->stem, "/m/model");
  EXPECT_EQ(name->number, 2u);
  EXPECT_EQ(name->count, 10u);
  EXPECT_EQ(name->part(3), "/m/model-00003-of-00010.gguf");
  for (const char* bad : {"model.gguf", "m-00000-of-00010.gguf", "m-00011-of-00010.gguf", "m-1-of-2.gguf",
                          "m-00001-of-00002.bin", "00001-of-00002.gguf", "", "-00001_of-00002.gguf"}) {
    EXPECT_FALSE(parse_split_name(bad, ".gguf").has_value()) << bad;
  }
}

TEST(GgmlTypes, AgreeWithEncodings) {
  size_t n_encodings = 0;
  for (const GgmlType& type : ggml_types()) {
    EXPECT_EQ(ggml_type(type.id), &type);
    EXPECT_EQ(ggml_type(type.name), &type);
    if (type.encoding == Encoding::kCount) continue;
    ++n_encodings;
    const EncodingInfo& info = encoding_info(type.encoding);
    EXPECT_EQ(type.block, info.block) << type.name;
    EXPECT_EQ(type.bytes, info.bytes) << type.name;
    EXPECT_EQ(ggml_type(type.encoding), &type);
    EXPECT_EQ(encoding_from_name(type.name), type.encoding);
  }
  EXPECT_EQ(n_encodings, static_cast<size_t>(Encoding::kAffine2));  // all that come before the affine ones
  EXPECT_EQ(ggml_type(Encoding::kAffine4), nullptr);
  EXPECT_EQ(ggml_type(4711u), nullptr);
  EXPECT_EQ(withdrawn_ggml_type(31), "Q4_0_4_4");
}

// Every type that real quantisation recipes use for a tensor.
TEST(GgmlTypes, KnowTheRecipes) {
  SLUICE_REQUIRE_SHARED();
  size_t n_names = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(test::shared_path("data/gguf-meta/quant-schema"))) {
    std::ifstream in(file.path());
    for (std::string line; std::getline(in, line);) {
      const size_t space = line.rfind(' ');  // "[Q4_K_M] q4_K" or "output.weight q6_K"
      if (line.empty() || line[0] == '#' || space == std::string::npos) continue;
      ++n_names;
      EXPECT_NE(ggml_type(std::string_view(line).substr(space + 1)), nullptr) << file.path() << ": " << line;
    }
  }
  EXPECT_GT(n_names, 30000u);
}

}  // namespace
}  // namespace sluice
