#include "format/gguf.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <numeric>
#include <span>
#include <type_traits>

#include "base/align.h"
#include "base/check.h"
#include "base/error.h"
#include "format/gguf_types.h"
#include "format/split_name.h"
#include "platform/file.h"

namespace sluice {
namespace {

constexpr uint64_t kMaxHeaderBytes = 512u << 20;  // key/values and tensor table of one file
constexpr uint64_t kMaxStringBytes = 256u << 20;  // a whole tokenizer.json as a string is tens of MB
constexpr uint64_t kMaxNameBytes = 65535;         // of keys and tensors; the format's limit for keys
constexpr uint64_t kMaxArrayElements = 1u << 24;  // in all arrays of one file; vocabularies have 10^5 to 10^6
constexpr uint64_t kMinKeyBytes = 8 + 1 + 4 + 1;  // the shortest key/value
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;
constexpr uint32_t kMaxDims = 4;
constexpr uint64_t kMaxAlignment = 1u << 20;
constexpr uint64_t kDefaultAlignment = 32;

// Bytes of a scalar in the file; for strings the least that one takes.
uint64_t scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    default:
      return 8;
  }
}

// Reads a file from front to back through a window, every length checked against what remains.
class Cursor {
 public:
  explicit Cursor(const File& file) : file_(file), limit_(std::min(file.size(), kMaxHeaderBytes)) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return limit_ - position_; }

  // What is being read, for messages.
  void set_place(std::string place) { place_ = std::move(place); }

  [[noreturn]] void corrupt(const std::string& problem) const {
    throw_error(ErrorKind::kCorrupt, "%s: %s: %s; download the file again", file_.path().c_str(),
                place_.c_str(), problem.c_str());
  }
  [[noreturn]] void unsupported(const std::string& problem) const {
    throw_error(ErrorKind::kUnsupported, "%s: %s: %s", file_.path().c_str(), place_.c_str(), problem.c_str());
  }

  // The file must go on for `n` bytes.
  void require(uint64_t n) const {
    if (n <= remaining()) return;
    if (limit_ < file_.size()) {
      corrupt(format_string("reaches beyond %" PRIu64 " MiB, more than any model's metadata", limit_ >> 20));
    }
    corrupt(format_string("needs %" PRIu64 " bytes at offset %" PRIu64 ", but the file ends at %" PRIu64, n,
                          position_, file_.size()));
  }

  template <typename T>
  T take() {
    T value;
    std::memcpy(&value, take_bytes(sizeof(T)), sizeof(T));
    return value;
  }

  // A length and so many bytes. `what` names it in messages.
  std::string take_string(uint64_t max_bytes, const char* what) {
    const auto length = take<uint64_t>();
    if (length > max_bytes) {
      corrupt(format_string("%s at offset %" PRIu64 " has %" PRIu64 " bytes, more than %" PRIu64, what,
                            position_ - 8, length, max_bytes));
    }
    return std::string(take_bytes(length), length);
  }

 private:
  static constexpr uint64_t kWindowBytes = 1 << 20;

  // The next `n` bytes; valid until the next call.
  const char* take_bytes(uint64_t n) {
    require(n);
    if (position_ + n > window_start_ + window_.size()) fill(n);
    const char* bytes = window_.data() + (position_ - window_start_);
    position_ += n;
    return bytes;
  }

  void fill(uint64_t n) {
    window_.resize(std::min(remaining(), std::max(n, kWindowBytes)));
    file_.read_at(position_, std::as_writable_bytes(std::span(window_)));
    window_start_ = position_;
  }

  const File& file_;
  const uint64_t limit_;
  uint64_t position_ = 0;
  uint64_t window_start_ = 0;
  std::vector<char> window_;
  std::string place_ = "header";
};

}  // namespace

// Parses one file's key/values and tensor table.
class GgufReader {
 public:
  GgufReader(const std::string& path, uint32_t file_index)
      : file_(File::open(path)), cursor_(*file_), file_index_(file_index) {
    metadata_.path_ = path;
    read_header();
    read_metadata();
    read_tensors();
  }

