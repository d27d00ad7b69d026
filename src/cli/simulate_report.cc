#include "cli/simulate_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/units.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kKneeGain = 0.05;  // of speed
constexpr double kKneeStep = 0.10;  // of all experts

uint64_t total_misses(const SimulatedCurve& curve) {
  uint64_t sum = 0;
  for (const SimulatedPoint& point : curve.points) sum += point.misses;
  return sum;
}

// Of the least possible misses, the share that they are of the policy's: 1 is perfect.
double of_best(const SimulatedPoint& best, const SimulatedPoint& point) {
  return point.misses > 0 ? static_cast<double>(best.misses) / static_cast<double>(point.misses) : 1;
}

std::string table_line(const SimulationReport& report, size_t budget, const SimulatedCurve& curve,
                       bool is_leader) {
  const SimulatedPoint& point = curve.points[budget];
  const double per_token = static_cast<double>(point.misses) / static_cast<double>(report.n_tokens);
  std::string line =
      format_string("  %-22s %7.2f %%  %12.2f  %9.3f  %8.1f %%", curve.name().c_str(), 100 * point.hit_rate(),
                    per_token, per_token * static_cast<double>(report.shape.unit_bytes) * 1e-6,
                    100 * of_best(report.best.points[budget], point));
  if (point.tokens_s > 0) line += format_string("  %9.2f", point.tokens_s);
  return line + (is_leader ? "  *\n" : "\n");
}

}  // namespace

const SimulatedCurve& SimulationReport::leader() const {
  return *std::min_element(
      curves.begin(), curves.end(),
      [](const SimulatedCurve& a, const SimulatedCurve& b) { return total_misses(a) < total_misses(b); });
}

std::optional<size_t> SimulationReport::knee() const {
  const std::vector<SimulatedPoint>& points = leader().points;
  std::optional<size_t> found;
  for (size_t i = points.size(); i-- > 0;) {
    if (points[i].tokens_s <= 0) return std::nullopt;
    if (i + 1 == points.size()) continue;
    const double steps = (budgets[i + 1].share - budgets[i].share) / kKneeStep;
    const double gain = std::pow(points[i + 1].tokens_s / points[i].tokens_s, 1 / std::max(steps, 1e-9)) - 1;
    if (gain >= kKneeGain) break;
    found = i;
  }
  return found;
}

std::string simulation_text(const SimulationReport& report) {
  const TraceShape& shape = report.shape;
  std::string text = format_string(
      "%s: %zu layers of %u experts, %u a token, %s each, %s together\n%zu tokens in %zu passes",
      printable(shape.model).c_str(), shape.groups.size(), shape.n_units, shape.n_chosen,
      format_bytes(shape.unit_bytes).c_str(),
      format_bytes(shape.unit_bytes * shape.groups.size() * shape.n_units).c_str(), report.n_tokens,
      report.n_passes);
  if (report.best.points[0].tokens_s > 0)
    text += format_string("; predicted from %s a token and %s/s from the SSD",
                          format_seconds(report.token_seconds).c_str(),
                          format_bytes(static_cast<uint64_t>(report.disk_bytes_s)).c_str());
  if (!report.task.empty())
    text += format_string("; begins with the experts of %s, learned from %llu tokens", report.task.c_str(),
                          static_cast<unsigned long long>(report.task_tokens));
  const std::optional<size_t> knee = report.knee();
  for (size_t i = 0; i < report.budgets.size(); ++i) {
    const SimulatedBudget& budget = report.budgets[i];
    text += format_string("\n\n%s: %zu slots, %s, %.0f %% of the experts%s\n", printable(budget.name).c_str(),
                          budget.n_slots, format_bytes(budget.n_slots * shape.unit_bytes).c_str(),
                          100 * budget.share, knee == i ? "  <- the knee" : "");
    text += "  policy                  hit rate  misses/token   MB/token  of Belady";
    text += report.best.points[i].tokens_s > 0 ? "      tok/s\n" : "\n";
    text += table_line(report, i, report.best, false);
    std::vector<const SimulatedCurve*> order;
    for (const SimulatedCurve& curve : report.curves) order.push_back(&curve);
    std::stable_sort(order.begin(), order.end(), [i](const SimulatedCurve* a, const SimulatedCurve* b) {
      return a->points[i].misses < b->points[i].misses;
    });
    for (const SimulatedCurve* curve : order)
      text += table_line(report, i, *curve, curve == &report.leader() && report.curves.size() > 1);
    text.pop_back();
  }
  text += "\n";
  if (report.curves.size() > 1)
    text += format_string("\n* fewest misses over all budgets: %s\n", report.leader().name().c_str());
  return text;
}

Json simulation_json(const SimulationReport& report) {
  const TraceShape& shape = report.shape;
  Json json = {{"model", printable(shape.model)},  {"layers", shape.groups.size()},
               {"experts", shape.n_units},         {"experts_per_token", shape.n_chosen},
               {"expert_bytes", shape.unit_bytes}, {"tokens", report.n_tokens},
               {"passes", report.n_passes},        {"ssd_bytes_s", report.disk_bytes_s},
               {"token_s", report.token_seconds}};
  const auto points_of = [&](const SimulatedCurve& curve) {
    Json points = Json::array();
    for (size_t i = 0; i < curve.points.size(); ++i) {
      const SimulatedPoint& point = curve.points[i];
      const double per_token = static_cast<double>(point.misses) / static_cast<double>(report.n_tokens);
      points.push_back({{"hits", point.hits},
                        {"misses", point.misses},
                        {"hit_rate", point.hit_rate()},
                        {"misses_per_token", per_token},
                        {"bytes_per_token", per_token * static_cast<double>(shape.unit_bytes)},
                        {"of_best", of_best(report.best.points[i], point)},
                        {"predicted_tok_s", point.tokens_s > 0 ? Json(point.tokens_s) : Json()}});
    }
    return points;
  };
  if (!report.task.empty()) json["task"] = {{"name", report.task}, {"known_tokens", report.task_tokens}};
  json["budgets"] = Json::array();
  for (const SimulatedBudget& budget : report.budgets)
    json["budgets"].push_back({{"name", budget.name},
                               {"slots", budget.n_slots},
                               {"bytes", budget.n_slots * shape.unit_bytes},
                               {"share", budget.share}});
  json["best_possible"] = points_of(report.best);
  json["policies"] = Json::array();
  for (const SimulatedCurve& curve : report.curves)
    json["policies"].push_back(
        {{"policy", curve.policy}, {"split", curve.split}, {"points", points_of(curve)}});
  json["leader"] = report.leader().name();
  const std::optional<size_t> knee = report.knee();
  json["knee"] = knee ? Json(report.budgets[*knee].name) : Json();
  return json;
}

}  // namespace sluice
