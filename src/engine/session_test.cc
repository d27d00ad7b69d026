// Sessions on real models: what a caller sees must not depend on chunks, batches, threads or budgets.
#include "sluice/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "sluice/engine.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

std::string stories() { return test::shared_path("data/derived/stories260K/stories260K-F32.gguf"); }
std::string demo() { return test::shared_path("demo-model"); }

EngineOptions options_for(const std::string& model) {
  EngineOptions options;
  options.model = model;
  options.ram = "4G";
  options.n_threads = 2;
  return options;
}

std::unique_ptr<Engine> loaded(const EngineOptions& options) {
  std::unique_ptr<Engine> engine = Engine::open(options);
  engine->load();
  return engine;
}

GenerateOptions greedy(int64_t n) {
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = n;
  return options;
}

std::string finish(Engine& engine, Session& session) {
  Session* const sessions[] = {&session};
  std::string text;
  while (engine.step(sessions) > 0) text += session.take_text();
  return text + session.take_text();
}

std::vector<int32_t> generate(Engine& engine, const std::string& prompt, const GenerateOptions& options) {
  const std::unique_ptr<Session> session = engine.new_session();
  session->append(engine.tokenize(prompt), options);
  finish(engine, *session);
  return {session->generated().begin(), session->generated().end()};
}

const char* const kPrompt =
    "One day, Lily and her little brother went to the big park near the river to play with a red ball.";

TEST(Session, StopsAtALengthAndGoesOn) {
  SLUICE_REQUIRE_SHARED();
  const std::unique_ptr<Engine> engine = loaded(options_for(stories()));
  const std::unique_ptr<Session> session = engine->new_session();
  const std::vector<int32_t> prompt = engine->tokenize("Once upon a time");
  session->append(prompt, greedy(20));
  const std::string whole = finish(*engine, *session);
  EXPECT_EQ(session->finished(), FinishReason::kLength);
  EXPECT_EQ(session->generated().size(), 20U);
  EXPECT_EQ(session->prompt_tokens(), static_cast<int64_t>(prompt.size()));

  session->truncate(static_cast<int64_t>(prompt.size()));
  session->append({}, greedy(8));
  std::string parts = finish(*engine, *session);
  session->append({}, greedy(12));
  parts += finish(*engine, *session);
  EXPECT_EQ(parts, whole);
}

TEST(Session, StopStringsEndTheTextBeforeThem) {
  SLUICE_REQUIRE_SHARED();
  const std::unique_ptr<Engine> engine = loaded(options_for(stories()));
  const std::unique_ptr<Session> session = engine->new_session();
  GenerateOptions options = greedy(64);
  session->append(engine->tokenize("Once upon a time"), options);
  const std::string whole = finish(*engine, *session);

  // Across tokens, in the middle of a word, never there, and one that begins like the text goes on.
  for (const char* const stop : {"irl named", "ily", "little girl", "park. On", "zebra", "a little dog"}) {
    options.stop = {stop};
    session->truncate(0);
    session->append(engine->tokenize("Once upon a time"), options);
    const std::string text = finish(*engine, *session);
    const size_t at = whole.find(stop);
    EXPECT_EQ(text, whole.substr(0, at)) << stop;
    EXPECT_EQ(session->finished(), at == std::string::npos ? FinishReason::kLength : FinishReason::kStop);
  }
}

TEST(Session, StopTokensAndEndTokensAreNotPartOfTheAnswer) {
  SLUICE_REQUIRE_SHARED();
  const std::unique_ptr<Engine> engine = loaded(options_for(stories()));
  const std::vector<int32_t> whole = generate(*engine, kPrompt, greedy(30));
  GenerateOptions options = greedy(30);
  options.stop_tokens = {whole[12]};
  const std::vector<int32_t> cut = generate(*engine, kPrompt, options);
  const auto first = std::find(whole.begin(), whole.end(), whole[12]);
  EXPECT_EQ(cut, std::vector<int32_t>(whole.begin(), first));
}

