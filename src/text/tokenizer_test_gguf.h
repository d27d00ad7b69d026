// A minimal reader of GGUF metadata, for tests.
#pragma once

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "tests/shared_data.h"
#include "text/tokenizer.h"

namespace sluice::test {

class GgufBytes {
 public:
  explicit GgufBytes(std::string bytes) : bytes_(std::move(bytes)) {}
  template <typename T>
  T take() {
    T value;
    std::memcpy(&value, need(sizeof(T)), sizeof(T));
    return value;
  }
  std::string text() {
    const auto n = take<uint64_t>();
    return {need(n), n};
  }
  void skip(uint32_t type) {
    if (type == 8) {
      text();
    } else if (type == 9) {
      const auto element = take<uint32_t>();
      for (auto n = take<uint64_t>(); n > 0; --n) skip(element);
    } else {
      const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
      need(sizes[type]);
    }
  }

 private:
  const char* need(size_t n) {
    if (n > bytes_.size() - at_) throw std::runtime_error("short GGUF");
    at_ += n;
    return bytes_.data() + at_ - n;
  }
  std::string bytes_;
  size_t at_ = 0;
};

inline std::shared_ptr<const Tokenizer> load_gguf_tokenizer(const std::string& path) {
  GgufBytes in(read_file(path));
  in.take<uint64_t>();
  in.take<uint64_t>();
  GgufVocabulary v;
  for (auto n = in.take<uint64_t>(); n > 0; --n) {
    const std::string key = in.text();
    const auto type = in.take<uint32_t>();
    const std::string prefix = "tokenizer.ggml.";
    const std::string name = key.starts_with(prefix) ? key.substr(prefix.size()) : "";
    if (name == "model")
      v.model = in.text();
    else if (name == "pre")
      v.pre = in.text();
    else if (name == "tokens" || name == "merges") {
      in.take<uint32_t>();
      auto& list = name == "tokens" ? v.tokens : v.merges;
      for (auto k = in.take<uint64_t>(); k > 0; --k) list.push_back(in.text());
    } else if (name == "scores") {
      in.take<uint32_t>();
      for (auto k = in.take<uint64_t>(); k > 0; --k) v.scores.push_back(in.take<float>());
    } else if (name == "token_type") {
      in.take<uint32_t>();
      for (auto k = in.take<uint64_t>(); k > 0; --k) v.types.push_back(in.take<int32_t>());
    } else if (name == "bos_token_id")
      v.bos = in.take<int32_t>();
    else if (name == "eos_token_id")
      v.eos = in.take<int32_t>();
    else if (name == "unknown_token_id")
      v.unk = in.take<int32_t>();
    else if (name == "add_bos_token")
      v.add_bos = in.take<uint8_t>() != 0;
    else
      in.skip(type);
  }
  return load_tokenizer_gguf(v, path);
}

}  // namespace sluice::test
