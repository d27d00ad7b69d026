#include "cli/max_loss.h"

#include <array>
#include <charconv>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/score.h"

namespace sluice {
namespace {

// Thresholds in ascending order, and what they are of: while measuring, and then.
struct Ladder {
  const char* measured;
  const char* used;
  std::array<const char*, 8> thresholds;
};

constexpr Ladder kTopK = {"topk:", "topk:", {"0.05", "0.1", "0.15", "0.2", "0.3", "0.4", "0.6", "0.8"}};
// Measured as if nothing were in memory, so that what is there does not matter.
constexpr Ladder kStandIn = {
    "stand-in-all:", "stand-in:", {"0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.8", "1"}};
constexpr uint64_t kMeasurements = 4;  // that one ladder takes at most

double parse_limit(const std::string& text) {
  double percent = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, percent);
  const bool good =
      parsed.ec == std::errc() && std::string_view(parsed.ptr, end) == "%" && percent > 0 && percent <= 100;
  if (!good)
    throw_error(ErrorKind::kInvalid, "--max-loss %s: write a percentage of perplexity, such as 1%%",
                printable(text).c_str());
  return percent / 100;
}

struct Cost {
  double mean = 0;   // perplexity with / without, - 1
  double upper = 0;  // the same two standard errors higher
};

// A setting, what it costs and how many experts it spares their reading, at most.
struct Choice {
  std::string mode;  // empty: exact
  Cost cost;
  uint64_t n_spared = 0;
};

// Of the same tokens, so that only what differs counts.
Cost cost_of(const std::vector<double>& lossy, const std::vector<double>& exact) {
  const auto n = static_cast<double>(exact.size());
  double sum = 0, squares = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double difference = lossy[i] - exact[i];
    sum += difference;
    squares += difference * difference;
  }
  const double mean = sum / n, variance = std::max(squares / n - mean * mean, 0.0);
  return {std::expm1(mean), std::expm1(mean + 2 * std::sqrt(variance / n))};
}

}  // namespace

void add_max_loss_flags(Arguments& args, MaxLossFlags& flags) {
  Arguments memory = args.group(kMemoryAndMachine);
  memory.option(
      "--max-loss P%", flags.limit,
      "leave out light experts, or take their --stand-in, while --loss-text loses at most this much "
      "perplexity, for instance 1%");
  memory.option("--loss-text FILE", flags.file,
                "text like yours, on which --max-loss is measured; - for standard input");
}

void check_max_loss(const MaxLossFlags& flags, EngineOptions& options) {
  if (flags.limit.empty()) return;
  parse_limit(flags.limit);
  if (flags.file.empty())
    throw_error(ErrorKind::kInvalid,
                "--max-loss is measured on a text like yours: give one with --loss-text FILE");
  options.logit_rows = kLossLogitRows;
  if (!options.stand_in.empty()) options.lossy = {"stand-in"};  // they are loaded, and used or not
}

std::string apply_max_loss(const MaxLossFlags& flags, bool has_stand_in, Engine& engine) {
  if (flags.limit.empty()) return {};
  const double limit = parse_limit(flags.limit);
  if (engine.info().n_experts == 0)
    throw_error(ErrorKind::kInvalid, "--max-loss: this model has no experts to leave out");
  std::vector<int32_t> ids = engine.tokenize(read_text(flags.file));
  ids.resize(
      std::min({ids.size(), static_cast<size_t>(kMostLossTokens), static_cast<size_t>(engine.n_ctx())}));
  if (ids.size() < 64)
    throw_error(ErrorKind::kInvalid, "--loss-text %s: %zu tokens are too few to measure on; 64 is the least",
                printable(flags.file).c_str(), ids.size());

  const std::unique_ptr<Session> session = engine.new_session();
  ProgressBar bar("measuring the loss", "texts");
  uint64_t n_done = 0;
  const auto measure = [&](const std::vector<std::string>& modes) {
    engine.set_lossy(modes);
    std::vector<double> nats = score(engine, *session, ids);
    if (interrupted()) throw_error(ErrorKind::kCancelled, "interrupted while measuring the loss");
    bar.update(++n_done, 1 + kMeasurements * (has_stand_in ? 2 : 1));
    return nats;
  };
  const std::vector<double> exact = measure({});
  Choice best;
  for (const Ladder* const ladder : {&kTopK, &kStandIn}) {
    if (ladder == &kStandIn && !has_stand_in) break;
    size_t low = 0, high = ladder->thresholds.size();  // below `low` they are good, from `high` on too dear
    while (low < high) {
      const size_t middle = (low + high) / 2;
      const std::string threshold = ladder->thresholds[middle];
      const Cost cost = cost_of(measure({ladder->measured + threshold}), exact);
      const EngineStats stats = engine.stats();
      const uint64_t n_spared = stats.dropped_experts + stats.stand_ins_used;
      if (cost.upper <= limit) {
        low = middle + 1;
        if (n_spared > best.n_spared) best = {ladder->used + threshold, cost, n_spared};
      } else {
        high = middle;
      }
    }
  }
  if (best.mode.empty()) {
    engine.set_lossy({});
    return format_string("--max-loss %s: no setting is surely below it on %zu tokens; the output stays exact",
                         flags.limit.c_str(), ids.size());
  }
  engine.set_lossy({best.mode});
  return format_string(
      "--max-loss %s: --lossy %s, which on %zu tokens costs %.2f %% of perplexity (surely below %.2f %%)%s",
      flags.limit.c_str(), best.mode.c_str(), ids.size(), 100 * best.cost.mean, 100 * best.cost.upper,
      best.mode.rfind(kStandIn.used, 0) == 0 ? " if no expert is in memory" : "");
}

}  // namespace sluice
