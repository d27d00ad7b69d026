#include "model/model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "model/bound_model.h"
#include "model/decoder.h"
#include "model/fingerprint.h"
#include "model/sequence_state.h"

namespace sluice {
namespace {

uint64_t unit_bytes(const UnitSpec& unit) {
  uint64_t bytes = 0;
  for (const Extent& extent : unit.extents) bytes += extent.bytes;
  return bytes;
}

int64_t count_moe_layers(const ModelSpec& spec) {
  int64_t n = 0;
  for (const LayerSpec& layer : spec.layers) n += layer.ffn == FfnKind::kMoe;
  return n;
}

}  // namespace

struct Model::Impl {
  Impl(std::shared_ptr<const Checkpoint> c, const ModelOptions& o)
      : checkpoint(std::move(c)), options(o), bound(bind(*checkpoint, o.expert_parts)) {
    options.store.n_mirrored = bound.files.size();
    if (options.stand_in) bind_stand_ins(bound, *options.stand_in);
  }

  KvShape kv_shape() const {
    return {bound.spec.n_layers, bound.spec.n_kv_heads, bound.spec.head_dim, options.kv_type};
  }

  std::shared_ptr<const Checkpoint> checkpoint;
  ModelOptions options;
  BoundModel bound;
  MemoryBudget* budget = nullptr;
  std::unique_ptr<WeightStore> store;
  std::unique_ptr<LayerClock> layer_clock;
  std::unique_ptr<Decoder> decoder;
  RouteObserver observer;
};

Model::Model(std::shared_ptr<const Checkpoint> checkpoint, const ModelOptions& options)
    : impl_(std::make_unique<Impl>(std::move(checkpoint), options)) {}

Model::~Model() = default;

const ModelSpec& Model::spec() const noexcept { return impl_->bound.spec; }

ModelNeeds Model::needs() const {
  const ModelSpec& spec = impl_->bound.spec;
  const auto experts_per_pass = static_cast<size_t>(spec.n_experts_per_token * count_moe_layers(spec));
  return {.weights = store_needs(impl_->bound.units, experts_per_pass * impl_->options.expert_parts),
          .kv_bytes_per_token = impl_->kv_shape().bytes_per_block() / static_cast<uint64_t>(kKvBlockTokens),
          .scratch_bytes = scratch_bytes(impl_->options.max_batch_tokens, 1)};
}

uint64_t Model::expert_bytes() const {
  uint64_t bytes = 0;
  for (const UnitSpec& unit : impl_->bound.units)
    if (unit.kind == UnitKind::kCached) bytes = std::max(bytes, unit_bytes(unit) * unit.n_parts);
  return bytes;
}

uint64_t Model::experts_bytes() const {
  uint64_t bytes = 0;
  for (const UnitSpec& unit : impl_->bound.units)
    if (unit.kind == UnitKind::kCached) bytes += unit_bytes(unit);
  return bytes;
}

uint64_t Model::stand_in_bytes() const {
  uint64_t bytes = 0;
  for (const UnitSpec& unit : impl_->bound.units)
    if (unit.kind == UnitKind::kPinned) bytes += unit_bytes(unit);
  return bytes;
}

int64_t Model::weights_per_token() const {
  const BoundModel& bound = impl_->bound;
  int64_t n = bound.head.rows * bound.head.cols;
  for (const LayerWeights& layer : bound.layers) {
    for (const Weight* weight :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down, &layer.router})
      n += weight->rows * weight->cols;
    if (layer.router) n += 3 * bound.spec.n_experts_per_token * bound.spec.expert_width * bound.spec.hidden;
  }
  return n;
}

uint64_t Model::scratch_bytes(int64_t max_batch_tokens, int64_t max_logit_rows) const {
  const ModelSpec& spec = impl_->bound.spec;
  return ActivationBuffers::bytes(spec, max_batch_tokens) + logit_bytes(spec, max_logit_rows) +
         Prefetcher::bytes(spec, impl_->options.prefetch) +
         Speculation::bytes(spec, impl_->options.speculate_experts);
}

