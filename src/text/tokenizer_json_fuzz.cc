// tokenizer.json from arbitrary bytes; what loads must encode and decode without harm. With a first byte of 1
// the rest is vocab.json, with 2 tokenizer_config.json.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/error.h"
#include "text/tokenizer.h"

namespace {

constexpr std::string_view kSmallest =
    R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"<s>":2},"merges":[]}})";

std::shared_ptr<const sluice::Tokenizer> load(std::string_view bytes) {
  if (bytes.starts_with('\x01')) return sluice::load_vocab_merges(bytes.substr(1), "#version\n", "gpt-2");
  if (bytes.starts_with('\x02')) return sluice::load_tokenizer_json(kSmallest, bytes.substr(1));
  return sluice::load_tokenizer_json(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = load(bytes);
    const std::string_view text = bytes.substr(0, 256);
    for (const bool parse_special : {false, true}) {
      const auto ids =
          tokenizer->encode(text, {sluice::EncodeOptions::AddSpecial::kAlways, parse_special, true});
      for (const int32_t id : ids) {
        if (id < 0 || static_cast<size_t>(id) >= tokenizer->vocab_size()) __builtin_trap();
      }
      (void)tokenizer->decode(ids, parse_special);
    }
  } catch (const sluice::Error&) {
  }
  return 0;
}
