#include "control/core_list.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <string>

namespace latte {
namespace {

/// Takes a core's number off the front of `text`.
bool take_number(std::string_view& text, unsigned& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || out >= kMaxCores) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, char what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

Result<std::vector<unsigned>> parse_core_list(std::string_view text) {
  const Error error{Errc::invalid, fmt::format("\"{}\" is no list of cores", text)};
  std::vector<unsigned> cores;
  while (!text.empty()) {
    unsigned first = 0;
    if (!take_number(text, first)) return error;
    unsigned last = first;
    if (take(text, '-') && !take_number(text, last)) return error;
    if (last < first) return error;
    for (unsigned core = first; core <= last; ++core) cores.push_back(core);
    if (!text.empty() && (!take(text, ',') || text.empty())) return error;
  }
  return cores;
}

Result<std::vector<unsigned>> cores_of_numa_node(unsigned node) {
  const std::string path = fmt::format("/sys/devices/system/node/node{}/cpulist", node);
  std::ifstream file(path);
  std::string text;
  if (!std::getline(file, text) || text.empty())
    return Error{Errc::invalid,
                 fmt::format("NUMA node {} has no cores here ({}); `lscpu` lists the nodes", node,
                             file.is_open() ? path + " is empty" : "there is no " + path)};
  return parse_core_list(text);
}

}  // namespace latte
