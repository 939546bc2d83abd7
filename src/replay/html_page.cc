#include "replay/html_page.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/html_escape.h"

namespace latte::replay {
namespace {

constexpr const char* kStyle =
    "body{font:15px/1.45 system-ui,sans-serif;max-width:1340px;margin:2em auto;padding:0 1em;"
    "color:#222}svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#333}"
    "svg .t{font-weight:600;font-size:14px}svg .g{stroke:#ddd}"
    ".p{display:flex;flex-wrap:wrap;gap:1em}table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}"
    ".l{text-align:left}pre{overflow-x:auto}";

}  // namespace

std::string html_page(const std::string& title, uint64_t seed, const std::string& body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>"
      "<meta name=\"viewport\" content=\"width=device-width\"><style>{1}</style></head><body>\n"
      "<h1>{0}</h1>\n<p>latte {2}, seed {3}</p>\n{4}</body></html>\n",
      escape_html(title), kStyle, LATTE_VERSION, seed, body);
}

std::string dump_json(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace latte::replay
