#include "cli/simulate_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sluice {
namespace {

// Budgets of 10, 20, ... % with these speeds under one policy, and no more misses than the other.
SimulationReport report_of(const std::vector<double>& speeds) {
  SimulationReport report = {.n_tokens = 10, .n_passes = 10};
  report.shape = {.model = "<a & b>", .groups = {0, 1}, .n_units = 8, .n_chosen = 2, .unit_bytes = 1000000};
  report.curves = {{"lru", "shared", {}}, {"lfu", "shared", {}}};
  for (size_t i = 0; i < speeds.size(); ++i) {
    report.budgets.push_back({std::to_string(10 * (i + 1)) + "%", i + 1, 0.1 * static_cast<double>(i + 1)});
    report.best.points.push_back({30, 10, speeds[i]});
    report.curves[0].points.push_back({15, 25, speeds[i] / 2});
    report.curves[1].points.push_back({20, 20, speeds[i]});
  }
  return report;
}

TEST(Simulation, TheKneeIsWhereNoStepPaysAnyMore) {
  EXPECT_EQ(report_of({10, 12, 14, 14.5, 15}).knee(), 2U);
  EXPECT_EQ(report_of({10, 10, 14, 14.5}).knee(), 2U);  // a flat start is no knee
  EXPECT_EQ(report_of({10, 10, 10}).knee(), 0U);
  EXPECT_EQ(report_of({10, 12, 14}).knee(), std::nullopt);  // the last step still pays
  EXPECT_EQ(report_of({0, 0}).knee(), std::nullopt);        // nothing to predict from
  SimulationReport wide = report_of({10, 10.8});
  EXPECT_EQ(wide.knee(), std::nullopt);
  wide.budgets[1].share = 0.3;  // 8 % in two steps of 10 % of the experts
  EXPECT_EQ(wide.knee(), 0U);
}

TEST(Simulation, TellsItAsTableJsonAndDrawing) {
  const SimulationReport report = report_of({10, 12, 14, 14.5, 15});
  EXPECT_EQ(report.leader().name(), "lfu");
  const std::string text = simulation_text(report);
  EXPECT_NE(text.find("30%: 3 slots, 2.86 MiB, 30 % of the experts  <- the knee"), std::string::npos) << text;
  EXPECT_NE(
      text.find("  lfu                      50.00 %          2.00      2.000      50.0 %      10.00  *"),
      std::string::npos)
      << text;
  const nlohmann::ordered_json json = simulation_json(report);
  EXPECT_EQ(json["knee"], "30%");
  EXPECT_EQ(json["leader"], "lfu");
  EXPECT_EQ(json["policies"][0]["points"][0]["misses_per_token"], 2.5);
  EXPECT_EQ(json["policies"][0]["points"][0]["bytes_per_token"], 2.5e6);
  EXPECT_EQ(json["policies"][0]["points"][0]["of_best"], 0.4);
  const std::string svg = simulation_svg(report);
  EXPECT_NE(svg.find("&lt;a &amp; b>"), std::string::npos);
  // Half of the hit rate's axis, which is 220 high from 48 on, at 10 % of 500 from 64 on.
  EXPECT_NE(svg.find("points=\"114.0,158.0 164.0,158.0"), std::string::npos) << svg;
  EXPECT_NE(svg.find(">knee<"), std::string::npos);
}

}  // namespace
}  // namespace sluice