  GgufMetadata& metadata() { return metadata_; }
  std::vector<TensorInfo>& tensors() { return tensors_; }

 private:
  void read_header() {
    char magic[4];
    for (char& c : magic) c = cursor_.take<char>();
    if (std::memcmp(magic, "GGUF", 4) != 0) cursor_.corrupt("does not begin with 'GGUF'");
    const auto version = cursor_.take<uint32_t>();
    if (version == 1) {
      cursor_.unsupported("GGUF version 1 is not read; convert the model again with a current llama.cpp");
    }
    if (version != 0 && (version & 0xffff) == 0) {
      cursor_.unsupported(
          "GGUF in big-endian byte order is not read; convert the model for little-endian machines");
    }
    if (version == 0) cursor_.corrupt("version is 0");
    if (version > 3) {
      cursor_.unsupported(
          format_string("GGUF version %u is newer than 2 and 3, which are read; update Sluice", version));
    }
    n_tensors_ = take_count("tensor count", kMinTensorBytes);
    n_entries_ = take_count("key/value count", kMinKeyBytes);
  }

  // A count of things of which each takes at least `min_bytes` of what remains.
  uint64_t take_count(const char* what, uint64_t min_bytes) {
    const auto count = cursor_.take<uint64_t>();
    if (count > cursor_.remaining() / min_bytes) {
      cursor_.corrupt(format_string("%s %" PRIu64 " is more than the %" PRIu64 " bytes that follow can hold",
                                    what, count, cursor_.remaining()));
    }
    return count;
  }

  void read_metadata() {
    auto& entries = metadata_.entries_;
    entries.reserve(n_entries_);
    for (uint64_t i = 0; i < n_entries_; ++i) {
      cursor_.set_place(format_string("key/value %" PRIu64, i));
      std::string key = cursor_.take_string(kMaxNameBytes, "key");
      if (key.empty()) cursor_.corrupt("key is empty");
      cursor_.set_place("key '" + printable(key) + "'");
      GgufValue value = read_value();
      entries.emplace_back(std::move(key), std::move(value));
    }
    auto& by_key = metadata_.by_key_;
    by_key.resize(entries.size());
    std::iota(by_key.begin(), by_key.end(), 0u);
    std::sort(by_key.begin(), by_key.end(),
              [&](uint32_t a, uint32_t b) { return entries[a].first < entries[b].first; });
    for (size_t i = 1; i < by_key.size(); ++i) {
      if (entries[by_key[i - 1]].first != entries[by_key[i]].first) continue;
      cursor_.set_place("key '" + printable(entries[by_key[i]].first) + "'");
      cursor_.corrupt("is there twice");
    }
  }

  GgufType take_type() {
    const auto type = cursor_.take<uint32_t>();
    if (type > static_cast<uint32_t>(GgufType::kF64))
      cursor_.corrupt(format_string("value type %u does not exist", type));
    return static_cast<GgufType>(type);
  }

  GgufValue read_value() {
    const GgufType type = take_type();
    switch (type) {
      case GgufType::kF32:
      case GgufType::kF64:
        return take_float(type);
      case GgufType::kBool:
        return take_bool();
      case GgufType::kString:
        return cursor_.take_string(kMaxStringBytes, "string");
      case GgufType::kArray:
        return read_array();
      default:
        return take_integer(type);
    }
  }

