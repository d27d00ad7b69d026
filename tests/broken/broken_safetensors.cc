#include <cstdint>
#include <cstring>

#include "broken_files.h"

namespace sluice::test {
namespace {

constexpr ErrorKind kCorrupt = ErrorKind::kCorrupt;
constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;
constexpr ErrorKind kInvalid = ErrorKind::kInvalid;
constexpr ErrorKind kNotFound = ErrorKind::kNotFound;

const std::string kConfig = R"({"model_type": "llama"})";

std::string with_length(uint64_t length, const std::string& rest) {
  return std::string(reinterpret_cast<const char*>(&length), 8) + rest;
}

std::string safetensors(const std::string& header, size_t data_bytes = 64) {
  return with_length(header.size(), header + std::string(data_bytes, 'x'));
}

// "first" fills bytes 0 to 32 of 64, "second" is free to be wrong.
std::string second_tensor(const std::string& fields) {
  return safetensors(R"({"first": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}, "second": )" +
                     fields + "}");
}

std::string one_tensor(const std::string& name, size_t bytes = 64) {
  const std::string size = std::to_string(bytes);
  return safetensors(
      "{\"" + name + R"(": {"dtype": "U8", "shape": [)" + size + R"(], "data_offsets": [0, )" + size + "]}}",
      bytes);
}

std::string nested(const std::string& open, const std::string& close, size_t depth) {
  std::string text;
  for (size_t i = 0; i < depth; ++i) text += open;
  text += "1";
  for (size_t i = 0; i < depth; ++i) text += close;
  return text;
}

using Files = std::vector<std::pair<std::string, std::string>>;

BrokenModel directory(const std::string& name, const Files& files, ErrorKind kind,
                      std::vector<std::string> mentions) {
  BrokenModel model{name, {}, kind, std::move(mentions)};
  model.mentions.push_back(name);
  const std::string prefix = name + "/";
  for (const auto& [file, content] : files) model.files.emplace_back(prefix + file, content);
  return model;
}

// A directory whose model.safetensors is the given bytes.
BrokenModel weights(const std::string& name, const std::string& bytes, std::vector<std::string> mentions,
                    ErrorKind kind = kCorrupt) {
  mentions.push_back("model.safetensors");
  return directory("st-" + name, {{"config.json", kConfig}, {"model.safetensors", bytes}}, kind,
                   std::move(mentions));
}

}  // namespace

std::string valid_safetensors() {
  return second_tensor(R"({"dtype": "BF16", "shape": [16], "data_offsets": [32, 64]})");
}

