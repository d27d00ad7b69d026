// GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) versions 2 and 3, little-endian: key/value
// metadata, tensor table, writer. What a tensor's type number means is in gguf_types.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "format/checkpoint.h"

namespace sluice {

// Integers of every width are held as int64 (uint64 above INT64_MAX is refused), floats as double.
using GgufValue = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>, std::vector<double>,
                               std::vector<bool>, std::vector<std::string>>;

// The key/values of one file. Immutable; thread-safe.
class GgufMetadata {
 public:
  const GgufValue* find(std::string_view key) const noexcept;

  // Typed look-ups: nullopt / nullptr where the key is absent; Error(kCorrupt) that names file and key where
  // its type is another. An integer is accepted as a float, not the other way round.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  const std::string* string(std::string_view key) const;
  const std::vector<int64_t>* integers(std::string_view key) const;
  const std::vector<double>* numbers(std::string_view key) const;
  const std::vector<std::string>* strings(std::string_view key) const;

  const std::vector<std::pair<std::string, GgufValue>>& entries() const noexcept { return entries_; }

 private:
  friend class GgufReader;
  std::string path_;
  std::vector<std::pair<std::string, GgufValue>> entries_;  // in file order
  std::vector<uint32_t> by_key_;                            // indices of entries_ sorted by key
};

// Reads header and tensor table; follows "-00001-of-0000N.gguf" splits. The metadata is the first part's.
// Tensors of types that no kernel reads (IQ2_XXS, TQ1_0, NVFP4...) are listed with Encoding::kCount.
std::shared_ptr<const Checkpoint> open_gguf(const std::string& path);

// A value to write, with the integer width that readers expect.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// Writes a GGUF v3 file: declare everything, then stream the tensors' bytes in the declared order.
// Atomic (FileWriter). Not thread-safe.
class GgufWriter {
 public:
  GgufWriter();  // no file: for header() alone
  explicit GgufWriter(const std::string& path);
  ~GgufWriter();

  // `type` is the scalar's or, for vectors, the element's type.
  void add(std::string_view key, GgufType type, const GgufValue& value);
  // `shape` outermost first. Error(kUnsupported) if GGUF has no such encoding (affine).
  void declare_tensor(std::string_view name, Encoding encoding, std::span<const uint64_t> shape);

  std::string header() const;   // all that comes before the data, padding included
  uint64_t data_bytes() const;  // of the declared tensors, padding included

  void begin_data();                             // writes header and table; no more add/declare
  void write(std::span<const std::byte> bytes);  // the tensors' bytes one after another, any chunking;
                                                 // padding between tensors is inserted
  void commit();                                 // SLUICE_CHECKs that every declared byte was written

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
