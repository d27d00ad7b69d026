#include "cli/report.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/units.h"

namespace sluice {

double per_second(uint64_t n, double seconds) { return seconds > 0 ? static_cast<double>(n) / seconds : 0; }

nlohmann::ordered_json run_report(const Session& session, const EngineStats& stats, const std::string& text,
                                  bool cancelled) {
  const std::span<const int32_t> ids = session.generated();
  nlohmann::ordered_json report;
  report["text"] = text;
  report["token_ids"] = std::vector<int32_t>(ids.begin(), ids.end());
  report["prompt_tokens"] = session.prompt_tokens();
  report["completion_tokens"] = ids.size();
  report["finish_reason"] = cancelled ? "cancelled" : finish_reason_name(session.finished());
  report["timings"] = {{"load_s", stats.load_seconds},
                       {"first_token_ms", session.first_token_seconds() * 1e3},
                       {"prefill_tok_s", per_second(stats.prefill_tokens, stats.prefill_seconds)},
                       {"decode_tok_s", per_second(stats.decode_tokens, stats.decode_seconds)}};
  report["memory"] = {{"budget_bytes", stats.budget_bytes},
                      {"peak_rss_bytes", stats.peak_resident_bytes},
                      {"pinned_bytes", stats.pinned_bytes},
                      {"cache_bytes", stats.cache_bytes},
                      {"kv_bytes", stats.kv_bytes}};
  report["io"] = {{"bytes_read", stats.bytes_read}, {"reads", stats.reads}, {"stall_s", stats.stall_seconds}};
  if (stats.pace.max_slowdown > 0)
    report["io"]["pace"] = {{"max_slowdown", stats.pace.max_slowdown},
                            {"measured_s", stats.pace.measured_seconds},
                            {"lost", stats.pace.lost},
                            {"slowdown", stats.pace.slowdown},
                            {"limit_bytes_per_s", stats.pace.bytes_per_s},
                            {"windows", stats.pace.windows},
                            {"limited_windows", stats.pace.limited_windows},
                            {"io_bound_windows", stats.pace.io_bound_windows},
                            {"failures", stats.pace.failures}};
  report["cache"] = {{"hits", stats.hits}, {"misses", stats.misses}, {"hit_rate", stats.hit_rate()}};
  nlohmann::ordered_json predictors = nlohmann::ordered_json::array();
  for (const PredictorStats& p : stats.predictors)
    predictors.push_back({{"name", p.name}, {"predicted", p.n_predicted}, {"accuracy", p.accuracy()}});
  report["prefetch"] = {{"bytes", stats.prefetched_bytes},
                        {"useful_bytes", stats.useful_prefetched_bytes},
                        {"wasted_bytes", stats.wasted_bytes},
                        {"passes", {{"off", stats.prefetch_passes_off}, {"on", stats.prefetch_passes_on}}},
                        {"predictors", predictors}};
  if (!stats.task.empty())
    report["task"] = {{"name", stats.task},
                      {"known_tokens", stats.task_tokens},
                      {"warm_experts", stats.warm_experts},
                      {"warm_bytes", stats.warm_bytes}};
  report["speculation"] = {{"experts", stats.speculated_experts},
                           {"confirmed", stats.confirmed_experts},
                           {"discarded", stats.speculated_experts - stats.confirmed_experts},
                           {"wasted_bytes", stats.speculation_wasted_bytes}};
  report["exact"] = stats.lossy.empty();
  if (!stats.lossy.empty())
    report["lossy"] = {{"how", stats.lossy},
                       {"dropped_experts", stats.dropped_experts},
                       {"stand_ins_used", stats.stand_ins_used}};
  report["governor"] = {{"state", stats.governor},
                        {"shrinks", stats.cache_shrinks},
                        {"grows", stats.cache_grows},
                        {"given_back_bytes", stats.given_back_bytes},
                        {"taken_again_bytes", stats.taken_again_bytes},
                        {"give_back_s", stats.give_back_seconds},
                        {"longest_give_back_s", stats.longest_give_back_seconds}};
  return report;
}

std::string stats_line(const Session& session, const EngineStats& stats) {
  std::string line = format_string(
      "%zu tokens, %.1f tok/s · prompt %lld tokens, %.1f tok/s, first token %s · loaded in %s",
      session.generated().size(), per_second(stats.decode_tokens, stats.decode_seconds),
      static_cast<long long>(session.prompt_tokens()),
      per_second(stats.prefill_tokens, stats.prefill_seconds),
      format_seconds(session.first_token_seconds()).c_str(), format_seconds(stats.load_seconds).c_str());
  if (stats.hits + stats.misses > 0) line += format_string(" · %.0f %% expert hits", 100 * stats.hit_rate());
  if (!stats.task.empty())
    line += format_string(" · %s began with %llu experts (%s)", stats.task.c_str(),
                          static_cast<unsigned long long>(stats.warm_experts),
                          format_bytes(stats.warm_bytes).c_str());
  if (stats.prefetched_bytes > 0)
    line += format_string(" · prefetched %s, %.0f %% of use", format_bytes(stats.prefetched_bytes).c_str(),
                          100 * static_cast<double>(stats.useful_prefetched_bytes) /
                              static_cast<double>(stats.prefetched_bytes));
  for (const PredictorStats& p : stats.predictors)
    if (stats.predictors.size() > 1 && p.n_predicted > 0)
      line += format_string(" · %s %.1f %% right", p.name.c_str(), 100 * p.accuracy());
  if (stats.speculated_experts > 0)
    line += format_string(
        " · %llu experts computed ahead, %.0f %% confirmed, %s in vain",
        static_cast<unsigned long long>(stats.speculated_experts),
        100 * static_cast<double>(stats.confirmed_experts) / static_cast<double>(stats.speculated_experts),
        format_bytes(stats.speculation_wasted_bytes).c_str());
  if (stats.bytes_read > 0)
    line += format_string(" · read %s in %llu reads, waited %s", format_bytes(stats.bytes_read).c_str(),
                          static_cast<unsigned long long>(stats.reads),
                          format_seconds(stats.stall_seconds).c_str());
  if (!stats.lossy.empty())
    line += format_string(" · LOSSY (%s): %llu experts left out, %llu stood in for", stats.lossy.c_str(),
                          static_cast<unsigned long long>(stats.dropped_experts),
                          static_cast<unsigned long long>(stats.stand_ins_used));
  if (stats.cache_shrinks > 0)
    line += format_string(" · gave %s back to others in %llu steps, took %s again",
                          format_bytes(stats.given_back_bytes).c_str(),
                          static_cast<unsigned long long>(stats.cache_shrinks),
                          format_bytes(stats.taken_again_bytes).c_str());
  line += format_string(" · peak memory %s of %s", format_bytes(stats.peak_resident_bytes).c_str(),
                        format_bytes(stats.budget_bytes).c_str());
  return line;
}

}  // namespace sluice
