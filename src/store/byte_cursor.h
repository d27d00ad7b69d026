// Reads values of a file of ours in order, each held against what is left; and appends them for the writer.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace sluice {

static_assert(std::endian::native == std::endian::little, "our files are little-endian");

class ByteCursor {
 public:
  // For messages: "`where`, `kind`, is cut short (byte 12): `remedy`". `where` must outlive the cursor.
  ByteCursor(std::span<const std::byte> bytes, const std::string& where, const char* kind, const char* remedy)
      : bytes_(bytes), where_(where), kind_(kind), remedy_(remedy) {}

  template <typename T>
  T take() {
    T value;
    std::memcpy(&value, take_bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::span<const std::byte> take_bytes(uint64_t n) {
    if (n > left()) refuse("is cut short");
    const auto taken = bytes_.subspan(at_, n);
    at_ += n;
    return taken;
  }
  std::string take_text(uint64_t n) {
    const auto taken = take_bytes(n);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  uint64_t left() const { return bytes_.size() - at_; }

  [[noreturn]] void refuse(const std::string& what) const {
    throw_error(ErrorKind::kCorrupt, "%s, %s, %s (byte %zu): %s", where_.c_str(), kind_, what.c_str(), at_,
                remedy_);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
  const char* kind_;
  const char* remedy_;
  size_t at_ = 0;
};

template <typename T>
void append_bytes(std::vector<std::byte>& to, const T& value) {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof(T));
}

}  // namespace sluice