std::vector<BrokenModel> broken_safetensors() {
  std::vector<BrokenModel> out;
  const std::string valid = valid_safetensors();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, valid.data(), 8);
  for (const size_t cut : {size_t{0}, size_t{4}, size_t{8}, size_t{9}, 8 + header_bytes / 2, 8 + header_bytes,
                           8 + header_bytes + 32, valid.size() - 1}) {
    out.push_back(weights("cut-at-" + std::to_string(cut), valid.substr(0, cut), {"download"}));
  }
  const std::string rest = valid.substr(8);
  for (const uint64_t length : {uint64_t{0}, uint64_t{100'000'001}, uint64_t{1} << 63, UINT64_MAX}) {
    out.push_back(weights("header-length-" + std::to_string(length), with_length(length, rest), {"header"}));
  }
  out.push_back(
      weights("header-beyond-file", with_length(100'000, rest), {"header length 100000", "offset 0"}));
  out.push_back(weights("header-not-json", safetensors("{not json}"), {"header", "JSON"}));
  out.push_back(weights("header-array", safetensors("[1, 2, 3]"), {"header", "begin"}));
  out.push_back(weights("header-space-first", safetensors(" {}", 0), {"header", "begin"}));
  out.push_back(weights("header-two-documents", safetensors("{} {}", 0), {"header", "JSON"}));
  out.push_back(weights("header-bomb", safetensors(nested("{\"a\":", "}", 100'000)), {"header"}));
  out.push_back(weights("header-bad-utf8", one_tensor("\xff\xfe"), {"header", "JSON"}));
  out.push_back(weights("trailing-bytes", safetensors("{}", 10), {"10 bytes after the last tensor"}));
  out.push_back(weights("metadata-number", safetensors(R"({"__metadata__": {"format": 1}})", 0),
                        {"__metadata__", "format"}));
  out.push_back(weights("metadata-array", safetensors(R"({"__metadata__": []})", 0), {"__metadata__"}));
  out.push_back(weights("metadata-twice", safetensors(R"({"__metadata__": {}, "__metadata__": {}})", 0),
                        {"__metadata__", "twice"}));
  out.push_back(weights("lfs-pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
                        {"Git LFS", "git lfs pull"}, kUnsupported));

  struct Entry {
    const char* name;
    const char* fields;
    const char* mention;
  };
  const Entry kEntries[] = {
      {"no-dtype", R"({"shape": [16], "data_offsets": [32, 64]})", "'dtype'"},
      {"no-shape", R"({"dtype": "BF16", "data_offsets": [32, 64]})", "'shape'"},
      {"no-offsets", R"({"dtype": "BF16", "shape": [16]})", "'data_offsets'"},
      {"dtype-twice", R"({"dtype": "F32", "dtype": "F16", "shape": [16], "data_offsets": [32, 64]})",
       "twice"},
      {"shape-twice", R"({"dtype": "F16", "shape": [16], "shape": [8], "data_offsets": [32, 64]})", "twice"},
      {"dtype-number", R"({"dtype": 16, "shape": [16], "data_offsets": [32, 64]})", "'dtype'"},
      {"dtype-wrong", R"({"dtype": "F32", "shape": [16], "data_offsets": [32, 64]})", "'dtype'"},
      {"shape-wrong", R"({"dtype": "BF16", "shape": [15], "data_offsets": [32, 64]})", "'shape'"},
      {"shape-negative", R"({"dtype": "BF16", "shape": [-16], "data_offsets": [32, 64]})", "'shape'"},
      {"shape-fraction", R"({"dtype": "BF16", "shape": [16.5], "data_offsets": [32, 64]})", "'shape'"},
      {"shape-object", R"({"dtype": "BF16", "shape": {}, "data_offsets": [32, 64]})", "'shape'"},
      {"shape-above-uint64",
       R"({"dtype": "BF16", "shape": [99999999999999999999], "data_offsets": [32, 64]})", ""},
      {"shape-overflow",
       R"({"dtype": "BF16", "shape": [4294967296, 4294967296, 4], "data_offsets": [32, 64]})", "'shape'"},
      {"shape-wraps", R"({"dtype": "BF16", "shape": [1152921504606846976, 16], "data_offsets": [32, 32]})",
       "'shape'"},
      {"shape-long",
       R"({"dtype": "U8", "shape": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,32], "data_offsets": [32, 64]})",
       "'shape'"},
      {"half-bytes", R"({"dtype": "F4", "shape": [63], "data_offsets": [32, 64]})", "whole bytes"},
      {"offsets-one", R"({"dtype": "BF16", "shape": [16], "data_offsets": [32]})", "'data_offsets'"},
      {"offsets-three", R"({"dtype": "BF16", "shape": [16], "data_offsets": [32, 64, 64]})",
       "'data_offsets'"},
      {"offsets-reversed", R"({"dtype": "BF16", "shape": [16], "data_offsets": [64, 32]})", "'data_offsets'"},
      {"offsets-beyond", R"({"dtype": "BF16", "shape": [32], "data_offsets": [32, 96]})", "cut off"},
      {"offsets-huge", R"({"dtype": "X", "shape": [1], "data_offsets": [32, 18446744073709551615]})",
       "'data_offsets'"},
      {"overlap", R"({"dtype": "BF16", "shape": [20], "data_offsets": [24, 64]})", "overlap"},
      {"odd-offset-overlap", R"({"dtype": "U8", "shape": [33], "data_offsets": [31, 64]})", "overlap"},
      {"gap", R"({"dtype": "BF16", "shape": [12], "data_offsets": [40, 64]})", "gap"},
      {"empty-inside", R"({"dtype": "BF16", "shape": [0], "data_offsets": [8, 8]})", "'data_offsets'"},
      {"entry-string", R"("BF16")", "JSON object"},
  };
  for (const Entry& entry : kEntries) {
    std::vector<std::string> mentions = {entry.mention};
    out.push_back(weights(entry.name, second_tensor(entry.fields), std::move(mentions)));
  }
  out.push_back(weights(
      "tensor-twice",
      safetensors(R"({"a": {"dtype": "U8", "shape": [32], "data_offsets": [0, 32]}, "a": {"dtype": "U8", )"
                  R"("shape": [32], "data_offsets": [32, 64]}})"),
      {"tensor 'a'", "twice"}));
  out.push_back(weights("name-of-controls", safetensors(R"({"\u001b[31m\n": 1})"), {"'\\x1b[31m\\x0a'"}));
  return out;
}

std::vector<BrokenModel> broken_directories() {
  const std::string index_name = "model.safetensors.index.json";
  const auto with_index = [&](const std::string& name, const std::string& index,
                              std::vector<std::string> mentions, ErrorKind kind = kCorrupt) {
    mentions.push_back(index_name);
    return directory("hf-" + name,
                     {{"config.json", kConfig}, {index_name, index}, {"shard.safetensors", one_tensor("a")}},
                     kind, std::move(mentions));
  };
  const auto mapping = [](const std::string& file) {
    return R"({"weight_map": {"a": "shard.safetensors", "b": ")" + file + "\"}}";
  };
  std::string many_keys = "{";
  for (int i = 0; i < 70'000; ++i) many_keys += "\"k" + std::to_string(i) + "\":0,";
  many_keys += R"("end": 0})";

  return {
      with_index("shard-missing", mapping("other.safetensors"),
                 {"'other.safetensors'", "missing", "download"}, kNotFound),
      with_index("shard-traversal", mapping("../../etc/passwd"), {"weight_map", "'../../etc/passwd'"}),
      with_index("shard-absolute", mapping("/etc/passwd"), {"weight_map", "'/etc/passwd'"}),
      with_index("shard-dot-dot", mapping(".."), {"weight_map", "'..'"}),
      with_index("shard-empty", mapping(""), {"weight_map"}),
      with_index("shard-control", mapping(R"(\u0000.safetensors)"), {"weight_map", "\\x00"}),
      with_index("shard-number", R"({"weight_map": {"a": 1}})", {"weight_map", "'a'"}),
      with_index("tensor-absent", mapping("shard.safetensors"), {"tensor 'b'", "'shard.safetensors'"}),
      with_index("index-tensor-twice",
                 R"({"weight_map": {"a": "shard.safetensors", "a": "shard.safetensors"}})",
                 {"weight_map", "'a' twice"}),
      with_index("index-not-json", "not json", {"JSON"}),
      with_index("index-array", "[]", {"JSON"}),
      with_index("index-no-map", "{}", {"weight_map"}),
      with_index("index-empty-map", R"({"weight_map": {}})", {"weight_map", "empty"}),
      with_index("index-bomb", nested("[", "]", 100'000), {"JSON"}),
      directory("hf-part-missing",
                {{"config.json", kConfig},
                 {"model-00001-of-00003.safetensors", one_tensor("a")},
                 {"model-00003-of-00003.safetensors", one_tensor("c")}},
                kNotFound, {"model-00002-of-00003.safetensors", "missing"}),
      directory("hf-parts-share-tensor",
                {{"config.json", kConfig},
                 {"model-00001-of-00002.safetensors", one_tensor("a")},
                 {"model-00002-of-00002.safetensors", one_tensor("a")}},
                kCorrupt, {"tensor 'a'", "twice", "model-00002-of-00002.safetensors"}),
      directory(
          "hf-two-files",
          {{"config.json", kConfig}, {"x.safetensors", one_tensor("a")}, {"y.safetensors", one_tensor("b")}},
          kInvalid, {"2 safetensors files", index_name}),
      directory("hf-config-missing", {{"model.safetensors", valid_safetensors()}}, kNotFound,
                {"config.json"}),
      directory("hf-config-empty", {{"config.json", ""}, {"model.safetensors", valid_safetensors()}},
                kCorrupt, {"config.json", "JSON"}),
      directory("hf-config-cut",
                {{"config.json", R"({"a": [1, 2)"}, {"model.safetensors", valid_safetensors()}}, kCorrupt,
                {"config.json", "JSON"}),
      directory("hf-config-array", {{"config.json", "[]"}, {"model.safetensors", valid_safetensors()}},
                kCorrupt, {"config.json", "object"}),
      directory("hf-config-bomb",
                {{"config.json", nested("[", "]", 100'000)}, {"model.safetensors", valid_safetensors()}},
                kCorrupt, {"config.json", "nested 100000 deep"}),
      directory("hf-config-bad-utf8",
                {{"config.json", "{\"a\": \"\xff\"}"}, {"model.safetensors", valid_safetensors()}}, kCorrupt,
                {"config.json", "JSON"}),
      directory("hf-config-number-overflow",
                {{"config.json", R"({"a": 1e999})"}, {"model.safetensors", valid_safetensors()}}, kCorrupt,
                {"config.json"}),
      directory("hf-config-many-keys",
                {{"config.json", many_keys}, {"model.safetensors", valid_safetensors()}}, kCorrupt,
                {"config.json", "70001 keys"}),
      directory("hf-no-weights", {{"config.json", kConfig}}, kNotFound, {"no weights", "model.safetensors"}),
      directory("hf-pytorch", {{"config.json", kConfig}, {"pytorch_model.bin", "PK"}}, kUnsupported,
                {"pytorch_model.bin", "convert to safetensors"}),
      directory("hf-pth", {{"consolidated.00.pth", "PK"}}, kUnsupported,
                {"consolidated.00.pth", "convert to safetensors"}),
      directory("hf-nothing", {{"README.md", "hello"}}, kNotFound, {"no model in this directory"}),
      directory("hf-two-gguf", {{"a.gguf", valid_gguf()}, {"b.gguf", valid_gguf()}}, kInvalid,
                {"2 GGUF models", "name the file"}),
      {"bare.safetensors",
       {{"bare.safetensors", valid_safetensors()}},
       kInvalid,
       {"bare.safetensors", "directory"}},
      {"pickle.bin", {{"pickle.bin", std::string("PK\x03\x04", 4)}}, kUnsupported, {"pickle.bin", "PyTorch"}},
      {"old-pickle.pth", {{"old-pickle.pth", "\x80\x02}q"}}, kUnsupported, {"old-pickle.pth", "PyTorch"}},
      {"notes.txt", {{"notes.txt", "hello"}}, kUnsupported, {"notes.txt", "no model file"}},
      {"pointer.gguf",
       {{"pointer.gguf", "version https://git-lfs.github.com/spec/v1\n"}},
       kUnsupported,
       {"pointer.gguf", "git lfs pull"}},
      {"empty.gguf", {{"empty.gguf", ""}}, kCorrupt, {"empty.gguf", "empty"}},
  };
}

std::vector<BrokenModel> broken_models() {
  std::vector<BrokenModel> all = broken_gguf();
  for (auto* more : {&broken_safetensors, &broken_directories}) {
    std::vector<BrokenModel> models = more();
    all.insert(all.end(), models.begin(), models.end());
  }
  return all;
}

}  // namespace sluice::test
