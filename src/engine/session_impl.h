// The inside of a Session, which Engine::step() works on as well.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "engine/text_stream.h"
#include "model/sequence_state.h"
#include "sluice/session.h"

namespace sluice {

// What every session of an engine shares.
struct SessionContext {
  const Tokenizer* tokenizer = nullptr;  // nullptr: no text
  std::vector<int32_t> end_tokens;       // ascending
  int64_t vocab = 0;
  int64_t n_ctx = 0;
};

struct Session::Impl {
  Impl(const SessionContext& shared, std::unique_ptr<SequenceState> sequence)
      : context(shared), state(std::move(sequence)) {}

  // Tokens that the sequence state does not cover yet.
  std::span<const int32_t> pending() const {
    return std::span(tokens).subspan(static_cast<size_t>(state->n_tokens()));
  }
  bool ready() const { return running && !pending().empty(); }
  // The one pending token is a generated one: the next pass continues the text rather than reading a prompt.
  bool decoding() const { return pending().size() == 1 && tokens.size() > generated_from; }
  // Does the pass that reads the last pending token need its logits?
  bool wants_sample() const { return options.max_tokens != 0 && !full(); }
  bool full() const { return static_cast<int64_t>(tokens.size()) >= context.n_ctx; }

  void append(std::span<const int32_t> added, const GenerateOptions& generate);
  // A pass has read tokens up to state->n_tokens(): hands `logits` [n_rows, vocab] of the last positions to
  // the sink and, at the end of what is pending, goes on by a token or finishes.
  void accept(std::span<const float> logits);
  void finish(FinishReason reason);

  const SessionContext& context;
  std::unique_ptr<SequenceState> state;
  std::vector<int32_t> tokens;
  size_t n_prompt = 0;        // given by the last append()
  size_t generated_from = 0;  // index of the first token made since
  GenerateOptions options;
  std::vector<int32_t> stop_tokens;  // ascending
  Sampler sampler{SamplerOptions{}};
  std::optional<TextStream> text;  // from the first append() on
  FinishReason finish_reason = FinishReason::kNone;
  bool running = false;
  LogitsSink sink;
  uint64_t appended_ns = 0;
  double first_token_seconds = 0;

 private:
  bool continues_text() const;
  void sample(std::span<const float> logits);
};

}  // namespace sluice
