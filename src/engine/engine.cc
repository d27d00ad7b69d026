#include "sluice/engine.h"

#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/align.h"
#include "base/check.h"
#include "base/error.h"
#include "base/units.h"
#include "engine/engine_impl.h"
#include "hub/model_path.h"
#include "platform/clock.h"
#include "platform/cpu_features.h"
#include "platform/file.h"
#include "platform/memory_info.h"

namespace sluice {
namespace {

constexpr int64_t kDefaultContext = 4096;
constexpr int64_t kMostSpeculated = 256;
// Of each track, for the monitor: a pass over a dense model of 8 GB in reads of 512 KiB.
constexpr size_t kNewestSpans = size_t{1} << 14;

// Memory that is freed must leave the process, or --ram would be a wish: few arenas, large blocks mapped one
// by one, free tops returned early.
void bound_malloc() {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
#endif
}

void trim_malloc() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

KvType kv_type(KvFormat format) {
  switch (format) {
    case KvFormat::kF32:
      return KvType::kF32;
    case KvFormat::kF16:
      return KvType::kF16;
    case KvFormat::kBF16:
      return KvType::kBF16;
    case KvFormat::kInt8:
      return KvType::kInt8;
  }
  return KvType::kF16;
}

IoChoice io_choice(const std::string& name) {
  if (name == "auto") return IoChoice::kAuto;
  if (name == "direct") return IoChoice::kDirect;
  if (name == "buffered") return IoChoice::kBuffered;
  throw_error(ErrorKind::kInvalid, "--io %s: choose auto, direct or buffered", printable(name).c_str());
}

// "2G/s", "800M": bytes per second; 0 for none.
uint64_t parse_rate(std::string text) {
  if (text.empty()) return 0;
  if (text.size() > 2 && text.compare(text.size() - 2, 2, "/s") == 0) text.resize(text.size() - 2);
  const uint64_t rate = parse_bytes(text, "--ssd-limit");
  constexpr uint64_t kSlowest = uint64_t{1} << 20;  // one read
  if (rate < kSlowest)
    throw_error(ErrorKind::kInvalid, "--ssd-limit %s: at least 1M/s, the size of one read",
                printable(text).c_str());
  return rate;
}

// "5%": 0.05; 0 for none.
double parse_slowdown(const std::string& text) {
  if (text.empty()) return 0;
  double percent = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, percent);
  const bool good =
      parsed.ec == std::errc() && std::string_view(parsed.ptr, end) == "%" && percent >= 1 && percent <= 100;
  if (!good)
    throw_error(ErrorKind::kInvalid, "--max-slowdown %s: write a percentage from 1%% to 100%%, such as 5%%",
                printable(text).c_str());
  return percent / 100;
}

void check_options(const EngineOptions& options) {
  const auto check = [](int64_t value, int64_t low, int64_t high, const char* name) {
    if (value < low || value > high)
      throw_error(ErrorKind::kInvalid, "%s %lld is outside %lld to %lld", name, static_cast<long long>(value),
                  static_cast<long long>(low), static_cast<long long>(high));
  };
  check(options.n_ctx, 0, int64_t{1} << 24, "--ctx");
  check(options.n_threads, 0, 1024, "--threads");
  check(options.prefill_chunk, 0, 65536, "--chunk");
  check(options.n_sequences, 1, 4096, "number of sequences");
  check(options.expert_split, 1, 2, "--expert-split");
  check(options.speculate_experts, 0, kMostSpeculated, "--speculate-experts");
}

ModelInfo describe(const Checkpoint& checkpoint, const Model& model) {
  const ModelSpec& spec = model.spec();
  ModelInfo info;
  info.path = checkpoint.path();
  info.family = checkpoint.family() == CheckpointFamily::kGguf ? "GGUF" : "Hugging Face";
  info.architecture = spec.architecture;
  info.n_layers = spec.n_layers;
  info.hidden = spec.hidden;
  info.n_heads = spec.n_heads;
  info.n_kv_heads = spec.n_kv_heads;
  info.head_dim = spec.head_dim;
  info.vocab = spec.vocab;
  info.n_experts = spec.n_experts;
  info.n_experts_per_token = spec.n_experts_per_token;
  info.trained_context = spec.trained_context;
  for (const EncodingShare& share : model.encodings()) {
    const auto n_weights = static_cast<int64_t>(share.weights);
    info.n_parameters += n_weights;
    info.encodings.push_back({std::string(encoding_info(share.encoding).name), n_weights, share.bytes});
  }
  info.file_bytes = checkpoint.total_bytes();
  info.bytes_per_token = model.bytes_per_token();
  info.expert_bytes = model.expert_bytes();
  info.experts_bytes = model.experts_bytes();
  info.n_active_parameters = model.weights_per_token();
  info.kv_bytes_per_token = model.needs().kv_bytes_per_token;
  info.expert_parameters = 3 * spec.expert_width * spec.hidden;
  for (const LayerSpec& layer : spec.layers) {
    info.attention_windows.push_back(layer.window);
    info.n_moe_layers += layer.ffn == FfnKind::kMoe;
  }
  return info;
}

// The ids that end an answer, from the tokenizer and from config.json, where a model without a tokenizer has
// them.
std::vector<int32_t> find_end_tokens(const TextAssets& text, const Checkpoint& checkpoint, int64_t vocab) {
  std::vector<int32_t> ids;
  if (text.tokenizer) ids = text.tokenizer->end_ids();
  if (checkpoint.family() == CheckpointFamily::kHuggingFace) {
    const nlohmann::ordered_json& config = checkpoint.config();
    const auto add = [&](const nlohmann::ordered_json& id) {
      if (id.is_number_integer() && id >= 0 && id < vocab) ids.push_back(id.get<int32_t>());
    };
    const auto found = config.find("eos_token_id");
    if (found != config.end() && found->is_array()) {
      for (const auto& id : *found) add(id);
    } else if (found != config.end()) {
      add(*found);
    }
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace

Engine::Impl::Impl(const EngineOptions& engine_options) : options(engine_options) {
  check_options(options);
  bound_malloc();
  checkpoint = Checkpoint::open(resolve_model(options.model));
  text = load_text_assets(*checkpoint);
  pool = std::make_unique<ThreadPool>(options.n_threads > 0 ? options.n_threads : physical_cpu_count());
  compute = {.table = &kernel_table(options.isa),
             .pool = pool.get(),
             .f32_activations = options.activations == ActivationFormat::kF32};

  ModelOptions model_options;
  model_options.compute = compute;
  model_options.store.io = io_choice(options.io);
  model_options.store.policy = options.cache_policy;
  if (options.timeline_spans > 0 || options.monitor)
    timeline = std::make_unique<Timeline>(options.timeline_spans, options.monitor ? kNewestSpans : 0);
  model_options.watched = options.monitor;
  model_options.store.timeline = timeline.get();
  model_options.store.governor = options.governor;
  model_options.store.max_read_bytes_per_s = parse_rate(options.ssd_limit);
  model_options.store.max_slowdown = parse_slowdown(options.max_slowdown);
  model_options.store.max_drive_celsius = options.ssd_max_temp;
  model_options.store.mirrors = options.mirrors;
  model_options.store.split = options.cache_split;
  make_cache_policy(options.cache_policy,
                    options.cache_split);  // refuses unknown names now rather than while loading
  Prefetcher::check_mode(options.prefetch);
  set_lossy(options.lossy);
  if (!options.stand_in.empty()) {
    if (lossy.stand_in_threshold == 0)
      throw_error(ErrorKind::kInvalid,
                  "--stand-in %s does nothing by itself: add --lossy stand-in (or --max-loss, to run)",
                  printable(options.stand_in).c_str());
    model_options.stand_in = Checkpoint::open(resolve_model(options.stand_in));
  }
  model_options.prefetch = options.prefetch;
  model_options.speculate_experts = options.speculate_experts;
  model_options.expert_parts = static_cast<uint32_t>(options.expert_split);
  model_options.kv_type = kv_type(options.kv);
  model = std::make_unique<Model>(checkpoint, model_options);
  info = describe(*checkpoint, *model);
  if (!options.task.empty()) open_task();

  const int64_t trained = info.trained_context > 0 ? info.trained_context : kDefaultContext;
  session_context.n_ctx = options.n_ctx > 0 ? options.n_ctx : std::min(trained, kDefaultContext);
  session_context.vocab = info.vocab;
  session_context.tokenizer = text.tokenizer.get();
  session_context.end_tokens = find_end_tokens(text, *checkpoint, info.vocab);
  if (info.trained_context > 0 && session_context.n_ctx > info.trained_context)
    warnings.push_back(format_string(
        "the context of %lld tokens is longer than the %lld that the model was trained for",
        static_cast<long long>(session_context.n_ctx), static_cast<long long>(info.trained_context)));
  if (text.tokenizer && static_cast<int64_t>(text.tokenizer->vocab_size()) > info.vocab)
    warnings.push_back(format_string("the tokenizer has %zu tokens, the model only %lld",
                                     text.tokenizer->vocab_size(), static_cast<long long>(info.vocab)));
  measure_process();
}

void Engine::Impl::set_lossy(const std::vector<std::string>& modes) {
  const LossyRouting parsed = parse_lossy(modes);
  if (parsed.stand_in_threshold > 0 && options.stand_in.empty())
    throw_error(
        ErrorKind::kInvalid,
        "--lossy stand-in needs --stand-in PATH, the same model with its experts in a smaller encoding");
  lossy = parsed;
}

void Engine::Impl::measure_process() {
  trim_malloc();
  process_bytes = resident_bytes();
  process_peak_bytes = peak_resident_bytes();
}

// ", of which ... for stand-ins", or nothing.
std::string Engine::Impl::stand_in_share() const {
  const uint64_t bytes = model->stand_in_bytes();
  return bytes == 0 ? "" : format_string(", of which %s for --stand-in", format_bytes(bytes).c_str());
}

MemoryRequest Engine::Impl::memory_request(uint64_t ram, int64_t reserve_tokens) const {
  const ModelNeeds needs = model->needs();
  const int64_t tokens =
      reserve_tokens > 0 ? std::min(reserve_tokens, session_context.n_ctx) : session_context.n_ctx;
  const uint64_t held = round_up(static_cast<uint64_t>(tokens), static_cast<uint64_t>(kKvBlockTokens));
  const int64_t rows = std::max(options.n_sequences, options.logit_rows);
  MemoryRequest request;
  request.ram_bytes = ram;
  request.process_bytes = process_bytes;
  request.margin_bytes = margin_bytes(pool->size());
  request.peak_bytes = process_peak_bytes;
  request.kv_bytes = held * needs.kv_bytes_per_token * static_cast<uint64_t>(options.n_sequences);
  request.weights = needs.weights;
  StoreNeeds own = needs.weights;  // a share is one of the model's own weights
  own.all -= std::min(own.all, model->stand_in_bytes());
  request.weight_limit = parse_weights(options.weights, own);
  request.chunk = options.prefill_chunk;
  request.scratch_bytes = [this, rows](int64_t n) { return model->scratch_bytes(n, rows); };
  if (request.weight_limit < needs.weights.minimum)
    throw_error(ErrorKind::kNoMemory,
                "--weights %s is too small for this model: it needs at least %s (min)%s",
                options.weights.c_str(), mebibytes(needs.weights.minimum).c_str(), stand_in_share().c_str());
  return request;
}

void Engine::Impl::load(int64_t reserve_tokens, const Progress& progress) {
  SLUICE_CHECK(!loaded);
  const double start = monotonic_seconds();
  measure_process();
  const MemoryInfo machine = memory_info();
  ram_bytes = parse_ram(options.ram, machine, process_bytes);
  MemoryRequest request = memory_request(ram_bytes, reserve_tokens);
  if (options.ram == "auto") {
    const uint64_t knee = plan_memory(request).knee_ram;
    ram_choice = explain_auto(ram_bytes, knee, machine);
    ram_bytes = request.ram_bytes = std::min(ram_bytes, knee);
  }
  const MemoryPlan plan = plan_memory(request);
  if (!plan.fits) {
    throw_error(ErrorKind::kNoMemory,
                "--ram %s (%s) is too small: this run needs at least --ram %s (weights %s%s, KV cache %s, "
                "the program and scratch the rest), and %s to keep everything in memory",
                options.ram.c_str(), format_bytes(ram_bytes).c_str(), mebibytes(plan.smallest_ram).c_str(),
                format_bytes(request.weights.minimum).c_str(), stand_in_share().c_str(),
                format_bytes(request.kv_bytes).c_str(), mebibytes(plan.comfortable_ram).c_str());
  }
  chunk = plan.chunk;
  logit_rows = std::clamp<int64_t>(options.logit_rows, 1, chunk);
  if (info.n_experts > 0 && plan.weight_bytes < request.weights.one_token)
    warnings.push_back(format_string(
        "%s for weights hold less than the experts of one token (%s); expect most of them to be read again "
        "for every token",
        format_bytes(plan.weight_bytes).c_str(), format_bytes(request.weights.one_token).c_str()));

  budget = std::make_unique<MemoryBudget>(plan.budget_bytes);
  model->set_max_batch_tokens(chunk);
  warm_task();
  model->load(plan.weight_bytes, *budget, progress);
  model->set_lossy(lossy);
  trim_malloc();
  loaded = true;
  load_seconds = monotonic_seconds() - start;
}

// Who takes part in the next pass and with how many tokens: sessions that generate come first with one each,
// prompts share the rest evenly.
std::vector<Engine::Impl::Share> Engine::Impl::divide(std::span<Session* const> sessions) {
  std::vector<Session::Impl*> prompts;
  std::vector<Share> shares;
  int64_t room = chunk;
  for (size_t i = 0; i < sessions.size(); ++i) {
    Session::Impl* session = sessions[(turn + i) % sessions.size()]->impl_.get();
    if (!session->ready()) continue;
    if (!session->decoding()) {
      prompts.push_back(session);
    } else if (room > 0) {
      shares.push_back({session, 1, true});
      --room;
    }
  }
  for (size_t i = 0; i < prompts.size() && room > 0; ++i) {
    Session::Impl* session = prompts[i];
    const auto left = static_cast<int64_t>(prompts.size() - i);
    int64_t n = std::min(static_cast<int64_t>(session->pending().size()), std::max<int64_t>(room / left, 1));
    if (session->sink) n = std::min(n, logit_rows);
    shares.push_back({session, n, false});
    room -= n;
  }
  ++turn;
  return shares;
}

// A mixed pass counts for both kinds of work, in proportion to its rows.
void Engine::Impl::account(std::span<const Share> shares, double seconds) {
  uint64_t n_prompt = 0;
  uint64_t n_decode = 0;
  for (const Share& share : shares) {
    uint64_t& n = share.decoding ? n_decode : n_prompt;
    n += static_cast<uint64_t>(share.n_tokens);
  }
  const double per_row = seconds / static_cast<double>(n_prompt + n_decode);
  prefill_tokens += n_prompt;
  decode_tokens += n_decode;
  prefill_seconds += per_row * static_cast<double>(n_prompt);
  decode_seconds += per_row * static_cast<double>(n_decode);
  if (options.monitor)
    pass_log.add(static_cast<int64_t>(n_prompt), static_cast<int64_t>(n_decode), seconds,
                 model->store_stats(), {prefill_tokens, decode_tokens, prefill_seconds, decode_seconds});
}

MonitorSnapshot Engine::Impl::monitor(size_t n_slices) const {
  SLUICE_CHECK(loaded && options.monitor);
  const ModelState state = model->watch();
  const StoreStats store = model->store_stats();
  MonitorSnapshot snapshot;
  snapshot.budget_bytes = ram_bytes;
  snapshot.resident_bytes = resident_bytes();
  snapshot.peak_resident_bytes = peak_resident_bytes();
  snapshot.pinned_bytes = store.pinned_bytes;
  snapshot.cache_bytes = store.cache_bytes;
  snapshot.ring_bytes = store.ring_bytes;
  snapshot.kv_bytes = budget->used(MemoryUse::kKvCache);
  snapshot.scratch_bytes = budget->used(MemoryUse::kScratch);
  snapshot.streamed_bytes = store.streamed_bytes;
  snapshot.reads_past_page_cache = model->reads_past_page_cache();
  snapshot.bytes_read = store.bytes_read;
  snapshot.hits = store.hits;
  snapshot.misses = store.misses;
  snapshot.evictions = store.evictions;
  snapshot.prefetched_bytes = store.prefetched_bytes;
  snapshot.useful_prefetched_bytes = store.useful_prefetched_bytes;
  snapshot.wasted_bytes = store.wasted_bytes;
  snapshot.stall_seconds = static_cast<double>(store.stall_ns) * 1e-9;
  snapshot.layer = state.layer;
  pass_log.tell(snapshot);
  for (size_t l = 0; l < state.layers.size(); ++l) {
    const LayerTime& time = state.times.layers[l];
    MonitorLayer& layer = snapshot.layers.emplace_back();
    layer.has_experts = state.layers[l].has_experts;
    layer.seconds = static_cast<double>(time.ns) * 1e-9;
    layer.stall_seconds = static_cast<double>(time.stall_ns) * 1e-9;
    layer.bytes_read = time.bytes_read;
    layer.begin_seconds = static_cast<double>(time.begin_ns - state.times.begin_ns) * 1e-9;
    for (const UnitState& unit : state.layers[l].parts) {
      layer.parts.push_back({unit.last_pass > 0 ? state.pass - unit.last_pass : MonitorPart::kNever,
                             unit.is_here, unit.was_missed});
      if (!layer.has_experts) continue;
      layer.hits += unit.n_asked - unit.n_missed;
      layer.misses += unit.n_missed;
    }
  }
  snapshot.slices_seconds = static_cast<double>(state.times.end_ns - state.times.begin_ns) * 1e-9;
  snapshot.slices = slice_timeline(*timeline, state.times.begin_ns, state.times.end_ns, n_slices);
  return snapshot;
}

size_t Engine::Impl::step(std::span<Session* const> sessions) {
  SLUICE_CHECK(loaded);
  const std::vector<Share> shares = divide(sessions);
  if (shares.empty()) return 0;
  std::vector<BatchItem> batch;
  for (const Share& share : shares) {
    const Session::Impl& session = *share.session;
    const std::span<const int32_t> pending = session.pending();
    const auto n = static_cast<size_t>(share.n_tokens);
    LogitsWanted wanted =
        n == pending.size() && session.wants_sample() ? LogitsWanted::kLast : LogitsWanted::kNone;
    if (session.sink) wanted = LogitsWanted::kAll;
    batch.push_back({session.state.get(), pending.first(n), wanted});
  }

  const double start = monotonic_seconds();
  std::span<const float> logits = model->forward(batch);
  account(shares, monotonic_seconds() - start);

  const double sampling_start = monotonic_seconds();
  // One session's failure must not take the others' logits with it.
  std::exception_ptr failure;
  for (size_t i = 0; i < shares.size(); ++i) {
    const size_t n_rows = batch[i].logits == LogitsWanted::kAll    ? batch[i].tokens.size()
                          : batch[i].logits == LogitsWanted::kLast ? 1
                                                                   : 0;
    const std::span<const float> own = logits.first(n_rows * static_cast<size_t>(info.vocab));
    logits = logits.subspan(own.size());
    try {
      shares[i].session->accept(own);
    } catch (...) {
      shares[i].session->running = false;
      if (!failure) failure = std::current_exception();
    }
  }
  n_sampled += shares.size();
  sampling_seconds += monotonic_seconds() - sampling_start;
  if (failure) std::rethrow_exception(failure);
  return shares.size();
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

std::unique_ptr<Engine> Engine::open(const EngineOptions& options) {
  return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(options)));
}

void Engine::load(int64_t reserve_tokens, const Progress& progress) { impl_->load(reserve_tokens, progress); }

MemoryOutlook Engine::outlook(uint64_t ram_bytes, int64_t reserve_tokens) const {
  const MemoryRequest request = impl_->memory_request(ram_bytes, reserve_tokens);
  const MemoryPlan plan = plan_memory(request);
  MemoryOutlook outlook;
  outlook.ram_bytes = ram_bytes;
  outlook.smallest_ram = plan.smallest_ram;
  outlook.one_token_ram = plan.one_token_ram;
  outlook.comfortable_ram = plan.comfortable_ram;
  outlook.knee_ram = plan.knee_ram;
  outlook.fits = plan.fits;
  if (!plan.fits) return outlook;
  const StoreStats store = impl_->model->plan(plan.weight_bytes);
  outlook.prefill_chunk = plan.chunk;
  outlook.process_bytes = request.process_bytes + request.margin_bytes;
  outlook.kv_bytes = request.kv_bytes;
  outlook.scratch_bytes = plan.scratch_bytes;
  outlook.weight_bytes = std::min(plan.weight_bytes, request.weights.all);
  outlook.pinned_bytes = store.pinned_bytes;
  outlook.cache_bytes = store.cache_bytes;
  outlook.ring_bytes = store.ring_bytes;
  outlook.streamed_bytes = store.streamed_bytes;
  return outlook;
}

const ModelInfo& Engine::info() const noexcept { return impl_->info; }
int64_t Engine::n_ctx() const noexcept { return impl_->session_context.n_ctx; }
std::string Engine::describe_memory() const {
  const std::string text = impl_->model->describe_memory();
  return impl_->ram_choice.empty() ? text : impl_->ram_choice + "; " + text;
}
std::vector<std::string> Engine::warnings() const { return impl_->warnings; }

EngineStats Engine::stats() const {
  const Impl& e = *impl_;
  const StoreStats store = e.model->store_stats();
  EngineStats stats;
  stats.budget_bytes = e.ram_bytes;
  stats.resident_bytes = sluice::resident_bytes();
  stats.peak_resident_bytes = sluice::peak_resident_bytes();
  stats.pinned_bytes = store.pinned_bytes;
  stats.cache_bytes = store.cache_bytes;
  stats.ring_bytes = store.ring_bytes;
  stats.streamed_bytes = store.streamed_bytes;
  if (e.budget) {
    stats.kv_bytes = e.budget->used(MemoryUse::kKvCache);
    stats.scratch_bytes = e.budget->used(MemoryUse::kScratch);
  }
  stats.bytes_read = store.bytes_read;
  stats.reads = store.reads;
  stats.stall_seconds = static_cast<double>(store.stall_ns) * 1e-9;
  const PaceReport& pace = store.pace;
  stats.pace = {.max_slowdown = pace.tolerated,
                .measured_seconds = static_cast<double>(pace.kernel_ns) * 1e-9,
                .lost = pace.lost,
                .slowdown = pace.slowdown,
                .bytes_per_s = pace.limit,
                .windows = pace.windows,
                .limited_windows = pace.limited_windows,
                .io_bound_windows = pace.io_bound_windows,
                .failures = pace.failures};
  stats.hits = store.hits;
  stats.misses = store.misses;
  stats.evictions = store.evictions;
  stats.task = e.options.task;
  stats.task_tokens = e.task_profile.n_tokens;
  stats.warm_experts = store.warm_units;
  stats.warm_bytes = store.warm_bytes;
  stats.wasted_bytes = store.wasted_bytes;
  stats.prefetched_bytes = store.prefetched_bytes;
  stats.useful_prefetched_bytes = store.useful_prefetched_bytes;
  if (e.info.n_experts > 0) stats.lossy = e.lossy.describe();
  stats.dropped_experts = e.model->n_dropped_experts();
  stats.stand_ins_used = e.model->n_stand_ins_used();
  const PrefetchReport prefetch = e.model->prefetch_report();
  stats.prefetch_passes_off = prefetch.passes_off;
  stats.prefetch_passes_on = prefetch.passes_on;
  for (const PredictorScore& score : prefetch.predictors)
    stats.predictors.push_back({score.name, score.n_predicted, score.n_right});
  const SpeculationCounts speculation = e.model->speculation();
  stats.speculated_experts = speculation.experts;
  stats.confirmed_experts = speculation.confirmed;
  stats.speculation_wasted_bytes = speculation.wasted_bytes;
  stats.cache_shrinks = store.governor.shrinks;
  stats.cache_grows = store.governor.grows;
  stats.given_back_bytes = store.governor.given_back_bytes;
  stats.taken_again_bytes = store.governor.taken_again_bytes;
  stats.give_back_seconds = static_cast<double>(store.governor.give_back_ns) * 1e-9;
  stats.longest_give_back_seconds = static_cast<double>(store.governor.max_give_back_ns) * 1e-9;
  stats.prefill_tokens = e.prefill_tokens;
  stats.decode_tokens = e.decode_tokens;
  stats.prefill_seconds = e.prefill_seconds;
  stats.decode_seconds = e.decode_seconds;
  stats.load_seconds = e.load_seconds;
  const Profile profile = e.model->profile();
  for (size_t i = 0; i < kNumOperators; ++i) {
    const auto op = static_cast<Operator>(i);
    const OperatorCount& count = profile.of(op);
    stats.operators.push_back(
        {operator_name(op), count.calls, static_cast<double>(count.ns) * 1e-9, count.bytes});
  }
  stats.operators.push_back({"sampling", e.n_sampled, e.sampling_seconds, 0});
  stats.io = e.model->describe_io();
  stats.governor = e.model->describe_governor();
  stats.kernels = kernel_isa(*e.compute.table);
  stats.n_threads = e.pool->size();
  return stats;
}

std::unique_ptr<Session> Engine::new_session() {
  SLUICE_CHECK(impl_->loaded);
  return std::unique_ptr<Session>(
      new Session(std::make_unique<Session::Impl>(impl_->session_context, impl_->model->new_sequence())));
}

size_t Engine::step(std::span<Session* const> sessions) { return impl_->step(sessions); }
MonitorSnapshot Engine::monitor(size_t n_slices) const { return impl_->monitor(n_slices); }

void Engine::write_timeline(const std::string& path) const {
  SLUICE_CHECK(impl_->options.timeline_spans > 0);
  FileWriter file(path);
  impl_->timeline->write_json([&file](std::string_view text) { file.write(std::as_bytes(std::span(text))); });
  file.commit();
}

void Engine::set_lossy(const std::vector<std::string>& modes) {
  SLUICE_CHECK(impl_->loaded);
  impl_->set_lossy(modes);
  impl_->model->set_lossy(impl_->lossy);
  impl_->prefill_tokens = impl_->decode_tokens = 0;
  impl_->prefill_seconds = impl_->decode_seconds = 0;
  impl_->forget_routes();
}

void Engine::set_route_sink(RouteSink sink) {
  impl_->route_sink = std::move(sink);
  impl_->observe_routes();
}

}  // namespace sluice
