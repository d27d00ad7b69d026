// SentencePiece models and rank files from arbitrary bytes; what loads must encode and decode without harm.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const bool rank_file : {false, true}) {
    try {
      const auto tokenizer = rank_file ? sluice::load_tiktoken(bytes, "llama-bpe", {{"<|x|>", 300}})
                                       : sluice::load_sentencepiece(bytes);
      const auto ids =
          tokenizer->encode(bytes.substr(0, 256), {sluice::EncodeOptions::AddSpecial::kDefault, true, true});
      for (const int32_t id : ids) {
        if (id < 0 || static_cast<size_t>(id) >= tokenizer->vocab_size()) __builtin_trap();
      }
      (void)tokenizer->decode(ids);
    } catch (const sluice::Error&) {
    }
  }
  return 0;
}
