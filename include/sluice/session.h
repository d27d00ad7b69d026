// One mutable timeline: tokens, their sequence state, a sampler. Made by Engine::new_session(), advanced by
// Engine::step(). Belongs to the engine's thread; not thread-safe. Must not outlive its engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "sluice/options.h"

namespace sluice {

class Engine;

enum class FinishReason : uint8_t {
  kNone,    // still going
  kStop,    // an end-of-generation token, a stop token or a stop string
  kLength,  // max_tokens, or the context is full
};
const char* finish_reason_name(FinishReason reason);  // "", "stop", "length"

class Session {
 public:
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Appends prompt tokens that the next steps will read, and makes the session ready to generate again under
  // `options`. Without tokens it goes on from where it is. Error(kInvalid) for ids outside the vocabulary,
  // for options that make no sense, for an empty session with no tokens, and when the tokens do not fit the
  // context (naming prompt, context and the remedy); the session is unchanged then.
  void append(std::span<const int32_t> tokens, const GenerateOptions& options);

  // Text that is final since the last call: whole characters, nothing that may turn out to be a stop string.
  std::string take_text();

  FinishReason finished() const noexcept;
  int64_t n_tokens() const noexcept;                    // prompt and generated so far, pending ones included
  int64_t n_cached() const noexcept;                    // tokens that the sequence state covers
  std::span<const int32_t> tokens() const noexcept;     // all of the timeline
  std::span<const int32_t> generated() const noexcept;  // since the last append(), end token excluded
  int64_t prompt_tokens() const noexcept;               // given by the last append()
  double first_token_seconds() const noexcept;  // from the last append() to its first new token; 0: none yet

  // Forgets everything after the first `n` tokens (n <= n_tokens()); what is cached of them is kept.
  void truncate(int64_t n);

  // Stops generating; append() starts again.
  void cancel() noexcept;

  // Called for every position that a step computes, with its logits [vocab], before sampling. Makes steps
  // compute the logits of prompt positions too. Empty: off. The span is valid during the call only.
  using LogitsSink = std::function<void(int64_t position, std::span<const float> logits)>;
  void set_logits_sink(LogitsSink sink);

  struct Impl;  // engine/session_impl.h

 private:
  friend class Engine;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
