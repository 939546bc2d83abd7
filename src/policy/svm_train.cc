#include "policy/svm_train.h"

#include <linear.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace latte {
namespace {

constexpr double kCost = 0.1;
constexpr double kAccuracy = 0.01;  // LIBLINEAR's own for -s 2
/// Ties teach nothing: closer than 5 % is left out of the training (never of a report).
constexpr float kLeastDoublings = 0.07f;
/// An input that hardly moved in the training must not count for much when it does.
constexpr double kLeastSpread = 0.05;
/// A trial on so many rows says whether training is worth it: of what the constant answer gets
/// wrong, this share must be mended.
constexpr size_t kTrialRows = 16'000;
constexpr double kLeastProfit = 0.02;
constexpr size_t kConstant = kSvmInputs - 1;

void print_nothing(const char* text) { (void)text; }

/// Mean and spread of every input, so that LIBLINEAR sees them on one scale.
struct Scale {
  std::array<double, kSvmInputs> mean{};
  std::array<double, kSvmInputs> spread{};
};

Scale scale_of(const std::vector<const SvmSample*>& rows) {
  Scale scale;
  const auto count = static_cast<double>(rows.size());
  for (const SvmSample* row : rows)
    for (size_t i = 0; i < kSvmInputs; ++i) scale.mean[i] += row->inputs[i] / count;
  for (const SvmSample* row : rows)
    for (size_t i = 0; i < kSvmInputs; ++i) {
      const double off = row->inputs[i] - scale.mean[i];
      scale.spread[i] += off * off / count;
    }
  for (double& spread : scale.spread) spread = std::max(kLeastSpread, std::sqrt(spread));
  // The constant stays one.
  scale.mean[kConstant] = 0;
  scale.spread[kConstant] = 1;
  return scale;
}

std::vector<const SvmSample*> rows_of(std::span<const SvmSample> samples, IoKind kind) {
  std::vector<const SvmSample*> rows;
  for (const SvmSample& sample : samples)
    if (sample.kind == kind && sample.doublings >= kLeastDoublings) rows.push_back(&sample);
  return rows;
}

/// Runs LIBLINEAR over `rows`; the weights are for unscaled inputs.
void solve(const std::vector<const SvmSample*>& rows, std::array<float, kSvmInputs>& weights) {
  const Scale scale = scale_of(rows);
  std::vector<feature_node> nodes(rows.size() * (kSvmInputs + 1));
  std::vector<feature_node*> starts;
  std::vector<double> answers;
  size_t at = 0;
  for (const SvmSample* row : rows) {
    starts.push_back(&nodes[at]);
    answers.push_back(row->cloud_faster ? 1 : -1);
    for (size_t i = 0; i < kSvmInputs; ++i)
      nodes[at++] = {static_cast<int>(i + 1), (row->inputs[i] - scale.mean[i]) / scale.spread[i]};
    nodes[at++] = {-1, 0};
  }
  problem all{};
  all.l = static_cast<int>(rows.size());
  all.n = kSvmInputs;
  all.y = answers.data();
  all.x = starts.data();
  all.bias = -1;  // the constant is among the inputs
  parameter how{};
  how.solver_type = L2R_L2LOSS_SVC;
  how.C = kCost;
  how.eps = kAccuracy;
  set_print_string_function(print_nothing);
  LATTE_CHECK(check_parameter(&all, &how) == nullptr);
  model* found = train(&all, &how);
  // LIBLINEAR's first label is the first row's.
  const double sign = found->label[0] == 1 ? 1 : -1;
  double constant = 0;
  for (size_t i = 0; i < kSvmInputs; ++i) {
    const double weight = sign * found->w[i] / scale.spread[i];
    weights[i] = static_cast<float>(weight);
    constant -= weight * scale.mean[i];
  }
  weights[kConstant] += static_cast<float>(constant);
  free_and_destroy_model(&found);
}

double share_right(const std::vector<const SvmSample*>& rows, const SvmWeights& weights) {
  const auto right = std::count_if(rows.begin(), rows.end(), [&](const SvmSample* row) {
    return (svm_score(weights, row->kind, row->inputs) > 0) == row->cloud_faster;
  });
  return static_cast<double>(right) / static_cast<double>(rows.size());
}

/// Is a machine right more often, on rows it has not seen, than saying always the same? If not,
/// what it would learn is noise.
bool worth_training(const std::vector<const SvmSample*>& rows, double majority) {
  std::vector<const SvmSample*> part;
  std::vector<const SvmSample*> held_out;
  const size_t stride = std::max<size_t>(1, rows.size() / kTrialRows);
  for (size_t i = 0; i < rows.size(); i += stride)
    (i / stride % 4 == 3 ? held_out : part).push_back(rows[i]);
  const auto cloud = std::count_if(part.begin(), part.end(),
                                   [](const SvmSample* row) { return row->cloud_faster; });
  if (cloud == 0 || static_cast<size_t>(cloud) == part.size()) return false;
  SvmWeights weights;
  solve(part, weights.weights[static_cast<size_t>(rows[0]->kind)]);
  return share_right(held_out, weights) > majority + kLeastProfit * (1 - majority);
}

}  // namespace

SvmTraining train_svm(std::span<const SvmSample> samples) {
  SvmTraining training;
  for (const IoKind kind : {IoKind::read, IoKind::write}) {
    const auto rows = rows_of(samples, kind);
    auto& weights = training.weights.weights[static_cast<size_t>(kind)];
    training.rows[static_cast<size_t>(kind)] = static_cast<uint32_t>(rows.size());
    const auto cloud = static_cast<size_t>(std::count_if(
        rows.begin(), rows.end(), [](const SvmSample* row) { return row->cloud_faster; }));
    const double share =
        rows.empty() ? 1 : static_cast<double>(cloud) / static_cast<double>(rows.size());
    if (rows.size() >= kLeastSvmRows && worth_training(rows, std::max(share, 1 - share)))
      solve(rows, weights);
    else if (!rows.empty())
      weights[kConstant] = 2 * cloud >= rows.size() ? 1.0f : -1.0f;
  }
  return training;
}

}  // namespace latte
