#include "run_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

namespace latte::simtest {
namespace {

constexpr std::pair<Fence, const char*> kFences[] = {
    {Fence::any, "any"}, {Fence::generation, "generation"}, {Fence::lease, "lease"}};

constexpr std::pair<Use, const char*> kUses[] = {{Use::any, "any"}, {Use::none, "none"}};

constexpr std::pair<const char*, Use RunOptions::*> kUsed[] = {
    {"admission", &RunOptions::admission},   {"dispatch", &RunOptions::dispatch},
    {"rereads", &RunOptions::rereads},       {"snapshots", &RunOptions::snapshots},
    {"read-ahead", &RunOptions::read_ahead}, {"staging", &RunOptions::staging}};

constexpr std::pair<const char*, bool Spared::*> kTroubles[] = {
    {"damage", &Spared::damage},      {"cloud", &Spared::cloud},
    {"power", &Spared::power},        {"takeover", &Spared::takeover},
    {"zombie", &Spared::zombie},      {"stop", &Spared::stop},
    {"handover", &Spared::handover},  {"drain", &Spared::drain},
    {"bootcrash", &Spared::bootcrash}};

constexpr std::string_view kWithout = "without=";

[[noreturn]] void refuse(const std::string& what, const std::vector<const char*>& known) {
  std::fputs(
      fmt::format("latte-sim: {} is not known; known: {}\n", what, fmt::join(known, ", ")).c_str(),
      stderr);
  std::exit(2);
}

/// The value of this name in the table.
template <typename T, size_t n>
T named(const std::string& name, const std::pair<T, const char*> (&table)[n], const char* what) {
  std::vector<const char*> names;
  for (const auto& [value, known] : table) {
    if (name == known) return value;
    names.push_back(known);
  }
  refuse(fmt::format("{} '{}'", what, name), names);
}

template <typename T, size_t n>
const char* name_of(T wanted, const std::pair<T, const char*> (&table)[n]) {
  for (const auto& [value, name] : table)
    if (value == wanted) return name;
  return "?";
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

}  // namespace

Fence fence_named(const std::string& name) { return named(name, kFences, "fence"); }

Use use_named(const std::string& name) { return named(name, kUses, "use"); }

Spared spared_from(const std::vector<std::string>& names) {
  Spared spared;
  for (const std::string& name : names) {
    bool found = false;
    std::vector<const char*> known;
    for (const auto& [word, flag] : kTroubles) {
      known.push_back(word);
      if (name != word) continue;
      spared.*flag = found = true;
    }
    if (!found) refuse(fmt::format("kind of trouble '{}'", name), known);
  }
  return spared;
}

std::string replay_command(const RunOptions& options) {
  std::string command =
      fmt::format("latte-sim --seed {} --fence {}", options.seed, name_of(options.fence, kFences));
  for (const auto& [what, use] : kUsed)
    command += fmt::format(" --{} {}", what, name_of(options.*use, kUses));
  std::vector<const char*> without;
  for (const auto& [word, flag] : kTroubles)
    if (options.spared.*flag) without.push_back(word);
  if (!without.empty()) command += fmt::format(" --without {}", fmt::join(without, ","));
  return command + " --trace";
}

namespace {

void take_word(const std::string& word, RunOptions& run) {
  for (const auto& [what, use] : kUsed) {
    if (word != what) continue;
    run.*use = Use::any;
    return;
  }
  if (word.starts_with(kWithout))
    run.spared = spared_from(split_at_commas(word.substr(kWithout.size())));
  else
    run.fence = fence_named(word);
}

}  // namespace

std::vector<RunOptions> read_seed_file(const std::string& path) {
  std::ifstream file(path);
  std::vector<RunOptions> runs;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    RunOptions run;
    run.fence = Fence::generation;
    for (const auto& [what, use] : kUsed) run.*use = Use::none;
    words >> run.seed;
    for (std::string word; words >> word;) take_word(word, run);
    runs.push_back(run);
  }
  return runs;
}

}  // namespace latte::simtest
