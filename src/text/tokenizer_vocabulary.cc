#include "text/tokenizer_vocabulary.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"

namespace sluice {

void Vocabulary::reserve(size_t n_tokens, size_t n_bytes) {
  entries_.reserve(n_tokens);
  arena_.reserve(n_bytes);
  grow(std::bit_ceil(2 * n_tokens + 2));
}

void Vocabulary::add(int32_t id, std::string_view text, TokenKind kind) {
  SLUICE_CHECK(id >= 0 && id <= kMaxId, "id = %d", id);
  SLUICE_CHECK(this->kind(id) == TokenKind::kMissing, "id = %d", id);
  if (static_cast<size_t>(id) >= entries_.size()) entries_.resize(static_cast<size_t>(id) + 1);
  entries_[static_cast<size_t>(id)] = {arena_.size(), static_cast<uint32_t>(text.size()), kind};
  arena_ += text;
  longest_ = std::max(longest_, text.size());
  if (2 * (n_indexed_ + 1) > slots_.size()) grow(std::max<size_t>(16, 2 * slots_.size()));
  index(id);
}

void Vocabulary::index(int32_t id) {
  const std::string_view key = text(id);
  const uint64_t hash = hash_bytes(key);
  for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
    Slot& slot = slots_[i];
    if (slot.id < 0) {
      slot = {static_cast<uint32_t>(hash >> 32), id};
      ++n_indexed_;
      return;
    }
    if (slot.hash == static_cast<uint32_t>(hash >> 32) && text(slot.id) == key) {
      if (kind(slot.id) != TokenKind::kNormal && kind(id) == TokenKind::kNormal) slot.id = id;
      return;
    }
  }
}

void Vocabulary::grow(size_t n_slots) {
  std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(n_slots));
  n_indexed_ = 0;
  for (const Slot& slot : old) {
    if (slot.id >= 0) index(slot.id);
  }
}

int32_t Vocabulary::find(std::string_view key) const noexcept {
  if (slots_.empty() || key.size() > longest_) return -1;
  const uint64_t hash = hash_bytes(key);
  for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[i];
    if (slot.id < 0) return -1;
    if (slot.hash == static_cast<uint32_t>(hash >> 32) && text(slot.id) == key) return slot.id;
  }
}

}  // namespace sluice
