// The drawing of sluice simulate: hit rate, and predicted speed, over the share of experts that are held.
// Plain SVG without external parts, in colours that can be read on light and dark ground.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "cli/simulate_report.h"

namespace sluice {
namespace {

constexpr double kWidth = 760, kPanel = 300, kTop = 48, kLeft = 64, kPlotWidth = 500, kPlotHeight = 220;
constexpr const char* kColours[] = {"#4e79a7", "#e15759", "#59a14f", "#f28e2b",
                                    "#b07aa1", "#2aa198", "#9c755f"};

// A round number of which four to eight make up `top`.
double tick_step(double top) {
  const double rough = top / 6;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power) return factor * power;
  }
  return 10 * power;
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : printable(text)) {
    if (c == '<') {
      result += "&lt;";
    } else if (c == '&') {
      result += "&amp;";
    } else {
      result += c;
    }
  }
  return result;
}

struct Panel {
  const SimulationReport& report;
  double y0;   // upper edge of the plot
  double top;  // value there

  double x(double share) const { return kLeft + share * kPlotWidth; }
  double y(double value) const { return y0 + kPlotHeight * (1 - value / top); }

  std::string axes(const char* title, double scale, const char* unit) const {
    std::string svg = format_string("<text class=\"t\" x=\"%g\" y=\"%g\">%s</text>\n", kLeft, y0 - 12, title);
    const double step = tick_step(top * scale);
    for (int i = 0; step * i <= top * scale * 1.0001; ++i) {
      const double at = y(step * i / scale);
      svg += format_string(
          "<path class=\"g\" d=\"M%g %.1fh%g\"/><text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%g%s</text>\n",
          kLeft, at, kPlotWidth, kLeft - 6, at + 4, step * i, unit);
    }
    for (int percent = 0; percent <= 100; percent += 10) {
      const double at = x(percent / 100.0);
      svg += format_string("<path class=\"g\" d=\"M%.1f %gv%g\"/>", at, y0, kPlotHeight);
      if (percent % 20 == 0)
        svg += format_string("<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%d %%</text>", at,
                             y0 + kPlotHeight + 16, percent);
      svg += "\n";
    }
    svg += format_string("<path class=\"a\" d=\"M%g %gv%gh%g\"/>\n", kLeft, y0, kPlotHeight, kPlotWidth);
    if (const auto knee = report.knee()) {
      const double at = x(report.budgets[*knee].share);
      svg += format_string("<path class=\"k\" d=\"M%.1f %gv%g\"/><text x=\"%.1f\" y=\"%g\">knee</text>\n", at,
                           y0, kPlotHeight, at + 4, y0 + kPlotHeight - 6);
    }
    return svg;
  }

  template <typename Value>
  std::string line(const SimulatedCurve& curve, const std::string& style, const Value& value) const {
    std::string points;
    for (size_t i = 0; i < curve.points.size(); ++i)
      points += format_string("%.1f,%.1f ", x(report.budgets[i].share), y(value(curve.points[i])));
    return format_string("<polyline class=\"l\" style=\"%s\" points=\"%s\"/>\n", style.c_str(),
                         points.c_str());
  }
};

}  // namespace

std::string simulation_svg(const SimulationReport& report) {
  // Of each policy one curve: the shared pool's where it was simulated.
  std::vector<const SimulatedCurve*> drawn;
  for (const SimulatedCurve& curve : report.curves) {
    if (curve.split == report.curves.front().split) drawn.push_back(&curve);
  }
  const bool has_speed = report.best.points[0].tokens_s > 0;
  const auto style_of = [](size_t i) {
    return format_string("stroke:%s%s", kColours[i % std::size(kColours)],
                         i < std::size(kColours) ? "" : ";stroke-dasharray:2 2");
  };
  const std::string best_style = "stroke:currentColor;stroke-dasharray:6 4";

  const double height = kTop + kPanel * (has_speed ? 2 : 1);
  std::string svg = format_string(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" "
      "role=\"img\">\n<title>Hit rate and speed over the memory for experts: %s</title>\n"
      "<style>svg{font:12px sans-serif;color:#333;background:#fff}text{fill:currentColor}.t{font-weight:bold}"
      ".g{stroke:currentColor;opacity:.15}.a{stroke:currentColor;fill:none}.k{stroke:currentColor;"
      "stroke-dasharray:2 3}.l{fill:none;stroke-width:2}"
      "@media(prefers-color-scheme:dark){svg{color:#ddd;background:#1b1b1b}}</style>\n",
      kWidth, height, kWidth, height, escaped(report.shape.model).c_str());
  const auto draw = [&](const Panel& panel, const auto& value) {
    for (size_t i = 0; i < drawn.size(); ++i) svg += panel.line(*drawn[i], style_of(i), value);
    svg += panel.line(report.best, best_style, value);
  };

  const Panel rates = {report, kTop, 1};
  svg += rates.axes("hit rate, by share of the experts that are held", 100, " %");
  draw(rates, [](const SimulatedPoint& point) { return point.hit_rate(); });
  if (has_speed) {
    double most = 0;
    for (const SimulatedPoint& point : report.best.points) most = std::max(most, point.tokens_s);
    const Panel speeds = {report, kTop + kPanel, most * 1.05};
    svg += speeds.axes("predicted tokens per second", 1, "");
    draw(speeds, [](const SimulatedPoint& point) { return point.tokens_s; });
  }

  double y = kTop + 10;
  const auto legend = [&](const std::string& name, const std::string& style) {
    svg += format_string(
        "<path class=\"l\" style=\"%s\" d=\"M%g %gh24\"/><text x=\"%g\" y=\"%g\">%s</text>\n", style.c_str(),
        kLeft + kPlotWidth + 20, y, kLeft + kPlotWidth + 50, y + 4, escaped(name).c_str());
    y += 20;
  };
  legend("best possible", best_style);
  for (size_t i = 0; i < drawn.size(); ++i) legend(drawn[i]->name(), style_of(i));
  return svg + "</svg>\n";
}

}  // namespace sluice
