// The tokens of a model: id to text and text to id. Texts lie in one arena and look-ups allocate nothing.
// What a text means (bytes, pieces with U+2581) is the model's business.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

// Numbers as in SentencePiece's and GGUF's token types.
enum class TokenKind : uint8_t {
  kMissing = 0,      // an id without a token
  kNormal = 1,       // the model makes it from text
  kUnknown = 2,      // stands for text that the model cannot write
  kControl = 3,      // never made from text, unless special tokens are asked for
  kUserDefined = 4,  // cut out of the text before the model sees it
  kUnused = 5,
  kByte = 6,  // "<0x0A>": one byte of a character that the model cannot write
};

// Mixes 8 bytes at a time; tables of our own only, nothing persistent.
inline uint64_t hash_bytes(std::string_view bytes) noexcept {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15ull;
  uint64_t hash = bytes.size() * kMultiplier;
  const auto mix = [&](uint64_t word) {
    const auto product = static_cast<unsigned __int128>(hash ^ word) * kMultiplier;
    hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    mix(word);
  }
  if (i < bytes.size()) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, bytes.size() - i);
    mix(word + 1);
  }
  return hash;
}

class Vocabulary {
 public:
  static constexpr int32_t kMaxId =
      (1 << 22) - 1;  // far above any model; bounds what a file can make us allocate

  // Room for `n_tokens` with `n_bytes` of text.
  void reserve(size_t n_tokens, size_t n_bytes);

  // Gives `id` a text and a kind. Of several ids with one text, find() knows the first normal one, else the
  // first. Precondition: 0 <= id <= kMaxId, `id` has no text yet.
  void add(int32_t id, std::string_view text, TokenKind kind);

  void set_kind(int32_t id, TokenKind kind) { entries_[static_cast<size_t>(id)].kind = kind; }

  // -1 when there is none.
  int32_t find(std::string_view text) const noexcept;

  // find(), but only tokens that the model makes from text.
  int32_t find_normal(std::string_view text) const noexcept {
    const int32_t id = find(text);
    return id >= 0 && kind(id) == TokenKind::kNormal ? id : -1;
  }

  // Empty and kMissing for ids without a token.
  std::string_view text(int32_t id) const noexcept {
    if (!contains(id)) return {};
    const Entry& entry = entries_[static_cast<size_t>(id)];
    return {arena_.data() + entry.begin, entry.length};
  }
  TokenKind kind(int32_t id) const noexcept {
    return contains(id) ? entries_[static_cast<size_t>(id)].kind : TokenKind::kMissing;
  }

  size_t size() const noexcept { return entries_.size(); }  // largest id + 1
  size_t longest() const noexcept { return longest_; }      // bytes of the longest text

 private:
  struct Entry {
    uint64_t begin = 0;
    uint32_t length = 0;
    TokenKind kind = TokenKind::kMissing;
  };
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;
  };

  bool contains(int32_t id) const noexcept { return static_cast<size_t>(id) < entries_.size() && id >= 0; }
  void index(int32_t id);
  void grow(size_t n_slots);

  std::string arena_;
  std::vector<Entry> entries_;  // [size()]
  std::vector<Slot> slots_;     // open addressing; a power of two, at most half full
  size_t n_indexed_ = 0;
  size_t longest_ = 0;
};

}  // namespace sluice
