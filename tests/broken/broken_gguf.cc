#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "broken_files.h"

namespace sluice::test {
namespace {

template <typename T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}
std::string u8(uint8_t value) { return raw(value); }
std::string u32(uint32_t value) { return raw(value); }
std::string u64(uint64_t value) { return raw(value); }
std::string text(std::string_view value) { return u64(value.size()).append(value); }

// The numbers of value types in the file.
enum ValueType : uint32_t {
  kU32 = 4,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kU16 = 2,
  kI32 = 5
};

// The smallest things that a file consists of, in order: a cut between two of them is a structure boundary.
using Pieces = std::vector<std::string>;

Pieces entry(std::string_view key, uint32_t type, Pieces value) {
  Pieces pieces = {u64(key.size()), std::string(key), u32(type)};
  pieces.insert(pieces.end(), value.begin(), value.end());
  return pieces;
}

Pieces tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
  Pieces pieces = {u64(name.size()), std::string(name), u32(static_cast<uint32_t>(dims.size()))};
  for (const uint64_t dim : dims) pieces.push_back(u64(dim));
  pieces.push_back(u32(type));
  pieces.push_back(u64(offset));
  return pieces;
}

constexpr uint32_t kTypeF32 = 0;
constexpr uint32_t kTypeQ4_0 = 2;

// A file as its author may want it, right or wrong.
struct Gguf {
  std::string magic = "GGUF";
  std::string version = u32(3);
  std::optional<uint64_t> claimed_tensors;  // in place of the true count
  std::optional<uint64_t> claimed_entries;
  std::vector<Pieces> entries = {
      entry("general.architecture", kString, {u64(5), "llama"}),
      entry("llama.block_count", kU32, {u32(1)}),
      entry("tokenizer.ggml.tokens", kArray, {u32(kString), u64(2), u64(1), "a", u64(1), "b"}),
      entry("tokenizer.ggml.scores", kArray, {u32(kF32), u64(2), raw(0.0f), raw(-1.0f)}),
      entry("tokenizer.ggml.add_bos_token", kBool, {u8(1)}),
  };
  std::vector<Pieces> tensors = {
      tensor("first.weight", {8, 4}, kTypeF32, 0),      // 128 bytes
      tensor("second.weight", {32, 2}, kTypeQ4_0, 128)  // 36 bytes
  };
  size_t alignment = 32;
  std::string data = std::string(128 + 36, 'x');

  Pieces pieces() const {
    Pieces all = {magic, version, u64(claimed_tensors.value_or(tensors.size())),
                  u64(claimed_entries.value_or(entries.size()))};
    size_t n_bytes = 24;
    for (const auto* list : {&entries, &tensors}) {
      for (const Pieces& thing : *list) {
        for (const std::string& piece : thing) {
          all.push_back(piece);
          n_bytes += piece.size();
        }
      }
    }
    all.emplace_back((alignment - n_bytes % alignment) % alignment, '\0');
    all.push_back(data);
    return all;
  }

  std::string bytes() const {
    std::string out;
    for (const std::string& piece : pieces()) out += piece;
    return out;
  }
};

class Collection {
 public:
  void add(const std::string& name, const Gguf& gguf, ErrorKind kind, std::vector<std::string> mentions) {
    add_bytes(name, gguf.bytes(), kind, std::move(mentions));
  }
  void add_bytes(const std::string& name, const std::string& bytes, ErrorKind kind,
                 std::vector<std::string> mentions) {
    const std::string file = name + ".gguf";
    mentions.push_back(file);
    models_.push_back({file, {{file, bytes}}, kind, std::move(mentions)});
  }
  void add_files(BrokenModel model) { models_.push_back(std::move(model)); }

  // With one entry more.
  void add_entry(const std::string& name, const Pieces& value, ErrorKind kind,
                 std::vector<std::string> mentions) {
    Gguf gguf;
    gguf.entries.push_back(value);
    add(name, gguf, kind, std::move(mentions));
  }
  // With the second tensor replaced.
  void add_tensor(const std::string& name, const Pieces& value, ErrorKind kind,
                  std::vector<std::string> mentions) {
    Gguf gguf;
    gguf.tensors[1] = value;
    add(name, gguf, kind, std::move(mentions));
  }

  std::vector<BrokenModel> take() { return std::move(models_); }

 private:
  std::vector<BrokenModel> models_;
};

constexpr ErrorKind kCorrupt = ErrorKind::kCorrupt;
constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;
constexpr ErrorKind kInvalid = ErrorKind::kInvalid;

