// The writing half of safetensors.h.
#include <nlohmann/json.hpp>

#include "base/align.h"
#include "base/check.h"
#include "format/safetensors.h"

namespace sluice {

struct SafetensorsWriter::Impl {
  Impl(const std::string& path, std::string_view format) : file(path) {
    header["__metadata__"] = {{"format", format}};
  }

  FileWriter file;
  nlohmann::json header;  // sorted by name: the format gives no order, and look-ups stay fast
  uint64_t declared = 0;  // bytes of data
  uint64_t written = 0;
  bool in_data = false;
};

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::string_view format)
    : impl_(std::make_unique<Impl>(path, format)) {}
SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::declare_tensor(std::string_view name, std::string_view dtype,
                                       std::span<const uint64_t> shape) {
  SLUICE_CHECK(!impl_->in_data);
  uint64_t bits = safetensors_dtype_bits(dtype);
  SLUICE_CHECK(bits != 0, "dtype %s", std::string(dtype).c_str());
  for (const uint64_t dim : shape) SLUICE_CHECK(checked_mul(bits, dim, &bits));
  SLUICE_CHECK(bits % 8 == 0);
  const uint64_t begin = impl_->declared;
  impl_->declared += bits / 8;
  auto [entry, is_new] = impl_->header.emplace(
      std::string(name), nlohmann::json{{"dtype", dtype},
                                        {"shape", std::vector<uint64_t>(shape.begin(), shape.end())},
                                        {"data_offsets", {begin, impl_->declared}}});
  SLUICE_CHECK(is_new, "tensor %s declared twice", std::string(name).c_str());
}

void SafetensorsWriter::begin_data() {
  SLUICE_CHECK(!impl_->in_data);
  impl_->in_data = true;
  std::string text = impl_->header.dump();
  text.resize(round_up(text.size(), 8), ' ');  // so that the data begins aligned
  const uint64_t length = text.size();
  impl_->file.write(std::as_bytes(std::span(&length, 1)));
  impl_->file.write(std::as_bytes(std::span(text)));
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  SLUICE_CHECK(impl_->in_data && bytes.size() <= impl_->declared - impl_->written);
  impl_->file.write(bytes);
  impl_->written += bytes.size();
}

void SafetensorsWriter::commit() {
  SLUICE_CHECK(impl_->in_data && impl_->written == impl_->declared);
  impl_->file.commit();
}

}  // namespace sluice
