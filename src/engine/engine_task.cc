// What an engine does with the profile of a task: reads it when it is opened, begins with its experts, counts
// what the routers choose, and teaches the profile when asked to.
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/error.h"
#include "engine/engine_impl.h"
#include "engine/task_profiles.h"

namespace sluice {
namespace {

// "; there is one for a.gguf and 2 other models, whose weights differ", or nothing.
std::string other_models(const std::string& task) {
  std::string first;
  size_t n = 0;
  for (const StoredProfile& stored : list_task_profiles()) {
    if (stored.task != task || !stored.damage.empty()) continue;
    if (n++ == 0) first = printable(stored.profile.model);
  }
  if (n == 0) return {};
  if (n > 1) first += format_string(" and %zu other model%s", n - 1, n > 2 ? "s" : "");
  return "; there is one for " + first + ", whose weights differ";
}

// The task's profile of the model that `like` is of.
std::optional<TaskProfile> load_known(const std::string& task, const TaskProfile& like) {
  std::optional<TaskProfile> known = load_task_profile(task, like.fingerprint);
  if (known && !known->is_of_one_model_with(like))
    throw_error(
        ErrorKind::kInvalid,
        "%s is of a model of another shape: remove it (sluice profile delete %s) and let it be learned "
        "again",
        task_profile_path(task, like.fingerprint).c_str(), task.c_str());
  return known;
}

}  // namespace

void Engine::Impl::open_task() {
  check_task_name(options.task);
  if (info.n_experts == 0)
    throw_error(ErrorKind::kUnsupported, "--task %s: %s has no experts to choose from, leave it out",
                options.task.c_str(), printable(info.path).c_str());
  const std::vector<LayerSpec>& layers = model->spec().layers;
  for (size_t l = 0; l < layers.size(); ++l) {
    if (layers[l].ffn == FfnKind::kMoe) moe_layers.push_back(static_cast<int64_t>(l));
  }
  task_profile.fingerprint = model->fingerprint();
  task_profile.groups.assign(moe_layers.begin(), moe_layers.end());
  task_profile.n_units = static_cast<uint32_t>(info.n_experts);
  if (auto known = load_known(options.task, task_profile)) {
    task_profile = std::move(*known);
  } else {
    warnings.push_back(format_string("the task %s has no profile for this model yet and starts cold%s",
                                     options.task.c_str(), other_models(options.task).c_str()));
  }
  route_counts.assign(task_profile.n_all(), 0);
  observe_routes();
}

void Engine::Impl::warm_task() {
  if (task_profile.uses.empty()) return;
  const auto n_experts = static_cast<size_t>(info.n_experts);
  const std::vector<float> known = task_profile.rates();
  std::vector<float> rates(static_cast<size_t>(info.n_layers) * n_experts, 0);
  for (size_t i = 0; i < moe_layers.size(); ++i)
    std::copy_n(known.data() + i * n_experts, n_experts,
                rates.data() + static_cast<size_t>(moe_layers[i]) * n_experts);
  model->set_expert_rates(rates);
}

void Engine::Impl::observe_routes() {
  if (route_counts.empty() && !route_sink) return model->set_route_observer({});
  std::vector<size_t> row_of(static_cast<size_t>(info.n_layers), 0);  // of route_counts
  for (size_t i = 0; i < moe_layers.size(); ++i)
    row_of[static_cast<size_t>(moe_layers[i])] = i * static_cast<size_t>(info.n_experts);
  model->set_route_observer([this, row_of = std::move(row_of)](int64_t layer, size_t, int64_t position,
                                                               std::span<const int32_t> experts,
                                                               std::span<const float> weights) {
    if (!route_counts.empty()) {
      for (const int32_t expert : experts) {
        if (expert >= 0) ++route_counts[row_of[static_cast<size_t>(layer)] + static_cast<size_t>(expert)];
      }
    }
    if (route_sink) route_sink(layer, position, experts, weights);
  });
}

void Engine::Impl::forget_routes() {
  std::fill(route_counts.begin(), route_counts.end(), 0);
  learned_tokens = prefill_tokens + decode_tokens;
}

uint64_t Engine::Impl::learn_task() {
  const uint64_t n_new = prefill_tokens + decode_tokens - learned_tokens;
  if (route_counts.empty() || n_new == 0 || !lossy.is_exact()) return 0;
  // Another run may have taught it meanwhile.
  TaskProfile profile = task_profile;
  if (auto known = load_known(options.task, profile)) profile = std::move(*known);
  profile.model = std::filesystem::path(info.path).filename().string();
  profile.architecture = info.architecture;
  profile.learn(route_counts, n_new);
  profile.used_at = static_cast<int64_t>(std::time(nullptr));
  save_task_profile(options.task, profile);
  forget_routes();
  return n_new;
}

uint64_t Engine::learn_task() { return impl_->learn_task(); }
uint64_t Engine::fingerprint() const { return impl_->model->fingerprint(); }

}  // namespace sluice
