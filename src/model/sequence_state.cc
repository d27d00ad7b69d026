#include "model/sequence_state.h"

#include "base/align.h"
#include "base/check.h"

namespace sluice {

SequenceState::SequenceState(const KvShape& shape, MemoryBudget& budget)
    : shape_(shape), budget_(budget), table_(static_cast<size_t>(shape.n_layers)) {}

SequenceState::~SequenceState() { budget_.release(MemoryUse::kKvCache, bytes()); }

uint64_t SequenceState::bytes() const noexcept { return storage_.size() * shape_.bytes_per_block(); }

void SequenceState::reserve(int64_t n_tokens) {
  const size_t wanted = div_up(static_cast<uint64_t>(n_tokens), static_cast<uint64_t>(kKvBlockTokens));
  while (storage_.size() < wanted) {
    budget_.reserve(MemoryUse::kKvCache, shape_.bytes_per_block());
    try {
      PageBuffer buffer(shape_.bytes_per_block());
      for (size_t l = 0; l < table_.size(); ++l) {
        table_[l].reserve(wanted);
      }
      storage_.push_back(std::move(buffer));
    } catch (...) {
      budget_.release(MemoryUse::kKvCache, shape_.bytes_per_block());
      throw;
    }
    for (size_t l = 0; l < table_.size(); ++l) {
      table_[l].push_back(storage_.back().data() + l * shape_.layer_block_bytes());
    }
  }
}

void SequenceState::advance(int64_t n_tokens) {
  SLUICE_CHECK(n_tokens >= n_tokens_ && n_tokens <= static_cast<int64_t>(storage_.size()) * kKvBlockTokens);
  n_tokens_ = n_tokens;
}

void SequenceState::truncate(int64_t n_tokens) {
  SLUICE_CHECK(n_tokens >= 0 && n_tokens <= n_tokens_);
  n_tokens_ = n_tokens;
  const size_t kept = div_up(static_cast<uint64_t>(n_tokens), static_cast<uint64_t>(kKvBlockTokens));
  while (storage_.size() > kept) {
    for (auto& blocks : table_) blocks.pop_back();
    storage_.pop_back();
    budget_.release(MemoryUse::kKvCache, shape_.bytes_per_block());
  }
}

std::span<const std::byte* const> SequenceState::blocks(int64_t layer) const noexcept {
  return table_[static_cast<size_t>(layer)];
}

std::byte* SequenceState::block(int64_t layer, int64_t index) noexcept {
  return storage_[static_cast<size_t>(index)].data() +
         static_cast<size_t>(layer) * shape_.layer_block_bytes();
}

}  // namespace sluice
