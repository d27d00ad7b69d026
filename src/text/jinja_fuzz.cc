// Any text as a template, on one conversation: it renders or gives an Error, within its bounds.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "sluice/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto kContext = nlohmann::ordered_json::parse(R"({
    "messages": [{"role": "user", "content": "Hé <b> 'x' \"y\"\n"},
                 {"role": "assistant", "content": null,
                  "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"n": 1.5, "t": true}}}]},
                 {"role": "tool", "content": [{"type": "text", "text": "22"}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "x": 3, "s": "a b  c", "add_generation_prompt": true, "bos_token": "<s>"})");
  sluice::RenderOptions options;
  options.now = 1'752'148'800;
  options.max_steps = 200'000;
  options.max_output_bytes = 1 << 20;
  try {
    const sluice::ChatTemplate chat_template({reinterpret_cast<const char*>(data), size}, "fuzz");
    chat_template.render(kContext, options);
  } catch (const sluice::Error&) {
  }
  return 0;
}