void add_headers(Collection* out) {
  Gguf gguf;
  gguf.magic = "FUGG";
  out->add("reversed-magic", gguf, kUnsupported, {"FUGG", "little-endian"});
  gguf = {};
  gguf.magic = "GGML";
  out->add("wrong-magic", gguf, kUnsupported, {"no model file"});
  gguf.magic = "tjgg";
  out->add("old-ggml", gguf, kUnsupported, {"before GGUF"});
  gguf = {};
  gguf.version = u32(0);
  out->add("version-0", gguf, kCorrupt, {"header", "version"});
  gguf.version = u32(1);
  out->add("version-1", gguf, kUnsupported, {"version 1", "convert"});
  gguf.version = u32(4);
  out->add("version-4", gguf, kUnsupported, {"version 4", "update"});
  gguf.version = std::string("\0\0\0\3", 4);
  out->add("big-endian", gguf, kUnsupported, {"big-endian", "convert"});
  for (const uint64_t count : {uint64_t{1000}, uint64_t{1} << 40, UINT64_MAX}) {
    gguf = {};
    gguf.claimed_tensors = count;
    out->add("tensor-count-" + std::to_string(count), gguf, kCorrupt,
             {"tensor count " + std::to_string(count)});
    gguf = {};
    gguf.claimed_entries = count;
    out->add("entry-count-" + std::to_string(count), gguf, kCorrupt,
             {"key/value count " + std::to_string(count)});
  }
}

void add_truncations(Collection* out) {
  const Pieces pieces = Gguf().pieces();
  std::string bytes;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0 && pieces[i].empty()) continue;
    out->add_bytes("cut-at-" + std::to_string(bytes.size()), bytes, kCorrupt, {"download"});
    bytes += pieces[i];
  }
  out->add_bytes("cut-at-last-byte", bytes.substr(0, bytes.size() - 1), kCorrupt,
                 {"tensor 'second.weight'", "end"});
}

