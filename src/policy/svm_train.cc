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
constexpr float kLeastRatio = 1.05f;
/// An input that hardly moved in the training must not count for much when it does.
constexpr double kLeastSpread = 0.05;
/// A trial on so many rows says whether training is worth it: of what the constant answer costs,
/// this share must be saved.
constexpr size_t kTrialRows = 16'000;
constexpr double kLeastProfit = 0.02;
constexpr size_t kConstant = kSvmInputs - 1;

void print_nothing(const char* text) { (void)text; }

struct Row {
  const SvmSample* sample = nullptr;
  uint32_t weight = 1;
};

/// Mean and spread of every input, so that LIBLINEAR sees them on one scale.
struct Scale {
  std::array<double, kSvmInputs> mean{};
  std::array<double, kSvmInputs> spread{};
};

Scale scale_of(const std::vector<Row>& rows) {
  Scale scale;
  const auto count = static_cast<double>(rows.size());
  for (const Row& row : rows)
    for (size_t i = 0; i < kSvmInputs; ++i) scale.mean[i] += row.sample->inputs[i] / count;
  for (const Row& row : rows)
    for (size_t i = 0; i < kSvmInputs; ++i) {
      const double off = row.sample->inputs[i] - scale.mean[i];
      scale.spread[i] += off * off / count;
    }
  for (double& spread : scale.spread) spread = std::max(kLeastSpread, std::sqrt(spread));
  // The constant stays one.
  scale.mean[kConstant] = 0;
  scale.spread[kConstant] = 1;
  return scale;
}

/// Those of one kind that teach something, weighed.
std::vector<Row> rows_of(std::span<const SvmSample> samples, IoKind kind) {
  std::vector<Row> rows;
  std::vector<float> apart_us;
  for (const SvmSample& sample : samples) {
    const auto [faster_us, slower_us] = std::minmax(sample.local_us, sample.cloud_us);
    if (sample.kind != kind || !(slower_us > kLeastRatio * faster_us)) continue;
    rows.push_back({&sample});
    apart_us.push_back(sample.apart_us());
  }
  if (rows.empty()) return rows;
  const auto middle = apart_us.begin() + static_cast<std::ptrdiff_t>(apart_us.size() / 2);
  std::nth_element(apart_us.begin(), middle, apart_us.end());
  for (Row& row : rows) {
    const float weight = std::round(row.sample->apart_us() / std::max(*middle, 1e-3f));
    row.weight = static_cast<uint32_t>(std::clamp(weight, 1.0f, float{kMostWeight}));
  }
  return rows;
}

/// Runs LIBLINEAR over `rows`, each as often as it weighs; the weights are for unscaled inputs.
void solve(const std::vector<Row>& rows, std::array<float, kSvmInputs>& weights) {
  const Scale scale = scale_of(rows);
  std::vector<feature_node> nodes(rows.size() * (kSvmInputs + 1));
  std::vector<feature_node*> starts;
  std::vector<double> answers;
  size_t at = 0;
  for (const Row& row : rows) {
    starts.insert(starts.end(), row.weight, &nodes[at]);
    answers.insert(answers.end(), row.weight, row.sample->cloud_faster() ? 1 : -1);
    for (size_t i = 0; i < kSvmInputs; ++i)
      nodes[at++] = {static_cast<int>(i + 1),
                     (row.sample->inputs[i] - scale.mean[i]) / scale.spread[i]};
    nodes[at++] = {-1, 0};
  }
  problem all{};
  all.l = static_cast<int>(starts.size());
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

/// What the rows weigh that `cloud` is the right answer for: what the other one, always, costs.
double weight_of(const std::vector<Row>& rows, bool cloud) {
  double weight = 0;
  for (const Row& row : rows)
    if (row.sample->cloud_faster() == cloud) weight += row.weight;
  return weight;
}

/// What the machine's wrong answers cost.
double cost_of(const SvmModel& model, const std::vector<Row>& rows) {
  double cost = 0;
  for (const Row& row : rows) {
    const bool says_cloud = svm_score(model, row.sample->kind, row.sample->inputs) > 0;
    if (says_cloud != row.sample->cloud_faster()) cost += row.weight;
  }
  return cost;
}

/// Does a machine cost less, on rows it has not seen, than saying always the same? If not, what it
/// would learn is noise.
bool worth_training(const std::vector<Row>& rows) {
  std::vector<Row> part;
  std::vector<Row> held_out;
  const size_t stride = std::max<size_t>(1, rows.size() / kTrialRows);
  for (size_t i = 0; i < rows.size(); i += stride)
    (i / stride % 4 == 3 ? held_out : part).push_back(rows[i]);
  if (weight_of(part, true) == 0 || weight_of(part, false) == 0) return false;
  SvmModel model;
  solve(part, model.weights[static_cast<size_t>(rows[0].sample->kind)]);
  const double constant = std::min(weight_of(held_out, true), weight_of(held_out, false));
  return cost_of(model, held_out) < (1 - kLeastProfit) * constant;
}

}  // namespace

SvmTraining train_svm(std::span<const SvmSample> samples) {
  SvmTraining training;
  for (const IoKind kind : {IoKind::read, IoKind::write}) {
    const auto rows = rows_of(samples, kind);
    auto& weights = training.model.weights[static_cast<size_t>(kind)];
    training.rows[static_cast<size_t>(kind)] = static_cast<uint32_t>(rows.size());
    if (rows.size() >= kLeastSvmRows && worth_training(rows))
      solve(rows, weights);
    else if (!rows.empty())
      weights[kConstant] = weight_of(rows, true) > weight_of(rows, false) ? 1.0f : -1.0f;
  }
  return training;
}

SvmTraining train_charged(std::vector<SvmSample> samples, const CongestionTolls& tolls) {
  const auto toll_us = [&](const SvmSample& sample, Tier tier) {
    return tolls.us(tier, sample.kind, depth_log2(sample.inputs, tier));
  };
  for (SvmSample& sample : samples) {
    sample.local_us += toll_us(sample, Tier::local);
    sample.cloud_us += toll_us(sample, Tier::cloud);
  }
  SvmTraining training = train_svm(samples);
  training.model.tolls = tolls;
  return training;
}

}  // namespace latte