  GgufValue read_array() {
    const GgufType type = take_type();
    if (type == GgufType::kArray)
      cursor_.unsupported("holds an array of arrays, which no known key does; convert the model again");
    const uint64_t count = take_count("array length", scalar_bytes(type));
    n_array_elements_ += count;
    if (n_array_elements_ > kMaxArrayElements) {
      cursor_.corrupt(format_string("array length %" PRIu64 " makes more than %" PRIu64
                                    " array elements in one file",
                                    count, kMaxArrayElements));
    }
    switch (type) {
      case GgufType::kF32:
      case GgufType::kF64:
        return take_array<double>(count, [&] { return take_float(type); });
      case GgufType::kBool:
        return take_array<bool>(count, [&] { return take_bool(); });
      case GgufType::kString:
        return take_array<std::string>(count, [&] { return cursor_.take_string(kMaxStringBytes, "string"); });
      default:
        return take_array<int64_t>(count, [&] { return take_integer(type); });
    }
  }

  template <typename T, typename Take>
  std::vector<T> take_array(uint64_t count, Take take_element) {
    std::vector<T> elements;
    elements.reserve(count);
    for (uint64_t i = 0; i < count; ++i) elements.push_back(take_element());
    return elements;
  }

  double take_float(GgufType type) {
    return type == GgufType::kF32 ? static_cast<double>(cursor_.take<float>()) : cursor_.take<double>();
  }

  bool take_bool() {
    const auto byte = cursor_.take<uint8_t>();
    if (byte > 1)
      cursor_.corrupt(format_string("boolean at offset %" PRIu64 " is %u", cursor_.position() - 1, byte));
    return byte == 1;
  }

  int64_t take_integer(GgufType type) {
    switch (type) {
      case GgufType::kU8:
        return cursor_.take<uint8_t>();
      case GgufType::kI8:
        return cursor_.take<int8_t>();
      case GgufType::kU16:
        return cursor_.take<uint16_t>();
      case GgufType::kI16:
        return cursor_.take<int16_t>();
      case GgufType::kU32:
        return cursor_.take<uint32_t>();
      case GgufType::kI32:
        return cursor_.take<int32_t>();
      case GgufType::kI64:
        return cursor_.take<int64_t>();
      default: {
        const auto value = cursor_.take<uint64_t>();
        if (value > INT64_MAX) cursor_.corrupt(format_string("%" PRIu64 " is above 2^63 - 1", value));
        return static_cast<int64_t>(value);
      }
    }
  }

  void read_tensors() {
    tensors_.reserve(n_tensors_);
    for (uint64_t i = 0; i < n_tensors_; ++i) read_tensor(i);
    const uint64_t alignment = data_alignment();
    const uint64_t data_start = round_up(cursor_.position(), alignment);
    for (TensorInfo& tensor : tensors_) {
      cursor_.set_place("tensor '" + printable(tensor.name) + "'");
      if (tensor.offset % alignment != 0) {
        cursor_.corrupt(format_string("offset %" PRIu64 " is no multiple of the alignment %" PRIu64,
                                      tensor.offset, alignment));
      }
      uint64_t end = 0;
      if (!checked_add(tensor.offset, data_start, &tensor.offset) ||
          !checked_add(tensor.offset, tensor.bytes, &end) || end > file_->size()) {
        cursor_.corrupt(format_string("offset and size (%" PRIu64
                                      " bytes) reach beyond the file's end at %" PRIu64,
                                      tensor.bytes, file_->size()));
      }
    }
  }

  void read_tensor(uint64_t i) {
    cursor_.set_place(format_string("tensor %" PRIu64, i));
    TensorInfo tensor;
    tensor.file = file_index_;
    tensor.name = cursor_.take_string(kMaxNameBytes, "name");
    if (tensor.name.empty()) cursor_.corrupt("name is empty");
    cursor_.set_place("tensor '" + printable(tensor.name) + "'");
    const auto n_dims = cursor_.take<uint32_t>();
    if (n_dims < 1 || n_dims > kMaxDims)
      cursor_.corrupt(format_string("%u dimensions instead of 1 to 4", n_dims));
    tensor.shape.resize(n_dims);
    for (uint32_t d = n_dims; d-- > 0;) tensor.shape[d] = cursor_.take<uint64_t>();  // stored innermost first
    const auto id = cursor_.take<uint32_t>();
    const GgmlType* type = ggml_type(id);
    if (type == nullptr) refuse_type(id);
    tensor.dtype = type->name;
    tensor.encoding = type->encoding;
    tensor.bytes = tensor_bytes(*type, tensor.shape);
    tensor.offset = cursor_.take<uint64_t>();
    tensors_.push_back(std::move(tensor));
  }