std::vector<EncodingShare> Model::encodings() const {
  std::vector<EncodingShare> shares;
  const auto add = [&](const auto& weight, int64_t copies) {
    const std::array<uint64_t, kMaxPlanes> row =
        row_bytes(weight.encoding, weight.params, static_cast<uint64_t>(weight.cols));
    const auto rows = static_cast<uint64_t>(weight.rows * copies);
    const auto same = [&](const EncodingShare& share) {
      return share.encoding == weight.encoding && share.params == weight.params;
    };
    auto share = std::find_if(shares.begin(), shares.end(), same);
    if (share == shares.end()) share = shares.insert(shares.end(), {weight.encoding, weight.params});
    share->weights += rows * static_cast<uint64_t>(weight.cols);
    share->bytes += rows * std::accumulate(row.begin(), row.end(), uint64_t{0});
  };
  const BoundModel& bound = impl_->bound;
  add(bound.head, 1);
  if (!bound.spec.tied_head) add(bound.embedding, 1);
  for (const LayerWeights& layer : bound.layers) {
    for (const Weight* weight :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down, &layer.router})
      if (*weight) add(*weight, 1);
    if (!layer.router) continue;
    for (const WeightRef* expert : {&layer.experts.gate, &layer.experts.up, &layer.experts.down})
      add(*expert, bound.spec.n_experts * layer.experts.n_parts);
  }
  std::sort(shares.begin(), shares.end(),
            [](const EncodingShare& a, const EncodingShare& b) { return a.bytes > b.bytes; });
  return shares;
}

StoreStats Model::plan(uint64_t weight_bytes) const {
  StoreOptions options = impl_->options.store;
  options.weight_bytes = weight_bytes;
  return planned_stats(impl_->bound.units, options);
}

void Model::set_max_batch_tokens(int64_t n) {
  SLUICE_CHECK(!impl_->store && n > 0);
  impl_->options.max_batch_tokens = n;
}

void Model::set_expert_rates(std::span<const float> rates) {
  const BoundModel& bound = impl_->bound;
  const auto n_experts = static_cast<size_t>(bound.spec.n_experts);
  SLUICE_CHECK(!impl_->store && rates.size() == bound.layers.size() * n_experts);
  std::vector<float>& unit_rates = impl_->options.store.unit_rates;
  unit_rates.assign(bound.units.size(), 0);
  for (size_t l = 0; l < bound.layers.size(); ++l) {
    if (!bound.layers[l].router) continue;
    for (size_t e = 0; e < n_experts; ++e)
      for (uint32_t part = 0; part < bound.layers[l].experts.n_parts; ++part)
        unit_rates[bound.layers[l].experts.unit(static_cast<int64_t>(e), part)] = rates[l * n_experts + e];
  }
}

uint64_t Model::fingerprint() const { return model_fingerprint(*impl_->checkpoint, impl_->bound); }

uint64_t Model::bytes_per_token() const {
  const ModelSpec& spec = impl_->bound.spec;
  uint64_t bytes = 0;
  for (const UnitSpec& unit : impl_->bound.units) {
    switch (unit.kind) {
      case UnitKind::kStreamed:
        bytes += unit_bytes(unit);
        break;
      case UnitKind::kByRow:
        bytes += unit_bytes(unit) / static_cast<uint64_t>(unit.rows);
        break;
      case UnitKind::kCached:
      case UnitKind::kPinned:
        break;
    }
  }
  for (const LayerWeights& layer : impl_->bound.layers) {
    if (!layer.router) continue;
    bytes += static_cast<uint64_t>(spec.n_experts_per_token) * layer.experts.n_parts *
             unit_bytes(impl_->bound.units[layer.experts.first_unit]);
  }
  return bytes;
}