TEST(Session, ChunksThreadsAndBatchesGiveTheSameTokens) {
  SLUICE_REQUIRE_SHARED();
  for (const std::string& model : {stories(), demo()}) {
    GenerateOptions options = greedy(24);
    options.sampler.temperature = 0.8F;
    options.sampler.seed = 7;
    std::vector<int32_t> expected;
    for (const int64_t chunk : {1, 7, 64, 512}) {
      EngineOptions engine_options = options_for(model);
      engine_options.prefill_chunk = chunk;
      engine_options.n_threads = chunk == 7 ? 1 : 4;
      const std::vector<int32_t> ids = generate(*loaded(engine_options), kPrompt, options);
      if (expected.empty()) expected = ids;
      EXPECT_EQ(ids, expected) << model << ", chunks of " << chunk;
    }

    EngineOptions engine_options = options_for(model);
    engine_options.n_sequences = 3;
    engine_options.prefill_chunk = 16;  // prompts are read while others already generate
    const std::unique_ptr<Engine> engine = loaded(engine_options);
    std::vector<std::unique_ptr<Session>> owned;
    std::vector<Session*> sessions;
    for (const std::string& prompt :
         {std::string("Tom"), std::string(kPrompt), std::string(kPrompt) + " He"}) {
      owned.push_back(engine->new_session());
      owned.back()->append(engine->tokenize(prompt), options);
      sessions.push_back(owned.back().get());
    }
    while (engine->step(sessions) > 0) continue;
    EXPECT_EQ(std::vector<int32_t>(sessions[1]->generated().begin(), sessions[1]->generated().end()),
              expected)
        << model << " in a batch";
    EXPECT_EQ(std::vector<int32_t>(sessions[0]->generated().begin(), sessions[0]->generated().end()),
              generate(*engine, "Tom", options));
  }
}

TEST(Session, BudgetsGiveTheSameTokens) {
  SLUICE_REQUIRE_SHARED();
  const std::vector<int32_t> expected = generate(*loaded(options_for(demo())), kPrompt, greedy(24));
  for (const char* weights : {"50%", "25%", "min"}) {
    EngineOptions options = options_for(demo());
    options.weights = weights;
    const std::unique_ptr<Engine> engine = loaded(options);
    EXPECT_EQ(generate(*engine, kPrompt, greedy(24)), expected) << "--weights " << weights;
    EXPECT_GT(engine->stats().bytes_read, 0U) << "--weights " << weights;
  }
}

TEST(Session, TruncationForgetsExactlyWhatItSays) {
  SLUICE_REQUIRE_SHARED();
  const std::unique_ptr<Engine> engine = loaded(options_for(stories()));
  const std::vector<int32_t> expected = generate(*engine, kPrompt, greedy(16));
  const std::vector<int32_t> prompt = engine->tokenize(kPrompt);
  const std::unique_ptr<Session> session = engine->new_session();
  session->append(prompt, greedy(40));
  finish(*engine, *session);
  const int64_t keep = static_cast<int64_t>(prompt.size()) - 5;
  session->truncate(keep);
  EXPECT_EQ(session->n_cached(), keep);
  session->append(std::span(prompt).subspan(static_cast<size_t>(keep)), greedy(16));
  finish(*engine, *session);
  EXPECT_EQ(std::vector<int32_t>(session->generated().begin(), session->generated().end()), expected);
}

TEST(Session, SinksSeeEveryPositionOnce) {
  SLUICE_REQUIRE_SHARED();
  EngineOptions options = options_for(stories());
  options.logit_rows = 5;
  const std::unique_ptr<Engine> engine = loaded(options);
  const std::vector<int32_t> prompt = engine->tokenize(kPrompt);
  const std::unique_ptr<Session> session = engine->new_session();
  std::vector<int64_t> positions;
  session->set_logits_sink([&](int64_t position, std::span<const float> logits) {
    positions.push_back(position);
    EXPECT_EQ(static_cast<int64_t>(logits.size()), engine->info().vocab);
  });
  session->append(prompt, greedy(3));
  finish(*engine, *session);
  ASSERT_EQ(positions.size(), prompt.size() + 2);  // the last new token is not read
  for (size_t i = 0; i < positions.size(); ++i) EXPECT_EQ(positions[i], static_cast<int64_t>(i));
}

TEST(Session, CancelStopsAndAppendStartsAgain) {
  SLUICE_REQUIRE_SHARED();
  const std::unique_ptr<Engine> engine = loaded(options_for(stories()));
  const std::unique_ptr<Session> session = engine->new_session();
  Session* const sessions[] = {session.get()};
  session->append(engine->tokenize(kPrompt), greedy(16));
  for (int i = 0; i < 4; ++i) engine->step(sessions);
  session->cancel();
  EXPECT_EQ(engine->step(sessions), 0U);
  const size_t n_before = session->generated().size();
  session->append({}, greedy(static_cast<int64_t>(16 - n_before)));
  finish(*engine, *session);
  const std::vector<int32_t> expected = generate(*engine, kPrompt, greedy(16));
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), session->tokens().end() - 16));
}

