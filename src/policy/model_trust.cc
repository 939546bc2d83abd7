#include "policy/model_trust.h"

#include <cmath>

namespace latte {
namespace {

/// Of a trusted model one in 16 is checked, of a new one half; ...
constexpr uint64_t kRuleCheckEvery = 16;
constexpr uint64_t kFirstRuleChecksEvery = 2;
/// ... what a condemned one would have said, hardly ever; its successor is tried with one in 16,
/// each that follows with half as many.
constexpr uint64_t kModelCheckEvery = 256;
constexpr uint64_t kFirstModelChecksEvery = 8;
constexpr uint32_t kMostCondemned = 5;
constexpr float kCheckPart = 1.0f / 128;
/// Checks that such a moving average amounts to.
constexpr float kMostChecks = 255;
/// The model must cost more by so much, and by so many standard errors: a few I/Os take most of the
/// time, and chance may give them to either.
constexpr float kDearer = 0.1f;
constexpr float kSureErrors = 3;
/// Cheaper by so many, and it is trusted again; for so long, and those before it are forgotten.
constexpr float kLikelyErrors = 2;
constexpr uint32_t kProvenChecks = 256;
constexpr uint32_t kFewChecks = 8;

}  // namespace

uint64_t ModelTrust::check_every() const {
  if (trusted()) return tried() ? kRuleCheckEvery : kFirstRuleChecksEvery;
  return tried() ? kModelCheckEvery : kFirstModelChecksEvery << condemned_lately_;
}

void ModelTrust::judge(bool by_model, float cost_us) {
  of_[by_model].add(cost_us);
  const float rule_us = of_[0].mean;
  const float dearer_us = of_[1].mean - rule_us;
  const float error_us = std::sqrt(of_[0].error_squared() + of_[1].error_squared());
  const float most_us = std::max(kDearer * rule_us, kSureErrors * error_us);
  if (checks() >= kFewChecks && dearer_us > most_us && standing_ != Standing::condemned) {
    standing_ = Standing::condemned;
    condemned_lately_ = std::min(condemned_lately_ + 1, kMostCondemned);
    proven_ = 0;
  }
  if (checks() >= kLeastChecks && dearer_us < -kLikelyErrors * error_us)
    standing_ = Standing::trusted;
  if (trusted() && !by_model && ++proven_ == kProvenChecks) condemned_lately_ = 0;
}

void ModelTrust::replace_model() {
  if (!tried()) return;
  of_ = {};
  if (!trusted()) standing_ = Standing::on_trial;
}

void ModelTrust::Fared::add(float cost_us) {
  count = std::min(count + 1, UINT32_MAX - 1);
  const float part = std::max(kCheckPart, 1 / static_cast<float>(count));
  mean += (cost_us - mean) * part;
  squares += (cost_us * cost_us - squares) * part;
}

float ModelTrust::Fared::error_squared() const {
  return std::max(0.0f, squares - mean * mean) / std::min(static_cast<float>(count), kMostChecks);
}

}  // namespace latte
