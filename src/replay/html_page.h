// What all reports of `latte replay` share: the HTML page around plots and tables, and how JSON is
// written.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace latte::replay {

/// A whole page: no script, nothing loaded from elsewhere. `body` is HTML.
std::string html_page(const std::string& title, uint64_t seed, const std::string& body);
/// On one line; what is no UTF-8 (a trace may have any name) is replaced.
std::string dump_json(const nlohmann::ordered_json& value);

}  // namespace latte::replay
