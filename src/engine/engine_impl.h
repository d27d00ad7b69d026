// The inside of an Engine: the parts in the order in which they depend on each other.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine_monitor.h"
#include "engine/memory_plan.h"
#include "engine/session_impl.h"
#include "engine/text_assets.h"
#include "format/checkpoint.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "platform/memory_budget.h"
#include "platform/thread_pool.h"
#include "sluice/engine.h"
#include "store/task_profile.h"

namespace sluice {

struct Engine::Impl {
  explicit Impl(const EngineOptions& engine_options);

  void measure_process();
  MemoryRequest memory_request(uint64_t ram_bytes, int64_t reserve_tokens) const;
  void load(int64_t reserve_tokens, const Progress& progress);
  void set_lossy(const std::vector<std::string>& modes);  // refuses stand-ins that are not there
  size_t step(std::span<Session* const> sessions);
  MonitorSnapshot monitor(size_t n_slices) const;
  void open_task();
  void warm_task();  // before the model is loaded
  uint64_t learn_task();
  void forget_routes();
  void observe_routes();

  EngineOptions options;
  std::shared_ptr<const Checkpoint> checkpoint;
  TextAssets text;
  std::unique_ptr<ThreadPool> pool;
  Compute compute;
  std::unique_ptr<Timeline> timeline;
  std::unique_ptr<MemoryBudget> budget;  // made by load()
  std::unique_ptr<Model> model;
  ModelInfo info;
  SessionContext session_context;
  std::vector<std::string> warnings;

  uint64_t process_bytes = 0;       // resident before the model is loaded, by measure_process()
  uint64_t process_peak_bytes = 0;  // the most until then
  uint64_t ram_bytes = 0;           // --ram as understood
  std::string ram_choice;           // why --ram auto is that; empty if it was given
  int64_t chunk = 0;                // rows of one pass
  int64_t logit_rows = 1;           // rows of one session that wants the logits of its prompt
  bool loaded = false;
  LossyRouting lossy;

  // With options.task: engine_task.cc.
  TaskProfile task_profile;            // as it was when the engine was opened
  std::vector<int64_t> moe_layers;     // ascending
  std::vector<uint64_t> route_counts;  // [moe_layers, n_experts], since learned_tokens; empty: no task
  uint64_t learned_tokens = 0;         // of prefill_tokens + decode_tokens
  Engine::RouteSink route_sink;

  size_t turn = 0;  // which session is first when not all fit a pass
  uint64_t prefill_tokens = 0, decode_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0, load_seconds = 0;
  uint64_t n_sampled = 0;
  double sampling_seconds = 0;
  PassLog pass_log;  // where the options want it

 private:
  std::string stand_in_share() const;
  struct Share {
    Session::Impl* session;
    int64_t n_tokens;
    bool decoding;
  };
  std::vector<Share> divide(std::span<Session* const> sessions);
  void account(std::span<const Share> shares, double seconds);
};

}  // namespace sluice
