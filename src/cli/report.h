// What is told after a run: the JSON object that scripts rely on, and the line for people.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "sluice/engine.h"
#include "sluice/session.h"

namespace sluice {

nlohmann::ordered_json run_report(const Session& session, const EngineStats& stats, const std::string& text,
                                  bool cancelled);

// "64 tokens, 12.3 tok/s · prompt 10 tokens, 210 tok/s, first token 48 ms · ..."
std::string stats_line(const Session& session, const EngineStats& stats);

double per_second(uint64_t n, double seconds);  // 0 for no time

}  // namespace sluice
