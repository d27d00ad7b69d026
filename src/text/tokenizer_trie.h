// A set of byte strings with numbers, for finding all of them that begin at a place of a text.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice {

class ByteTrie {
 public:
  static constexpr int32_t kNone = -1;

  ByteTrie();

  // Precondition: `key` is not empty, `value` >= 0. The first value of a key counts.
  void add(std::string_view key, int32_t value);

  // Node reached from `node` (0 is the root) by one byte, or kNone.
  int32_t child(int32_t node, uint8_t byte) const noexcept;
  // The value of the key that ends at `node`, or kNone.
  int32_t value(int32_t node) const noexcept { return values_[static_cast<size_t>(node)]; }

  // Calls each(length, value) for every key that `text` begins with, shortest first.
  template <typename Each>
  void for_each_prefix(std::string_view text, Each each) const {
    int32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<uint8_t>(text[i]));
      if (node == kNone) return;
      if (value(node) != kNone) each(i + 1, value(node));
    }
  }

 private:
  struct Slot {
    uint64_t edge = ~0ull;  // parent << 8 | byte
    int32_t child = kNone;
  };
  size_t home(uint64_t edge) const noexcept;
  void insert(uint64_t edge, int32_t child);

  std::array<int32_t, 256> first_;  // children of the root: most look-ups end here
  std::vector<Slot> slots_;         // the other edges; open addressing
  std::vector<int32_t> values_;     // [n_nodes]
  size_t n_edges_ = 0;
};

}  // namespace sluice