void add_metadata(Collection* out) {
  out->add_entry("key-empty", entry("", kU32, {u32(1)}), kCorrupt, {"key/value 5", "empty"});
  out->add_entry("key-twice", entry("llama.block_count", kU32, {u32(1)}), kCorrupt,
                 {"llama.block_count", "twice"});
  out->add_entry("key-too-long", {u64(1 << 20), std::string(1 << 20, 'k'), u32(kU32), u32(1)}, kCorrupt,
                 {"key/value 5", "1048576 bytes"});
  out->add_entry("key-length-overflow", {u64(UINT64_MAX), "k", u32(kU32), u32(1)}, kCorrupt, {"key/value 5"});
  out->add_entry("key-of-controls", entry("\x1b[31m\n", 99, {u32(1)}), kCorrupt,
                 {"'\\x1b[31m\\x0a'", "type 99"});
  out->add_entry("value-type-13", entry("odd", 13, {u32(1)}), kCorrupt, {"key 'odd'", "value type 13"});
  out->add_entry("value-type-max", entry("odd", UINT32_MAX, {u32(1)}), kCorrupt, {"key 'odd'"});
  out->add_entry("boolean-2", entry("odd", kBool, {u8(2)}), kCorrupt, {"key 'odd'", "boolean"});
  out->add_entry("integer-above-int64", entry("odd", kU64, {u64(UINT64_MAX)}), kCorrupt,
                 {"key 'odd'", "2^63"});
  out->add_entry("string-length-overflow", entry("odd", kString, {u64(UINT64_MAX), "x"}), kCorrupt,
                 {"key 'odd'"});
  out->add_entry("string-beyond-file", entry("odd", kString, {u64(100'000), "x"}), kCorrupt,
                 {"key 'odd'", "ends"});
  out->add_entry("array-of-arrays", entry("odd", kArray, {u32(kArray), u64(1), u32(kU32), u64(0)}),
                 kUnsupported, {"key 'odd'", "array of arrays"});
  out->add_entry("array-length-overflow", entry("odd", kArray, {u32(kU32), u64(UINT64_MAX)}), kCorrupt,
                 {"key 'odd'", "array length"});
  out->add_entry("array-of-strings-too-long", entry("odd", kArray, {u32(kString), u64(1 << 20)}), kCorrupt,
                 {"key 'odd'", "array length"});
  out->add_entry("array-type-77", entry("odd", kArray, {u32(77), u64(1), u32(0)}), kCorrupt,
                 {"value type 77"});
  for (const uint32_t alignment : {0u, 3u, 24u, 1u << 30}) {
    out->add_entry("alignment-" + std::to_string(alignment),
                   entry("general.alignment", kU32, {u32(alignment)}), kCorrupt,
                   {"general.alignment", "power of two"});
  }
  out->add_entry("alignment-string", entry("general.alignment", kString, {text("32")}), kCorrupt,
                 {"general.alignment", "a string where an integer belongs"});
}

void add_tensors(Collection* out) {
  const std::string place = "tensor 'second.weight'";
  const auto second = [](const std::vector<uint64_t>& dims, uint32_t type = kTypeQ4_0,
                         uint64_t offset = 128) { return tensor("second.weight", dims, type, offset); };
  out->add_tensor("tensor-no-name", tensor("", {32, 2}, kTypeQ4_0, 128), kCorrupt, {"tensor 1", "name"});
  out->add_tensor("tensor-twice", tensor("first.weight", {32, 2}, kTypeQ4_0, 128), kCorrupt,
                  {"tensor 'first.weight'", "twice"});
  out->add_tensor("dimensions-0", second({}), kCorrupt, {place, "0 dimensions"});
  out->add_tensor("dimensions-5", second({32, 1, 1, 1, 1}), kCorrupt, {place, "5 dimensions"});
  out->add_tensor("dimension-zero", second({32, 0}), kCorrupt, {place, "dimension is 0"});
  out->add_tensor("dimensions-overflow", second({uint64_t{1} << 32, uint64_t{1} << 32, 2}), kCorrupt,
                  {place});
  out->add_tensor("bytes-overflow", second({uint64_t{1} << 62, 3}, kTypeF32), kCorrupt, {place});
  out->add_tensor("row-of-half-a-block", second({48, 2}), kCorrupt, {place, "blocks of Q4_0"});
  out->add_tensor("type-withdrawn", second({32, 2}, 31), kUnsupported, {place, "Q4_0_4_4"});
  out->add_tensor("type-unknown", second({32, 2}, 4711), kUnsupported, {place, "4711"});
  out->add_tensor("offset-odd", second({32, 2}, kTypeQ4_0, 129), kCorrupt,
                  {place, "offset 129", "alignment 32"});
  out->add_tensor("offset-overlap", second({32, 2}, kTypeQ4_0, 96), kCorrupt,
                  {place, "overlaps", "first.weight"});
  out->add_tensor("offset-same", second({32, 2}, kTypeQ4_0, 0), kCorrupt, {"overlaps"});
  out->add_tensor("offset-beyond-file", second({32, 2}, kTypeQ4_0, 1 << 20), kCorrupt,
                  {place, "offset", "end"});
  out->add_tensor("offset-overflow", second({32, 2}, kTypeQ4_0, UINT64_MAX - 31), kCorrupt,
                  {place, "offset"});
  out->add_tensor("size-beyond-file", second({32, 3000}), kCorrupt, {place, "end"});
}

// Part `number` (from 0) of a model in `count` parts, as its own metadata has it.
Gguf part(uint16_t number, uint16_t count, int32_t n_tensors) {
  Gguf gguf;
  gguf.entries.push_back(entry("split.no", kU16, {raw(number)}));
  gguf.entries.push_back(entry("split.count", kU16, {raw(count)}));
  gguf.entries.push_back(entry("split.tensors.count", kI32, {raw(n_tensors)}));
  const std::string name = "part" + std::to_string(number) + ".weight";
  gguf.tensors = {tensor(name, {32, 2}, kTypeQ4_0, 0)};
  gguf.data = std::string(36, 'x');
  return gguf;
}

void add_splits(Collection* out) {
  out->add("split-wrong-name", part(0, 3, 3), kInvalid, {"split.count", "00001-of-00003"});
  out->add("split-count-0", part(0, 0, 1), kInvalid, {"split.count"});
  out->add_files({"split-missing-00001-of-00002.gguf",
                  {{"split-missing-00001-of-00002.gguf", part(0, 2, 2).bytes()}},
                  ErrorKind::kNotFound,
                  {"split-missing-00002-of-00002.gguf", "missing", "download"}});
  out->add_files({"split-later-00002-of-00002.gguf",
                  {{"split-later-00001-of-00002.gguf", part(0, 2, 2).bytes()},
                   {"split-later-00002-of-00002.gguf", part(1, 2, 2).bytes()}},
                  kInvalid,
                  {"part 2", "split-later-00001-of-00002.gguf"}});
  out->add_files({"split-swapped-00001-of-00002.gguf",
                  {{"split-swapped-00001-of-00002.gguf", part(0, 2, 2).bytes()},
                   {"split-swapped-00002-of-00002.gguf", part(0, 2, 2).bytes()}},
                  kCorrupt,
                  {"split-swapped-00002-of-00002.gguf", "split.no"}});
  out->add_files({"split-tensors-00001-of-00002.gguf",
                  {{"split-tensors-00001-of-00002.gguf", part(0, 2, 7).bytes()},
                   {"split-tensors-00002-of-00002.gguf", part(1, 2, 7).bytes()}},
                  kCorrupt,
                  {"split-tensors-00001-of-00002.gguf", "split.tensors.count", "7 tensors", "hold 2"}});
  Gguf twin = part(1, 2, 2);
  twin.tensors = part(0, 2, 2).tensors;
  out->add_files({"split-twin-00001-of-00002.gguf",
                  {{"split-twin-00001-of-00002.gguf", part(0, 2, 2).bytes()},
                   {"split-twin-00002-of-00002.gguf", twin.bytes()}},
                  kCorrupt,
                  {"split-twin-00002-of-00002.gguf", "part0.weight", "twice"}});
}

}  // namespace

std::string valid_gguf() { return Gguf().bytes(); }

std::vector<BrokenModel> broken_gguf() {
  Collection out;
  add_headers(&out);
  add_truncations(&out);
  add_metadata(&out);
  add_tensors(&out);
  add_splits(&out);
  return out.take();
}

}  // namespace sluice::test
