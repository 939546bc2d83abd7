#include "policy/admission.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace latte::policy {
namespace {

/// Blocks missed first that memory holds: one in so many of the pool's, and at least so many.
constexpr uint64_t kStagingShare = 50;
constexpr uint64_t kLeastStaged = 64;

/// Names kept for a pool of so many blocks.
uint64_t names_for(AdmissionMode mode, uint64_t pool_blocks) {
  switch (mode) {
    case AdmissionMode::none:
    case AdmissionMode::all:
      return 0;
    case AdmissionMode::s3fifo:
      return pool_blocks / 2;
    case AdmissionMode::adaptive:
      return pool_blocks / 10 * 9;
  }
  return 0;
}

constexpr std::pair<std::string_view, AdmissionMode> kModes[] = {
    {"none", AdmissionMode::none},
    {"all", AdmissionMode::all},
    {"s3fifo", AdmissionMode::s3fifo},
    {"adaptive", AdmissionMode::adaptive}};

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
      names_(names_for(options.mode, pool_blocks)),
      budget_(options.write_budget_bytes) {
  if (mode_ != AdmissionMode::adaptive) return;
  staging_blocks_ = std::min(std::max(pool_blocks / kStagingShare, kLeastStaged),
                             options.staging_bytes / kBlockBytes);
  tuner_ = std::make_unique<RoundTuner>(pool_blocks);
}

bool Admission::worth(uint64_t disk_key, Lba lba) {
  const uint64_t key = disk_key + lba.value;
  switch (mode_) {
    case AdmissionMode::none:
      return false;
    case AdmissionMode::all:
      return true;
    case AdmissionMode::s3fifo:
    case AdmissionMode::adaptive:
      break;
  }
  if (names_.take(key)) return true;
  if (staging_blocks_ == 0) names_.keep(key);
  return false;
}

void Admission::saw_read(uint64_t disk_key, Lba lba, uint64_t count) {
  if (!tuner_) return;
  for (uint64_t i = 0; i < count; ++i) tuner_->saw_read(disk_key + lba.value + i);
}

void Admission::saw_write(uint64_t disk_key, Lba lba, uint64_t count) {
  if (!tuner_) return;
  for (uint64_t i = 0; i < count; ++i) tuner_->saw_write(disk_key + lba.value + i);
}

}  // namespace latte::policy
