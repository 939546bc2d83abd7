// SvgPlot: line and bar plots as SVG text that stands in an HTML page as it is: no script, nothing
// loaded from elsewhere.
//
// Thread rule: pure functions.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace latte::replay {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< (x, y), x rising; finite
  bool dashed = false;                            ///< a bound rather than a result
};

struct LinePlot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<PlotSeries> series;  ///< at most kPlotColours have colours of their own
  bool log_x = false;              ///< x by powers of ten; what is not above 0 is left out
};

/// Bars beside each other in groups, each cut into parts one above another.
struct BarPlot {
  struct Bar {
    std::string label;
    std::vector<double> parts;  ///< as many as part_names; not negative
  };
  struct Group {
    std::string label;
    std::vector<Bar> bars;
  };
  std::string title;
  std::string y_label;
  std::vector<std::string> part_names;
  std::vector<Group> groups;
};

inline constexpr size_t kPlotColours = 8;

std::string to_svg(const LinePlot& plot);
std::string to_svg(const BarPlot& plot);

}  // namespace latte::replay
