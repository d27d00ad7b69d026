// The writing half of gguf.h.
#include <algorithm>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>

#include "base/align.h"
#include "base/check.h"
#include "base/error.h"
#include "format/gguf.h"
#include "format/gguf_types.h"
#include "platform/file.h"

namespace sluice {
namespace {

constexpr uint32_t kVersion = 3;

template <typename T>
void append(std::string* out, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void append_string(std::string* out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out->append(text);
}

template <typename T>
void append_integer(std::string* out, int64_t value) {
  SLUICE_CHECK(std::in_range<T>(value), "%lld does not fit its type", static_cast<long long>(value));
  append(out, static_cast<T>(value));
}

void append_scalar(std::string* out, GgufType type, int64_t value) {
  switch (type) {
    case GgufType::kU8:
      return append_integer<uint8_t>(out, value);
    case GgufType::kI8:
      return append_integer<int8_t>(out, value);
    case GgufType::kU16:
      return append_integer<uint16_t>(out, value);
    case GgufType::kI16:
      return append_integer<int16_t>(out, value);
    case GgufType::kU32:
      return append_integer<uint32_t>(out, value);
    case GgufType::kI32:
      return append_integer<int32_t>(out, value);
    case GgufType::kU64:
      return append_integer<uint64_t>(out, value);
    case GgufType::kI64:
      return append(out, value);
    default:
      SLUICE_CHECK(false, "an integer is not of GGUF type %u", static_cast<unsigned>(type));
  }
}

void append_scalar(std::string* out, GgufType type, double value) {
  SLUICE_CHECK(type == GgufType::kF32 || type == GgufType::kF64);
  if (type == GgufType::kF32) return append(out, static_cast<float>(value));
  append(out, value);
}

void append_scalar(std::string* out, GgufType type, bool value) {
  SLUICE_CHECK(type == GgufType::kBool);
  append<uint8_t>(out, value);
}

void append_scalar(std::string* out, GgufType type, const std::string& value) {
  SLUICE_CHECK(type == GgufType::kString);
  append_string(out, value);
}

template <typename T>
void append_value(std::string* out, GgufType type, const T& value) {
  append(out, type);
  append_scalar(out, type, value);
}

template <typename T>
void append_value(std::string* out, GgufType type, const std::vector<T>& values) {
  append(out, GgufType::kArray);
  append(out, type);
  append<uint64_t>(out, values.size());
  for (const T& value : values) append_scalar(out, type, value);
}

}  // namespace

struct GgufWriter::Impl {
  Impl() = default;
  explicit Impl(const std::string& path_to_write) : path(path_to_write), file(std::in_place, path_to_write) {}

  // Pads behind every tensor that is now complete, the last one too.
  void close_tensors() {
    while (tensor < bytes_of.size() && written == bytes_of[tensor]) {
      file->pad_to(alignment);
      written = 0;
      ++tensor;
    }
  }

  std::string path;
  std::optional<FileWriter> file;
  std::string metadata;  // key/values as stored
  std::string table;     // tensor infos as stored
  uint64_t n_entries = 0;
  uint64_t alignment = 32;
  std::set<std::string, std::less<>> keys;
  std::set<std::string, std::less<>> names;
  std::vector<uint64_t> bytes_of;  // [n_tensors]
  uint64_t offset = 0;             // of the next tensor in the data
  bool in_data = false;
  size_t tensor = 0;     // being written
  uint64_t written = 0;  // bytes of it
};

GgufWriter::GgufWriter() : impl_(std::make_unique<Impl>()) {}
GgufWriter::GgufWriter(const std::string& path) : impl_(std::make_unique<Impl>(path)) {}
GgufWriter::~GgufWriter() = default;

void GgufWriter::add(std::string_view key, GgufType type, const GgufValue& value) {
  SLUICE_CHECK(!impl_->in_data);
  SLUICE_CHECK(!key.empty() && impl_->keys.emplace(key).second, "key '%s' is empty or added twice",
               std::string(key).c_str());
  if (key == "general.alignment") {
    const auto* alignment = std::get_if<int64_t>(&value);
    SLUICE_CHECK(alignment && *alignment > 0 && (*alignment & (*alignment - 1)) == 0);
    SLUICE_CHECK(impl_->bytes_of.empty(), "the alignment comes before the tensors");
    impl_->alignment = static_cast<uint64_t>(*alignment);
  }
  append_string(&impl_->metadata, key);
  std::visit([&](const auto& typed) { append_value(&impl_->metadata, type, typed); }, value);
  ++impl_->n_entries;
}

void GgufWriter::declare_tensor(std::string_view name, Encoding encoding, std::span<const uint64_t> shape) {
  SLUICE_CHECK(!impl_->in_data);
  SLUICE_CHECK(!name.empty() && impl_->names.emplace(name).second,
               "tensor '%s' is declared twice or has no name", std::string(name).c_str());
  const GgmlType* type = ggml_type(encoding);
  if (type == nullptr) {
    throw_error(ErrorKind::kUnsupported,
                "%s: tensor '%s': GGUF has no encoding %s; write a Hugging Face directory instead",
                impl_->path.c_str(), printable(name).c_str(), encoding_info(encoding).name.data());
  }
  SLUICE_CHECK(!shape.empty() && shape.size() <= 4 && shape.back() % type->block == 0);
  uint64_t n_values = 1;
  for (const uint64_t dim : shape) SLUICE_CHECK(dim > 0 && checked_mul(n_values, dim, &n_values));
  const uint64_t bytes = n_values / type->block * type->bytes;

  append_string(&impl_->table, name);
  append<uint32_t>(&impl_->table, static_cast<uint32_t>(shape.size()));
  for (size_t d = shape.size(); d-- > 0;) append(&impl_->table, shape[d]);  // stored innermost first
  append(&impl_->table, type->id);
  append(&impl_->table, impl_->offset);
  impl_->bytes_of.push_back(bytes);
  impl_->offset += round_up(bytes, impl_->alignment);
}

std::string GgufWriter::header() const {
  std::string header = "GGUF";
  append(&header, kVersion);
  append<uint64_t>(&header, impl_->bytes_of.size());
  append(&header, impl_->n_entries);
  header += impl_->metadata;
  header += impl_->table;
  header.resize(round_up(header.size(), impl_->alignment));
  return header;
}

uint64_t GgufWriter::data_bytes() const { return impl_->offset; }

void GgufWriter::begin_data() {
  SLUICE_CHECK(!impl_->in_data && impl_->file);
  impl_->in_data = true;
  const std::string bytes = header();
  impl_->file->write(std::as_bytes(std::span(bytes)));
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  SLUICE_CHECK(impl_->in_data);
  while (!bytes.empty()) {
    SLUICE_CHECK(impl_->tensor < impl_->bytes_of.size(), "more bytes than were declared");
    const uint64_t left = impl_->bytes_of[impl_->tensor] - impl_->written;
    const size_t n = std::min<uint64_t>(left, bytes.size());
    impl_->file->write(bytes.first(n));
    impl_->written += n;
    bytes = bytes.subspan(n);
    impl_->close_tensors();
  }
}

void GgufWriter::commit() {
  SLUICE_CHECK(impl_->in_data && impl_->tensor == impl_->bytes_of.size(), "%zu of %zu tensors were written",
               impl_->tensor, impl_->bytes_of.size());
  impl_->file->commit();
}

}  // namespace sluice
