#include "cli/score.h"

#include <algorithm>
#include <cmath>

#include "cli/interrupt.h"

namespace sluice {

double negative_log_likelihood(std::span<const float> logits, int32_t target) {
  double best = logits[0];
  for (const float x : logits) best = std::max(best, static_cast<double>(x));
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - best);
  return best + std::log(sum) - static_cast<double>(logits[static_cast<size_t>(target)]);
}

std::vector<double> score(Engine& engine, Session& session, std::span<const int32_t> ids) {
  std::vector<double> nats;
  session.truncate(0);
  session.set_logits_sink([&](int64_t position, std::span<const float> logits) {
    nats.push_back(negative_log_likelihood(logits, ids[static_cast<size_t>(position) + 1]));
  });
  GenerateOptions generate;
  generate.max_tokens = 0;
  session.append(ids.first(ids.size() - 1), generate);
  Session* const sessions[] = {&session};
  while (!interrupted() && engine.step(sessions) > 0) continue;
  session.set_logits_sink({});
  return nats;
}

}  // namespace sluice
