// Rivals: several ways to do the same, tried side by side on a sample; which one does best lately.
// Points fade with every look, and another way must lead by a margin and by more than chance before
// it is followed.
// Thread rule: an object belongs to one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace latte::policy {

/// What another way must be ahead by.
struct Lead {
  double share = 0.01;    ///< of the points of the one that is followed
  double deviations = 3;  ///< and so many standard deviations of a count
};

template <size_t count>
class Rivals {
 public:
  explicit Rivals(size_t first, Lead lead = {}) : lead_(lead), best_(first) {}

  size_t best() const { return best_; }
  /// The way `number` earned so many points since the last look; less than 0: it cost them.
  void add(size_t number, double points) { score_[number] += points; }
  /// Looks at the score. True if another way is the best one from now on.
  bool look() {
    const size_t before = best_;
    const auto most =
        static_cast<size_t>(std::max_element(score_.begin(), score_.end()) - score_.begin());
    const double chance = lead_.deviations * std::sqrt(std::max(score_[most], 0.0));
    if (score_[most] > score_[best_] * (1 + lead_.share) + chance) best_ = most;
    for (double& score : score_) score *= kLeft;
    return best_ != before;
  }

 private:
  /// What remains of a score from one look to the next: half of it is gone after 66.
  static constexpr double kLeft = 1 - 1.0 / 96;

  Lead lead_;
  std::array<double, count> score_{};
  size_t best_;
};

}  // namespace latte::policy