TEST(Session, AFailingSinkCancelsItsSessionAndNoOther) {
  SLUICE_REQUIRE_SHARED();
  EngineOptions options = options_for(stories());
  options.n_sequences = 2;
  const std::unique_ptr<Engine> engine = loaded(options);
  const std::unique_ptr<Session> bad = engine->new_session();
  const std::unique_ptr<Session> good = engine->new_session();
  bad->set_logits_sink([](int64_t position, std::span<const float>) {
    if (position == 2) throw std::runtime_error("disk full");
  });
  bad->append(engine->tokenize(kPrompt), greedy(12));
  good->append(engine->tokenize(kPrompt), greedy(12));
  Session* const sessions[] = {bad.get(), good.get()};
  int failures = 0;
  for (;;) {
    try {
      if (engine->step(sessions) == 0) break;
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "disk full");
      ++failures;
    }
  }
  EXPECT_EQ(failures, 1);
  const std::vector<int32_t> expected = generate(*engine, kPrompt, greedy(12));
  EXPECT_EQ(std::vector<int32_t>(good->generated().begin(), good->generated().end()), expected);
  bad->set_logits_sink({});
  bad->append({}, greedy(12));
  finish(*engine, *bad);
  EXPECT_EQ(std::vector<int32_t>(bad->generated().begin(), bad->generated().end()), expected);
}

TEST(Session, RefusesWhatCannotBe) {
  SLUICE_REQUIRE_SHARED();
  EngineOptions options = options_for(stories());
  options.n_ctx = 32;
  const std::unique_ptr<Engine> engine = loaded(options);
  const std::unique_ptr<Session> session = engine->new_session();
  EXPECT_THROW(session->append({}, greedy(1)), Error);
  EXPECT_THROW(session->append(std::vector<int32_t>{1, 512}, greedy(1)), Error);
  EXPECT_THROW(session->append(std::vector<int32_t>{-1}, greedy(1)), Error);
  EXPECT_THROW(session->append(std::vector<int32_t>(33, 1), greedy(1)), Error);
  GenerateOptions bad = greedy(1);
  bad.sampler.top_p = 3;
  EXPECT_THROW(session->append(std::vector<int32_t>{1}, bad), Error);
  EXPECT_EQ(session->n_tokens(), 0);
  session->append(std::vector<int32_t>(30, 1), greedy(-1));
  finish(*engine, *session);
  EXPECT_EQ(session->n_tokens(), 32);
  EXPECT_EQ(session->finished(), FinishReason::kLength);
}

TEST(Engine, RefusesASmallBudgetAndNamesOneThatWorks) {
  SLUICE_REQUIRE_SHARED();
  EngineOptions options = options_for(demo());
  options.ram = "1M";
  const std::unique_ptr<Engine> engine = Engine::open(options);
  std::string named;
  try {
    engine->load();
    FAIL() << "1 MiB was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNoMemory);
    const std::string message = error.what();
    const size_t at = message.find("at least --ram ") + 15;
    named = message.substr(at, message.find(' ', at) - at);
  }
  // The test process has grown by then; the tools' tests hold the number itself to its promise.
  EXPECT_EQ(named.back(), 'M');
  const MemoryOutlook outlook = engine->outlook(uint64_t{1} << 20);
  EXPECT_FALSE(outlook.fits);
  EXPECT_TRUE(engine->outlook(outlook.smallest_ram + (4 << 20)).fits);
}

TEST(Engine, ReadsChatTemplatesAndRecommendations) {
  SLUICE_REQUIRE_SHARED();
  const std::unique_ptr<Engine> engine = Engine::open(options_for(demo()));
  EXPECT_TRUE(engine->has_chat_template());
  const std::vector<ChatMessage> messages = {{"user", "One"}, {"assistant", "two"}};
  EXPECT_EQ(engine->render_chat(messages), "<|endoftext|>One\ntwo");
  EXPECT_EQ(engine->chat_tokens(messages).front(), 4093);
  EXPECT_EQ(engine->end_tokens(), (std::vector<int32_t>{4093, 4095}));  // and <|im_end|>, by its name
  EXPECT_FLOAT_EQ(engine->default_sampler().temperature, 0.7F);
  EXPECT_EQ(engine->info().architecture, "qwen3_moe");
  EXPECT_EQ(engine->info().n_experts, 32);
}

}  // namespace
}  // namespace sluice