void Model::load(uint64_t weight_bytes, MemoryBudget& budget,
                 const std::function<void(uint64_t done, uint64_t total)>& progress) {
  Impl& m = *impl_;
  SLUICE_CHECK(!m.store);
  m.budget = &budget;
  StoreOptions options = m.options.store;
  options.weight_bytes = weight_bytes;
  if (!m.options.compute.f32_activations) {
    options.weave = [&table = *m.options.compute.table, scratch = std::vector<std::byte>()](
                        std::byte* rows, int64_t n_rows, uint64_t row_bytes, Encoding encoding) mutable {
      weave(table, rows, n_rows, row_bytes, encoding, scratch);
    };
  }
  auto store = std::make_unique<WeightStore>(m.bound.files, m.bound.units, options, budget);
  auto decoder =
      std::make_unique<Decoder>(m.bound, m.options.compute, *store, budget, m.options.max_batch_tokens,
                                m.options.prefetch, m.options.speculate_experts);
  decoder->set_timeline(m.options.store.timeline);
  if (m.options.watched) {
    m.layer_clock = std::make_unique<LayerClock>(*store, m.bound.spec.n_layers);
    decoder->set_layer_clock(m.layer_clock.get());
  }
  store->load(progress);
  m.store = std::move(store);
  m.decoder = std::move(decoder);
}

std::unique_ptr<SequenceState> Model::new_sequence() {
  SLUICE_CHECK(impl_->budget);
  return std::make_unique<SequenceState>(impl_->kv_shape(), *impl_->budget);
}

std::span<const float> Model::forward(std::span<const BatchItem> batch) {
  Impl& m = *impl_;
  SLUICE_CHECK(m.decoder);
  for (const BatchItem& item : batch) {
    for (const int32_t token : item.tokens) {
      if (token < 0 || token >= m.bound.spec.vocab) {
        throw_error(ErrorKind::kInvalid, "token id %d is outside the vocabulary of %lld", token,
                    static_cast<long long>(m.bound.spec.vocab));
      }
    }
  }
  const std::span<const float> logits = m.decoder->forward(batch, m.observer);
  for (const float logit : logits) {
    if (!std::isfinite(logit)) {
      throw_error(ErrorKind::kCorrupt,
                  "%s: the model's output is not a number: a weight or scale in the file is NaN or infinite; "
                  "download it "
                  "again",
                  m.checkpoint->path().c_str());
    }
  }
  return logits;
}

void Model::set_lossy(const LossyRouting& lossy) {
  SLUICE_CHECK(impl_->decoder);
  impl_->decoder->set_lossy(lossy);
}
uint64_t Model::n_dropped_experts() const { return impl_->decoder ? impl_->decoder->n_dropped_experts() : 0; }
uint64_t Model::n_stand_ins_used() const { return impl_->decoder ? impl_->decoder->n_stand_ins_used() : 0; }
void Model::set_route_observer(RouteObserver observer) { impl_->observer = std::move(observer); }
Profile Model::profile() const { return impl_->decoder ? impl_->decoder->profile() : Profile(); }
PrefetchReport Model::prefetch_report() const {
  return impl_->decoder ? impl_->decoder->prefetch_report() : PrefetchReport();
}
SpeculationCounts Model::speculation() const {
  return impl_->decoder ? impl_->decoder->speculation() : SpeculationCounts();
}
ModelState Model::watch() const {
  const Impl& m = *impl_;
  SLUICE_CHECK(m.layer_clock && m.store);
  ModelState state;
  state.layer = m.layer_clock->layer();
  state.times = m.layer_clock->times();
  std::vector<UnitState> units;
  state.pass = m.store->look(units);
  for (const LayerWeights& layer : m.bound.layers) {
    LayerState& of = state.layers.emplace_back();
    of.has_experts = static_cast<bool>(layer.router);
    if (of.has_experts) {
      // Parts of an expert go together: the first one tells.
      for (int64_t e = 0; e < m.bound.spec.n_experts; ++e) of.parts.push_back(units[layer.experts.unit(e)]);
      continue;
    }
    for (const Weight* weight :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      for (const WeightRef& piece : weight->pieces) of.parts.push_back(units[piece.unit]);
    }
  }
  return state;
}
bool Model::reads_past_page_cache() const { return impl_->store && impl_->store->reads_past_page_cache(); }
StoreStats Model::store_stats() const { return impl_->store ? impl_->store->stats() : StoreStats{}; }
std::string Model::describe_io() const { return impl_->store ? impl_->store->describe_io() : std::string(); }
std::string Model::describe_memory() const {
  return impl_->store ? impl_->store->describe_memory() : std::string();
}
std::string Model::describe_governor() const {
  return impl_->store ? impl_->store->describe_governor() : std::string();
}

}  // namespace sluice
