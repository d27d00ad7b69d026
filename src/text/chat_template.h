// Chat templates: the Jinja text that a model ships, which turns messages and tools into a prompt.
//
// Renders byte for byte what Python jinja2 3.1 gives as Hugging Face transformers configures it: trim_blocks
// and lstrip_blocks, break/continue, {% generation %}, an immutable sandbox (list.append and the like are
// refused), tojson without HTML escaping, raise_exception and strftime_now. Several templates in one file
// (include, import, extends, block) are refused by name. Values are data: text from a user is never parsed as
// template. This file owns what the rest of the program sees; the language itself is in jinja_*.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

struct RenderOptions {
  // What strftime_now formats, as local civil time in seconds since 1970-01-01 00:00 (no time zone is applied
  // to it); empty: the wall clock in the machine's zone.
  std::optional<int64_t> now;
  // Bounds on a hostile template: work units (roughly one per expression, statement, item or 16 bytes of
  // text made), and bytes of the rendering (16 MiB for a string on the way).
  uint64_t max_steps = 20'000'000;
  size_t max_output_bytes = size_t{64} << 20;
};

// "2025-07-10T12:00:00" or "2025-07-10" (midnight) for RenderOptions::now. Throws Error(kInvalid) naming
// `what` on anything else.
int64_t parse_now(std::string_view text, std::string_view what = "--now");

namespace jinja {
struct Template;
}

// A parsed template. Immutable, so render() may run on any number of threads at once. Copies share the parse.
class ChatTemplate {
 public:
  // Throws Error(kInvalid) on a syntax error and Error(kUnsupported) on a tag that needs other templates,
  // with line and column. `name` is what messages call the template.
  explicit ChatTemplate(std::string_view source, std::string name = "");

  // `context` is an object of variables: messages, tools, add_generation_prompt, bos_token, ... Whole numbers
  // stay int and the others float, as in Python. Throws Error(kInvalid) where Python raises (for
  // raise_exception with the template's message), at a limit of `options`, and for a context that is not an
  // object or holds integers beyond 64 signed bits.
  std::string render(const nlohmann::ordered_json& context, const RenderOptions& options = {}) const;

  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::shared_ptr<const jinja::Template> template_;
};

// What a template can express, found by rendering small conversations and looking for what was put in. A
// caller uses it to reshape messages (fold a system message into the first user turn, parse tool arguments).
struct ChatTemplateCaps {
  bool supports_system_role = false;          // a system message appears
  bool supports_tools = false;                // `tools` appear
  bool supports_tool_calls = false;           // an assistant's tool_calls appear
  bool supports_parallel_tool_calls = false;  // two in one message appear
  bool supports_tool_responses = false;       // a message of role "tool" appears
  bool requires_object_arguments = false;     // tool_calls arguments must be objects, not JSON text
  bool requires_typed_content = false;        // content must be [{"type": "text", "text": ...}]
  bool supports_typed_content = false;        // content may be that
  bool supports_reasoning_content = false;    // an assistant's reasoning_content appears
  bool adds_generation_prompt = false;        // add_generation_prompt appends something
};

ChatTemplateCaps probe_caps(const ChatTemplate& chat_template);

}  // namespace sluice
