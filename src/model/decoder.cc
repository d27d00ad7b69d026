// One token batch from ids to logits, top to bottom. What differs between architectures are axes of
// ModelSpec; no architecture is named here.
#include "model/decoder.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "encoding/reference.h"
#include "model/blocks/ffn_dense.h"
#include "model/sequence_state.h"

namespace sluice {

Decoder::Decoder(const BoundModel& model, const Compute& compute, WeightStore& store, MemoryBudget& budget,
                 int64_t max_batch_tokens, const std::string& prefetch, int64_t speculate_experts)
    : model_(model),
      budget_(budget),
      rope_(model.spec.rope),
      buffers_((budget.reserve(MemoryUse::kScratch, ActivationBuffers::bytes(model.spec, max_batch_tokens)),
                model.spec),
               max_batch_tokens),
      product_clock_(store),
      predictor_bytes_(Prefetcher::bytes(model.spec, prefetch) +
                       Speculation::bytes(model.spec, speculate_experts)),
      prefetcher_((budget.reserve(MemoryUse::kScratch, predictor_bytes_), model), compute, store, prefetch),
      speculation_(model.spec, speculate_experts),
      context_{.compute = compute,
               .store = &store,
               .profile = &profile_,
               .products = &product_clock_,
               .prefetcher = &prefetcher_,
               .speculation = &speculation_} {
  if (speculation_.is_on()) prefetcher_.keep_guessing();
}

Decoder::~Decoder() {
  budget_.release(MemoryUse::kScratch, ActivationBuffers::bytes(model_.spec, buffers_.max_tokens) +
                                           predictor_bytes_ + logits_.size());
}

std::span<const float> Decoder::forward(std::span<const BatchItem> batch, const RouteObserver& observer) {
  const ModelSpec& spec = model_.spec;
  ActivationBuffers& b = buffers_;

  std::vector<BatchSpan> spans;
  int64_t n = 0;  // token rows of the batch
  for (const BatchItem& item : batch) {
    const auto n_tokens = static_cast<int64_t>(item.tokens.size());
    item.sequence->reserve(item.sequence->n_tokens() + n_tokens);
    spans.push_back({item.sequence, n, n_tokens});
    n += n_tokens;
  }
  SLUICE_CHECK(n <= b.max_tokens, "batch of %lld rows", static_cast<long long>(n));

  const uint64_t start = monotonic_ns();
  LayerClock::Pass pass(layer_clock_);
  product_clock_.begin_pass(n);
  prefetcher_.begin_pass(n);
  embed(batch);   // residual [n, hidden]
  rotate(spans);  // cosines, sines [n, rotary_dim / 2]

  for (int64_t l = 0; l < spec.n_layers; ++l) {
    const LayerWeights& weights = model_.layers[static_cast<size_t>(l)];
    pass.begin_layer(l);

    norm(weights.attention_norm, n);                      // normed [n, hidden]
    attention_gqa(context_, spec, l, weights, spans, b);  // projected [n, hidden]
    add_projected(n);

    norm(weights.ffn_norm, n);  // normed [n, hidden]
    if (spec.layers[static_cast<size_t>(l)].ffn == FfnKind::kMoe) {
      ffn_moe(context_, spec, l, weights, b, routing_);  // projected [n, hidden]
      if (observer) observe(l, spans, observer);
    } else {
      ffn_dense(context_, spec, weights, b);  // projected [n, hidden]
    }
    add_projected(n);
  }

  pass.begin_layer(spec.n_layers);
  const std::span<const float> result = logits(batch, spans);  // [n_wanted, vocab]
  for (const BatchSpan& span : spans) span.sequence->advance(span.sequence->n_tokens() + span.n_tokens);
  prefetcher_.end_pass(static_cast<double>(monotonic_ns() - start) * 1e-9);
  product_clock_.end_pass();
  pass.end();
  return result;
}

// Only the rows of the tokens are leased, from memory or, one by one, from disk.
void Decoder::embed(std::span<const BatchItem> batch) {
  const ProfileScope scope(profile_, Operator::kEmbedding);
  const Weight& table = model_.embedding;  // [vocab, hidden]
  const int64_t piece_rows = table.pieces[0].rows;
  auto& ranges = context_.ranges;
  ranges.clear();
  for (const BatchItem& item : batch) {
    for (const int32_t token : item.tokens) {
      const WeightRef& piece = table.pieces[static_cast<size_t>(token / piece_rows)];
      const int64_t row = token % piece_rows;
      ranges.push_back({.unit = piece.unit, .row_begin = row, .row_end = row + 1});
    }
  }
  Lease lease = context_.store->acquire(ranges);
  size_t i = 0;
  for (const BatchItem& item : batch) {
    for (const int32_t token : item.tokens) {
      lease.wait(i);
      const WeightView row = lease.view(i, table.pieces[static_cast<size_t>(token / piece_rows)]);
      decode_row(row, 0, buffers_.residual + static_cast<int64_t>(i) * model_.spec.hidden);
      lease.release(i++);
    }
  }
}

void Decoder::rotate(std::span<const BatchSpan> spans) {
  const int64_t half = rope_.half();
  for (const BatchSpan& span : spans) {
    for (int64_t t = 0; t < span.n_tokens; ++t) {
      const int64_t at = (span.first_row + t) * half;
      rope_.at(span.sequence->n_tokens() + t, buffers_.cosines + at, buffers_.sines + at);
    }
  }
}

void Decoder::norm(const std::vector<float>& weight, int64_t n) {
  const ProfileScope scope(profile_, Operator::kNorm);
  const int64_t hidden = model_.spec.hidden;
  context_.compute.pool->run(n, [&](int64_t row, int) {
    rms_norm(context_.compute, buffers_.residual + row * hidden, hidden, weight.data(), model_.spec.norm_eps,
             buffers_.normed + row * hidden, hidden, 1, hidden);
  });
  buffers_.input.set(buffers_.normed, n, hidden, hidden);
}

void Decoder::add_projected(int64_t n) {
  const ProfileScope scope(profile_, Operator::kResidual);
  const int64_t hidden = model_.spec.hidden;
  context_.compute.pool->run(n, [&](int64_t row, int) {
    add_scaled(context_.compute, buffers_.residual + row * hidden, buffers_.projected + row * hidden, 1.0F,
               hidden);
  });
}

void Decoder::observe(int64_t layer, std::span<const BatchSpan> spans, const RouteObserver& observer) const {
  const auto k = static_cast<size_t>(model_.spec.n_experts_per_token);
  for (size_t item = 0; item < spans.size(); ++item) {
    for (int64_t t = 0; t < spans[item].n_tokens; ++t) {
      const size_t at = static_cast<size_t>(spans[item].first_row + t) * k;
      observer(layer, item, spans[item].sequence->n_tokens() + t, std::span(routing_.experts).subspan(at, k),
               std::span(routing_.weights).subspan(at, k));
    }
  }
}

std::span<const float> Decoder::logits(std::span<const BatchItem> batch, std::span<const BatchSpan> spans) {
  const int64_t hidden = model_.spec.hidden, vocab = model_.spec.vocab;

  // The wanted rows of the residual, moved together at its front: they only move up, so in order is safe.
  int64_t n_wanted = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const int64_t count = batch[i].logits == LogitsWanted::kAll    ? spans[i].n_tokens
                          : batch[i].logits == LogitsWanted::kLast ? std::min<int64_t>(spans[i].n_tokens, 1)
                                                                   : 0;
    const int64_t first = spans[i].first_row + spans[i].n_tokens - count;
    std::memmove(buffers_.residual + n_wanted * hidden, buffers_.residual + first * hidden,
                 static_cast<size_t>(count * hidden) * sizeof(float));
    n_wanted += count;
  }
  if (n_wanted == 0) return {};

  const uint64_t bytes = logit_bytes(model_.spec, n_wanted);
  if (logits_.size() < bytes) {
    budget_.release(MemoryUse::kScratch, logits_.size());
    logits_ = PageBuffer();
    budget_.reserve(MemoryUse::kScratch, bytes);
    logits_ = PageBuffer(bytes);
  }
  auto* const out = reinterpret_cast<float*>(logits_.data());
  norm(model_.final_norm, n_wanted);
  const LinearOp head[] = {{&model_.head, &buffers_.input, out, vocab}};
  linear(context_, Operator::kHead, head);
  return {out, static_cast<size_t>(n_wanted * vocab)};
}

}  // namespace sluice
