#include "policy/reuse_model.h"

#include <algorithm>

#include "base/check.h"

namespace latte::policy {
namespace {

/// Every half cache size one part in so many of all counts fades.
constexpr float kFadeShare = 16;
constexpr uint64_t kLeastBetweenComputes = 1000;

}  // namespace

ReuseModel::ReuseModel(uint64_t capacity_blocks)
    : fade_every_(std::max<uint64_t>(capacity_blocks / 2, 1)),
      compute_every_(std::max<uint64_t>(capacity_blocks / 8, kLeastBetweenComputes)),
      until_fade_(fade_every_),
      until_compute_(compute_every_) {
  for (Class& counted : classes_) counted.values.fill(kUnknown);
}

double ReuseModel::lower_edge(size_t bucket) {
  if (bucket < 4) return static_cast<double>(bucket);
  const uint64_t octave = bucket / 4 + 1;
  return static_cast<double>((4 + (bucket & 3)) << (octave - 2));
}

void ReuseModel::fade() {
  until_fade_ = fade_every_;
  for (Class& counted : classes_) {
    constexpr float kLeft = 1 - 1 / kFadeShare;
    counted.entries *= kLeft;
    for (float& count : counted.reads) count *= kLeft;
    for (float& count : counted.writes) count *= kLeft;
  }
}

void ReuseModel::compute() {
  until_compute_ = compute_every_;
  for (Class& counted : classes_)
    if (counted.used) compute(counted);
}

void ReuseModel::compute(Class& counted) {
  // How many reached each age: those that came, without those whose age ended before.
  std::array<double, kBuckets + 1> reached{};
  reached[0] = std::max(counted.entries, 1.0f);
  for (size_t b = 0; b < kBuckets; ++b)
    reached[b + 1] = std::max(0.0, reached[b] - counted.reads[b] - counted.writes[b]);
  for (size_t from = 0; from < kBuckets; ++from) {
    if (from > 0 && reached[from] <= 0.5) {  // nobody got so old: less and less likely to come back
      counted.values[from] = counted.values[from - 1] / 2;
      continue;
    }
    double hits = 0, spent = 0, best = 0;
    for (size_t b = from; b + 1 < kBuckets && reached[b] > 0; ++b) {
      hits += counted.reads[b];
      spent += (lower_edge(b + 1) - lower_edge(b)) * (reached[b] + reached[b + 1]) / 2;
      if (spent > 0) best = std::max(best, hits / spent);
    }
    counted.values[from] = static_cast<float>(best);
  }
}

}  // namespace latte::policy
