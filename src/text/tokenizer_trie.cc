#include "text/tokenizer_trie.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sluice {

ByteTrie::ByteTrie() : values_(1, kNone) { first_.fill(kNone); }

size_t ByteTrie::home(uint64_t edge) const noexcept {
  const uint64_t mixed = edge * 0x9E3779B97F4A7C15ull;
  return (mixed ^ mixed >> 32) & (slots_.size() - 1);
}

int32_t ByteTrie::child(int32_t node, uint8_t byte) const noexcept {
  if (node == 0) return first_[byte];
  if (slots_.empty()) return kNone;
  const uint64_t edge = static_cast<uint64_t>(node) << 8 | byte;
  for (size_t i = home(edge);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].edge == edge) return slots_[i].child;
    if (slots_[i].child == kNone) return kNone;
  }
}

void ByteTrie::insert(uint64_t edge, int32_t child) {
  size_t i = home(edge);
  while (slots_[i].child != kNone) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {edge, child};
}

void ByteTrie::add(std::string_view key, int32_t value) {
  SLUICE_CHECK(!key.empty() && value >= 0);
  int32_t node = 0;
  for (const char c : key) {
    const auto byte = static_cast<uint8_t>(c);
    int32_t next = child(node, byte);
    if (next == kNone) {
      next = static_cast<int32_t>(values_.size());
      values_.push_back(kNone);
      if (node == 0) {
        first_[byte] = next;
      } else {
        if (2 * (n_edges_ + 1) > slots_.size()) {
          const auto old = std::exchange(slots_, std::vector<Slot>(std::max<size_t>(64, 2 * slots_.size())));
          for (const Slot& slot : old) {
            if (slot.child != kNone) insert(slot.edge, slot.child);
          }
        }
        insert(static_cast<uint64_t>(node) << 8 | byte, next);
        ++n_edges_;
      }
    }
    node = next;
  }
  if (values_[static_cast<size_t>(node)] == kNone) values_[static_cast<size_t>(node)] = value;
}

}  // namespace sluice
