#include "replay/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/html_escape.h"

namespace latte::replay {
namespace {

// Okabe and Ito's colours, which people with any colour vision tell apart, and grey.
constexpr const char* kColours[kPlotColours] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                "#e69f00", "#56b4e9", "#444444", "#999999"};

// The picture in SVG units: the plot's own area, with room for labels around it.
constexpr double kWidth = 640;
constexpr double kLeft = 62;
constexpr double kRight = 16;
constexpr double kTop = 34;
constexpr double kHeight = 240;  // of the area
constexpr double kBelow = 74;    // between the area and the legend
constexpr double kLegendLine = 18;
constexpr double kLegendColumn = 142;
constexpr double kPlotWidth = kWidth - kLeft - kRight;
constexpr int kTicks = 5;

/// A round step that cuts `span` into about kTicks parts.
double tick_step(double span) {
  if (span <= 0) return 1;
  const double raw = span / kTicks;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

/// A number in the fewest characters that tell ticks apart.
std::string tick_text(double value) {
  const double size = std::abs(value);
  if (size >= 1e6) return fmt::format("{:g}M", value / 1e6);
  if (size >= 1e3) return fmt::format("{:g}k", value / 1e3);
  return fmt::format("{:.4g}", size < 1e-12 ? 0 : value);
}

struct Axis {
  double low = 0;
  double high = 1;
  double share(double value) const { return (value - low) / (high - low); }
};

double y_at(const Axis& axis, double value) { return kTop + kHeight * (1 - axis.share(value)); }

std::string open_svg(const std::string& title, size_t legend_items) {
  const auto columns = static_cast<size_t>(kPlotWidth / kLegendColumn);
  const auto lines = static_cast<double>((legend_items + columns - 1) / columns);
  const double height = kTop + kHeight + kBelow + lines * kLegendLine;
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" width=\"{}\" role=\"img\" aria-label=\"{}\">\n"
      "<text x=\"{}\" y=\"18\" class=\"t\">{}</text>\n",
      kWidth, height, kWidth, escape_html(title), kLeft, escape_html(title));
}

/// Lines and numbers of the y axis, and what it shows.
std::string y_axis(const Axis& axis, const std::string& label) {
  std::string svg;
  const double step = tick_step(axis.high - axis.low);
  for (double value = axis.low; value <= axis.high + step * 1e-6; value += step) {
    const double y = y_at(axis, value);
    svg += fmt::format(
        "<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" class=\"g\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
        kLeft, kWidth - kRight, y, y, kLeft - 6, y + 4, tick_text(value));
  }
  return svg + fmt::format(
                   "<text transform=\"translate(14 {}) rotate(-90)\" "
                   "text-anchor=\"middle\">{}</text>\n",
                   kTop + kHeight / 2, escape_html(label));
}

std::string x_text(double x, double y, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x, y,
                     escape_html(text));
}

/// Under a bar, which may be narrower than its name.
std::string slanted(double x, double y, const std::string& text) {
  return fmt::format(
      "<text transform=\"translate({:.1f} {:.1f}) rotate(-35)\" text-anchor=\"end\">{}</text>\n", x,
      y, escape_html(text));
}

std::string legend(const std::vector<std::string>& names) {
  std::string svg;
  const auto columns = static_cast<size_t>(kPlotWidth / kLegendColumn);
  for (size_t i = 0; i < names.size(); ++i) {
    const double x = kLeft + static_cast<double>(i % columns) * kLegendColumn;
    const double y = kTop + kHeight + kBelow + 6 + static_cast<double>(i / columns) * kLegendLine;
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"8\" fill=\"{}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        x, y - 8, kColours[i % kPlotColours], x + 17, y, escape_html(names[i]));
  }
  return svg;
}

/// An axis from 0 to a round number at or above `highest`.
Axis axis_up_to(double highest) {
  if (highest <= 0) return {0, 1};
  const double step = tick_step(highest);
  return {0, std::ceil(highest / step - 1e-9) * step};
}