  [[noreturn]] void refuse_type(uint32_t id) const {
    if (const std::string_view name = withdrawn_ggml_type(id); !name.empty()) {
      cursor_.unsupported(
          format_string("type %s was withdrawn from GGUF; quantise the model again", name.data()));
    }
    cursor_.unsupported(
        format_string("type number %u is not known; use another quantisation of the model", id));
  }

  uint64_t tensor_bytes(const GgmlType& type, const std::vector<uint64_t>& shape) const {
    uint64_t n_values = 1;
    for (const uint64_t dim : shape) {
      if (dim == 0) cursor_.corrupt("a dimension is 0");
      if (!checked_mul(n_values, dim, &n_values)) cursor_.corrupt("dimensions multiply to more than 2^64");
    }
    if (shape.back() % type.block != 0) {
      cursor_.corrupt(format_string("rows of %" PRIu64 " values are no whole blocks of %s (%u values)",
                                    shape.back(), type.name.data(), type.block));
    }
    uint64_t bytes = 0;
    if (!checked_mul(n_values / type.block, type.bytes, &bytes)) cursor_.corrupt("has more than 2^64 bytes");
    return bytes;
  }

  uint64_t data_alignment() {
    const auto stored = metadata_.integer("general.alignment");
    if (!stored) return kDefaultAlignment;
    const auto alignment = static_cast<uint64_t>(*stored);
    if (alignment == 0 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0) {
      cursor_.set_place("key 'general.alignment'");
      cursor_.corrupt(format_string("%" PRId64 " is no power of two up to %" PRIu64, *stored, kMaxAlignment));
    }
    return alignment;
  }

  std::shared_ptr<const File> file_;
  Cursor cursor_;
  uint32_t file_index_;
  uint64_t n_tensors_ = 0;
  uint64_t n_entries_ = 0;
  uint64_t n_array_elements_ = 0;
  GgufMetadata metadata_;
  std::vector<TensorInfo> tensors_;
};

namespace {

constexpr const char* kSplitCount = "split.count";
constexpr const char* kSplitNumber = "split.no";  // from 0
constexpr const char* kSplitTensors = "split.tensors.count";

class GgufCheckpoint final : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::string& path) {
    path_ = path;
    metadata_ = read_file(path);
    const int64_t n_parts = metadata_.integer(kSplitCount).value_or(1);
    if (n_parts != 1) read_parts(n_parts);
    finish();
  }

  CheckpointFamily family() const noexcept override { return CheckpointFamily::kGguf; }
  const GgufMetadata& metadata() const override { return metadata_; }

 private:
  GgufMetadata read_file(const std::string& path) {
    GgufReader reader(path, static_cast<uint32_t>(files_.size()));
    files_.push_back(path);
    std::move(reader.tensors().begin(), reader.tensors().end(), std::back_inserter(tensors_));
    return std::move(reader.metadata());
  }

  // The file that was opened is one of `n_parts`, and must be the first.
  void read_parts(int64_t n_parts) {
    const auto name = parse_split_name(path_, ".gguf");
    if (!name || name->count != n_parts) {
      throw_error(ErrorKind::kInvalid,
                  "%s: key '%s' says %" PRId64 " parts; such files must be named ...-00001-of-%05" PRId64
                  ".gguf",
                  path_.c_str(), kSplitCount, n_parts, n_parts);
    }
    if (name->number != 1) {
      throw_error(ErrorKind::kInvalid, "%s: is part %u of a model; open the first, %s", path_.c_str(),
                  name->number, name->part(1).c_str());
    }
    check_number(metadata_, 0, n_parts);
    for (uint32_t i = 2; i <= name->count; ++i) {
      const std::string part = name->part(i);
      try {
        check_number(read_file(part), i - 1, n_parts);
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::kNotFound) throw;
        throw_error(ErrorKind::kNotFound,
                    "%s: part %u of %u is missing, %s; download it into the same directory", path_.c_str(), i,
                    name->count, part.c_str());
      }
    }
    const auto n_tensors = metadata_.integer(kSplitTensors);
    if (n_tensors && static_cast<uint64_t>(*n_tensors) != tensors_.size()) {
      throw_error(ErrorKind::kCorrupt,
                  "%s: key '%s' says %" PRId64
                  " tensors, the parts hold %zu; download the parts of one model again",
                  path_.c_str(), kSplitTensors, *n_tensors, tensors_.size());
    }
  }

  void check_number(const GgufMetadata& part, int64_t number, int64_t n_parts) const {
    if (part.integer(kSplitNumber) == number && part.integer(kSplitCount) == n_parts) return;
    throw_error(ErrorKind::kCorrupt,
                "%s: keys '%s' and '%s' contradict the file name; download the parts of one model again",
                files_.back().c_str(), kSplitNumber, kSplitCount);
  }

  GgufMetadata metadata_;
};

