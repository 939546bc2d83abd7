#include "policy/admission.h"

#include <iterator>
#include <utility>

namespace latte::policy {
namespace {

/// Names kept, as a share of the pool's blocks.
constexpr uint64_t kNamesShare = 2;

constexpr std::pair<std::string_view, AdmissionMode> kModes[] = {
    {"none", AdmissionMode::none}, {"all", AdmissionMode::all}, {"s3fifo", AdmissionMode::s3fifo}};

}  // namespace

std::optional<AdmissionMode> admission_mode(std::string_view name) {
  for (const auto& [known, mode] : kModes)
    if (name == known) return mode;
  return std::nullopt;
}

std::string_view name_of(AdmissionMode mode) {
  for (const auto& [name, known] : kModes)
    if (mode == known) return name;
  return "?";
}

std::string admission_mode_names() {
  std::string text;
  for (size_t i = 0; i < std::size(kModes); ++i) {
    const bool last = i + 1 == std::size(kModes);
    text += i == 0 ? "\"" : last ? " or \"" : ", \"";
    text += kModes[i].first;
    text += '"';
  }
  return text;
}

Admission::Admission(AdmissionOptions options, uint64_t pool_blocks)
    : mode_(options.mode),
      names_(options.mode == AdmissionMode::s3fifo ? pool_blocks / kNamesShare : 0),
      budget_(options.write_budget_bytes) {}

bool Admission::worth(uint64_t disk_key, Lba lba) {
  switch (mode_) {
    case AdmissionMode::none:
      return false;
    case AdmissionMode::all:
      return true;
    case AdmissionMode::s3fifo:
      break;
  }
  const uint64_t key = disk_key + lba.value;
  if (names_.take(key)) return true;
  names_.keep(key);
  return false;
}

}  // namespace latte::policy