/// Numbers under the x axis; `x_at` says where a value lies.
template <typename Place>
std::string x_ticks(const Axis& axis, bool logarithmic, const Place& x_at) {
  std::string svg;
  const double step = logarithmic ? 1 : tick_step(axis.high - axis.low);
  for (double at = axis.low; at <= axis.high + step * 1e-6; at += step) {
    const double value = logarithmic ? std::pow(10, at) : at;
    svg += x_text(x_at(value), kTop + kHeight + 16, tick_text(value));
  }
  return svg;
}

/// Whole powers of ten around the values.
Axis log_axis(const std::vector<PlotSeries>& all) {
  double low = 1e300, high = 0;
  for (const PlotSeries& series : all)
    for (const auto& point : series.points)
      if (point.first > 0) low = std::min(low, point.first), high = std::max(high, point.first);
  if (high <= 0) return {0, 1};
  const double first = std::floor(std::log10(low));
  return {first, std::max(first + 1, std::ceil(std::log10(high)))};
}

}  // namespace

std::string to_svg(const LinePlot& plot) {
  double most_x = 0, most_y = 0;
  std::vector<std::string> names;
  for (const PlotSeries& series : plot.series) {
    names.push_back(series.name);
    for (const auto& [x, y] : series.points)
      most_x = std::max(most_x, x), most_y = std::max(most_y, y);
  }
  const Axis x_axis = plot.log_x ? log_axis(plot.series) : axis_up_to(most_x);
  const Axis value_axis = axis_up_to(most_y);
  const auto x_at = [&](double x) {
    return kLeft + kPlotWidth * x_axis.share(plot.log_x ? std::log10(x) : x);
  };
  std::string svg = open_svg(plot.title, names.size()) + y_axis(value_axis, plot.y_label);
  svg += x_ticks(x_axis, plot.log_x, x_at);
  svg += x_text(kLeft + kPlotWidth / 2, kTop + kHeight + 34, plot.x_label);
  for (size_t i = 0; i < plot.series.size(); ++i) {
    const char* colour = kColours[i % kPlotColours];
    std::string line, dots;
    for (const auto& [x, y] : plot.series[i].points) {
      if (plot.log_x && x <= 0) continue;
      line += fmt::format("{:.1f},{:.1f} ", x_at(x), y_at(value_axis, y));
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>", x_at(x),
                          y_at(value_axis, y), colour);
    }
    svg += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"{}/>{}\n", line,
        colour, plot.series[i].dashed ? " stroke-dasharray=\"5 4\"" : "", dots);
  }
  return svg + legend(names) + "</svg>\n";
}

std::string to_svg(const BarPlot& plot) {
  double most = 0;
  size_t slots = 0;
  for (const BarPlot::Group& group : plot.groups) {
    slots += group.bars.size() + 1;  // and a gap
    for (const BarPlot::Bar& bar : group.bars) {
      double sum = 0;
      for (const double part : bar.parts) sum += part;
      most = std::max(most, sum);
    }
  }
  const Axis axis = axis_up_to(most);
  std::string svg = open_svg(plot.title, plot.part_names.size()) + y_axis(axis, plot.y_label);
  const double slot = kPlotWidth / static_cast<double>(std::max<size_t>(slots, 1));
  double x = kLeft + slot / 2;
  for (const BarPlot::Group& group : plot.groups) {
    const double width = slot * static_cast<double>(group.bars.size());
    svg += x_text(x + width / 2, kTop + kHeight + 60, group.label);
    for (const BarPlot::Bar& bar : group.bars) {
      double sum = 0;
      for (size_t i = 0; i < bar.parts.size(); ++i) {
        const double top = y_at(axis, sum + bar.parts[i]);
        svg += fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>",
            x + slot * 0.1, top, slot * 0.8, y_at(axis, sum) - top, kColours[i % kPlotColours]);
        sum += bar.parts[i];
      }
      svg += slanted(x + slot / 2, kTop + kHeight + 14, bar.label);
      x += slot;
    }
    x += slot;
  }
  return svg + legend(plot.part_names) + "</svg>\n";
}

}  // namespace latte::replay