// The name of what a value holds, for messages.
std::string kind_of(const GgufValue& value) {
  constexpr const char* kKinds[] = {"an integer",      "a number",         "a boolean",
                                    "a string",        "an integer array", "a number array",
                                    "a boolean array", "a string array"};
  static_assert(std::size(kKinds) == std::variant_size_v<GgufValue>);
  return kKinds[value.index()];
}

[[noreturn]] void wrong_type(const std::string& path, std::string_view key, const GgufValue& value,
                             const char* expected) {
  throw_error(ErrorKind::kCorrupt, "%s: key '%s' holds %s where %s belongs; convert the model again",
              path.c_str(), printable(key).c_str(), kind_of(value).c_str(), expected);
}

template <typename T>
const T* look_up(const GgufMetadata& metadata, const std::string& path, std::string_view key,
                 const char* expected) {
  const GgufValue* value = metadata.find(key);
  if (value == nullptr) return nullptr;
  if (const T* typed = std::get_if<T>(value)) return typed;
  wrong_type(path, key, *value, expected);
}

}  // namespace

const GgufValue* GgufMetadata::find(std::string_view key) const noexcept {
  const auto found =
      std::lower_bound(by_key_.begin(), by_key_.end(), key,
                       [this](uint32_t i, std::string_view k) { return entries_[i].first < k; });
  return found != by_key_.end() && entries_[*found].first == key ? &entries_[*found].second : nullptr;
}

std::optional<int64_t> GgufMetadata::integer(std::string_view key) const {
  const auto* value = look_up<int64_t>(*this, path_, key, "an integer");
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<double> GgufMetadata::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* whole = std::get_if<int64_t>(value)) return static_cast<double>(*whole);
  return *look_up<double>(*this, path_, key, "a number");
}

std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  const auto* value = look_up<bool>(*this, path_, key, "a boolean");
  return value ? std::optional(*value) : std::nullopt;
}

const std::string* GgufMetadata::string(std::string_view key) const {
  return look_up<std::string>(*this, path_, key, "a string");
}

const std::vector<int64_t>* GgufMetadata::integers(std::string_view key) const {
  return look_up<std::vector<int64_t>>(*this, path_, key, "an integer array");
}

const std::vector<double>* GgufMetadata::numbers(std::string_view key) const {
  return look_up<std::vector<double>>(*this, path_, key, "a number array");
}

const std::vector<std::string>* GgufMetadata::strings(std::string_view key) const {
  return look_up<std::vector<std::string>>(*this, path_, key, "a string array");
}

std::shared_ptr<const Checkpoint> open_gguf(const std::string& path) {
  return std::make_shared<GgufCheckpoint>(path);
}

}  // namespace sluice
