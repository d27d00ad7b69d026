// The text side of Engine: tokens, chat templates, recommended sampling.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/engine_impl.h"

namespace sluice {
namespace {

const Tokenizer& need_tokenizer(const TextAssets& text, const std::string& path) {
  if (!text.tokenizer)
    throw_error(ErrorKind::kUnsupported, "%s brings no tokenizer: give token ids with --ids", path.c_str());
  return *text.tokenizer;
}

}  // namespace

bool Engine::has_tokenizer() const noexcept { return impl_->text.tokenizer != nullptr; }

std::vector<int32_t> Engine::tokenize(std::string_view text, bool add_bos, bool parse_special) const {
  EncodeOptions options;
  options.add_special = add_bos ? EncodeOptions::AddSpecial::kDefault : EncodeOptions::AddSpecial::kNever;
  options.parse_special = parse_special;
  return need_tokenizer(impl_->text, impl_->info.path).encode(text, options);
}

std::string Engine::detokenize(std::span<const int32_t> ids, bool skip_special) const {
  return need_tokenizer(impl_->text, impl_->info.path).decode(ids, skip_special);
}

std::vector<int32_t> Engine::end_tokens() const { return impl_->session_context.end_tokens; }

bool Engine::has_chat_template() const noexcept { return impl_->text.chat_template.has_value(); }

std::string Engine::render_chat(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  if (!impl_->text.chat_template) {
    std::string text;
    for (const ChatMessage& message : messages) text += (text.empty() ? "" : "\n") + message.content;
    return text;
  }
  const Tokenizer& tokenizer = need_tokenizer(impl_->text, impl_->info.path);
  const auto text_of = [&](std::optional<int32_t> id) {
    return id ? std::string(tokenizer.token_text(*id)) : std::string();
  };
  nlohmann::ordered_json context;
  context["messages"] = nlohmann::ordered_json::array();
  for (const ChatMessage& message : messages)
    context["messages"].push_back({{"role", message.role}, {"content", message.content}});
  context["add_generation_prompt"] = add_generation_prompt;
  context["bos_token"] = text_of(tokenizer.bos());
  context["eos_token"] = text_of(tokenizer.eos());
  return impl_->text.chat_template->render(context);
}

std::vector<int32_t> Engine::chat_tokens(std::span<const ChatMessage> messages,
                                         bool add_generation_prompt) const {
  // A template writes the BOS itself.
  return tokenize(render_chat(messages, add_generation_prompt), /*add_bos=*/!has_chat_template());
}

void Engine::check(const GenerateOptions& options) const {
  check_sampler_options(options.sampler, impl_->info.vocab);
}

SamplerOptions Engine::default_sampler() const { return impl_->text.sampler; }

}  // namespace sluice
