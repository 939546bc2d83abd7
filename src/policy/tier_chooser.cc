#include "policy/tier_chooser.h"

#include <utility>

#include "base/check.h"

namespace latte {
namespace {

constexpr std::pair<std::string_view, DispatchMode> kModes[] = {{"local", DispatchMode::local},
                                                                {"wait", DispatchMode::wait},
                                                                {"svm", DispatchMode::svm},
                                                                {"lots", DispatchMode::lots}};

}  // namespace

std::optional<DispatchMode> dispatch_mode(std::string_view name) {
  for (const auto& [known, mode] : kModes)
    if (name == known && mode != DispatchMode::lots) return mode;
  return std::nullopt;
}

std::string_view name_of(DispatchMode mode) {
  for (const auto& [name, known] : kModes)
    if (mode == known) return name;
  return "?";
}

TierChooser::TierChooser(DispatchOptions options, uint64_t seed) : dispatcher_(seed) {
  LATTE_CHECK(options.mode != DispatchMode::local);
  if (options.mode == DispatchMode::lots) lots_.emplace(seed);
  if (options.mode == DispatchMode::svm) trainer_.emplace(dispatcher_, options.training);
}

}  // namespace latte
