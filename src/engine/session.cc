#include "sluice/session.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "engine/session_impl.h"
#include "platform/clock.h"

namespace sluice {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
  }
  return "";
}

void Session::Impl::append(std::span<const int32_t> added, const GenerateOptions& generate) {
  check_sampler_options(generate.sampler, context.vocab);
  for (const int32_t id : added) {
    if (id < 0 || id >= context.vocab)
      throw_error(ErrorKind::kInvalid, "token id %d is outside the vocabulary of %lld tokens", id,
                  static_cast<long long>(context.vocab));
  }
  const size_t total = tokens.size() + added.size();
  if (total == 0)
    throw_error(ErrorKind::kInvalid,
                "nothing to go on from: the prompt is empty and the model has no BOS token to begin with");
  if (static_cast<int64_t>(total) > context.n_ctx)
    throw_error(
        ErrorKind::kInvalid,
        "the prompt has %zu tokens after the %zu that are there, the context %lld: shorten it or start "
        "with a larger --ctx",
        added.size(), tokens.size(), static_cast<long long>(context.n_ctx));

  // A stop string that is one special token never shows up in the text: it is looked for by its id.
  std::vector<int32_t> ids = generate.stop_tokens;
  std::vector<std::string> strings;
  for (const std::string& stop : generate.stop) {
    const std::optional<int32_t> id =
        context.tokenizer ? context.tokenizer->find(stop) : std::optional<int32_t>();
    if (id && context.tokenizer->is_special(*id)) {
      ids.push_back(*id);
    } else {
      strings.push_back(stop);
    }
  }
  std::sort(ids.begin(), ids.end());

  tokens.insert(tokens.end(), added.begin(), added.end());
  // The last token is read again if its logits are gone.
  if (pending().empty()) state->truncate(state->n_tokens() - 1);
  n_prompt = added.size();
  generated_from = tokens.size();
  options = generate;
  stop_tokens = std::move(ids);
  sampler = Sampler(generate.sampler);
  text.emplace(context.tokenizer, !continues_text(), std::move(strings));
  finish_reason = FinishReason::kNone;
  running = true;
  appended_ns = monotonic_ns();
  first_token_seconds = 0;
}

// False as long as there are only control tokens: what is generated then begins the text.
bool Session::Impl::continues_text() const {
  return !context.tokenizer || std::any_of(tokens.begin(), tokens.end(),
                                           [this](int32_t id) { return !context.tokenizer->is_special(id); });
}

void Session::Impl::finish(FinishReason reason) {
  finish_reason = reason;
  running = false;
  text->finish();
}

void Session::Impl::accept(std::span<const float> logits) {
  const auto vocab = static_cast<size_t>(context.vocab);
  if (sink) {
    const size_t n_rows = logits.size() / vocab;
    const int64_t first = state->n_tokens() - static_cast<int64_t>(n_rows);
    for (size_t row = 0; row < n_rows; ++row)
      sink(first + static_cast<int64_t>(row), logits.subspan(row * vocab, vocab));
  }
  if (!pending().empty()) return;
  if (!wants_sample()) return finish(FinishReason::kLength);
  SLUICE_CHECK(logits.size() >= vocab);
  sample(logits.last(vocab));
}

void Session::Impl::sample(std::span<const float> logits) {
  const int32_t id = sampler.sample(logits, tokens, tokens.size());
  if (tokens.size() == generated_from)
    first_token_seconds = static_cast<double>(monotonic_ns() - appended_ns) * 1e-9;
  const bool is_end =
      !options.ignore_eos && std::binary_search(context.end_tokens.begin(), context.end_tokens.end(), id);
  if (is_end || std::binary_search(stop_tokens.begin(), stop_tokens.end(), id))
    return finish(FinishReason::kStop);
  tokens.push_back(id);
  if (text->push(id)) return finish(FinishReason::kStop);
  const auto n_generated = static_cast<int64_t>(tokens.size() - generated_from);
  if (n_generated == options.max_tokens || full()) finish(FinishReason::kLength);
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

void Session::append(std::span<const int32_t> tokens, const GenerateOptions& options) {
  impl_->append(tokens, options);
}

std::string Session::take_text() { return impl_->text ? impl_->text->take() : std::string(); }
FinishReason Session::finished() const noexcept { return impl_->finish_reason; }
int64_t Session::n_tokens() const noexcept { return static_cast<int64_t>(impl_->tokens.size()); }
int64_t Session::n_cached() const noexcept { return impl_->state->n_tokens(); }
std::span<const int32_t> Session::tokens() const noexcept { return impl_->tokens; }
std::span<const int32_t> Session::generated() const noexcept {
  return std::span(impl_->tokens).subspan(impl_->generated_from);
}
int64_t Session::prompt_tokens() const noexcept { return static_cast<int64_t>(impl_->n_prompt); }
double Session::first_token_seconds() const noexcept { return impl_->first_token_seconds; }

void Session::truncate(int64_t n) {
  SLUICE_CHECK(n >= 0 && n <= n_tokens());
  impl_->running = false;
  impl_->finish_reason = FinishReason::kNone;
  impl_->tokens.resize(static_cast<size_t>(n));
  impl_->generated_from = std::min(impl_->generated_from, impl_->tokens.size());
  if (n < impl_->state->n_tokens()) impl_->state->truncate(n);
}

void Session::cancel() noexcept { impl_->running = false; }

void Session::set_logits_sink(LogitsSink sink) { impl_->sink = std::move(sink); }

}  // namespace sluice
