#include "study/prediction_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "study/latency_log.h"

namespace latte::study {
namespace {

/// One row in so many of a run is kept for training.
constexpr uint32_t kRowEvery = 24;
/// Rounds of training for dispatch: first on states the rules lead to, then on the model's own.
constexpr int kDispatchRounds = 3;
constexpr const char* kKindNames[] = {"read", "write"};
constexpr double kTail = 0.999;
constexpr uint64_t kLogCloudSeed = 7;

void train_on(StudyMode mode, const Regime& regime, uint64_t seed, const Decider& decider,
              std::vector<SvmSample>& samples) {
  uint32_t seen = 0;
  run_dispatch(mode, regime, seed, decider, [&](const SvmSample& sample) {
    if (++seen % kRowEvery == 0) samples.push_back(sample);
  });
}

CongestionTolls tolls_of(const std::vector<SvmSample>& samples) {
  TollMeter meter;
  for (const SvmSample& of : samples)
    for (const Tier tier : {Tier::local, Tier::cloud}) {
      const float us = tier == Tier::local ? of.local_us : of.cloud_us;
      meter.add(tier, of.kind, depth_log2(of.inputs, tier), std::log2(us));
    }
  return meter.tolls();
}

std::vector<Regime> planned_regimes(const PredictionPlan& plan) {
  std::vector<Regime> regimes = dispatch_regimes();
  for (Regime& regime : regimes) regime.requests = plan.requests;
  return regimes;
}

/// Figures of one regime, over all test seeds.
struct RegimeResult {
  std::array<DecisionScore, kIoKinds> model;
  std::array<std::array<DecisionScore, kIoKinds>, kDispatchRules.size()> rules;
  LatencySum ours;
  LatencySum oracle;
  std::array<LatencySum, kDispatchRules.size()> rule_latencies;
  uint64_t explored = 0;
};

void add_run(const DispatchRun& run, RegimeResult& result) {
  for (size_t kind = 0; kind < kIoKinds; ++kind) {
    result.model[kind].add(run.model[kind]);
    for (size_t rule = 0; rule < kDispatchRules.size(); ++rule)
      result.rules[rule][kind].add(run.rules[rule][kind]);
  }
  result.ours.add(run.all);
  result.explored += run.explored;
}

RegimeResult judge(StudyMode mode, const Regime& regime, const PredictionPlan& plan,
                   const SvmModel& model) {
  RegimeResult result;
  for (uint32_t i = 0; i < plan.test_seeds; ++i) {
    const uint64_t seed = plan.first_test_seed + i;
    Decider decider;
    decider.kind = Decider::Kind::dispatcher;
    decider.model = &model;
    const DispatchRun run = run_dispatch(mode, regime, seed, decider);
    add_run(run, result);
    if (mode == StudyMode::predict) {
      result.oracle.add(run.oracle);
      for (size_t rule = 0; rule < kDispatchRules.size(); ++rule)
        result.rule_latencies[rule].add(run.rule_latencies[rule]);
      continue;
    }
    decider = {};
    decider.kind = Decider::Kind::oracle;
    result.oracle.add(run_dispatch(mode, regime, seed, decider).all);
    for (size_t rule = 0; rule < kDispatchRules.size(); ++rule) {
      decider.kind = Decider::Kind::rule;
      decider.rule = kDispatchRules[rule];
      result.rule_latencies[rule].add(run_dispatch(mode, regime, seed, decider).all);
    }
  }
  return result;
}

void print_score_header(std::FILE* out) {
  fmt::print(out, "\n{:<17} {:<5} {:>7} {:>6} {:>8} {:>6} {:>6} {:>11} {:>11} {:>6} {:>6} {:>17}\n",
             "prediction", "", "I/Os", "acc.", "majority", "bal.", "MCC", "false local",
             "false cloud", ">25 %", "acc.", "best rule, acc.");
}

/// Prints one row; false if a rule was right more often.
template <typename Rules>
bool print_score(std::FILE* out, std::string_view name, size_t kind, const DecisionScore& score,
                 const Rules& rules) {
  size_t best = 0;
  for (size_t rule = 1; rule < kDispatchRules.size(); ++rule)
    if (rules[rule][kind].accuracy() > rules[best][kind].accuracy()) best = rule;
  const double best_accuracy = rules[best][kind].accuracy();
  fmt::print(out,
             "{:<17} {:<5} {:>7} {:>6.3f} {:>8.3f} {:>6.3f} {:>6.3f} {:>11.4f} {:>11.4f} {:>6.3f} "
             "{:>6.3f}  {:.3f} {}\n",
             name, kKindNames[kind], score.count(), score.accuracy(), score.majority(),
             score.balanced_accuracy(), score.correlation(), score.false_local(),
             score.false_cloud(), score.clear_share(), score.clear_accuracy(), best_accuracy,
             kDispatchRules[best].name);
  return score.accuracy() >= best_accuracy;
}

void print_gain_header(std::FILE* out, const char* title) {
  fmt::print(out, "\n{:<17} {:<6} {:>8} {:>8} {:>8} {:>8} {:>7}  {}\n", title, "", "local", "cloud",
             "ours", "oracle", "gain", "best rule");
}

/// Prints one row; false if a rule's figure is lower.
template <typename Figure>
bool print_gain(std::FILE* out, std::string_view name, const char* what, const LatencySum& ours,
                const LatencySum& oracle, std::span<const LatencySum> rules, Figure figure) {
  size_t best = 0;
  for (size_t rule = 1; rule < rules.size(); ++rule)
    if (figure(rules[rule]) < figure(rules[best])) best = rule;
  const double single = std::min(figure(rules[0]), figure(rules[1]));
  fmt::print(out, "{:<17} {:<6} {:>8.1f} {:>8.1f} {:>8.1f} {:>8.1f} {:>7.3f}  {:.1f} {}\n", name,
             what, figure(rules[0]), figure(rules[1]), figure(ours), figure(oracle),
             gain_captured(single, figure(ours), figure(oracle)), figure(rules[best]),
             kDispatchRules[best].name);
  return figure(ours) <= figure(rules[best]);
}

double mean_of(const LatencySum& sum) { return sum.mean_us(); }
double tail_of(const LatencySum& sum) { return sum.quantile_us(kTail); }

struct NamedLog {
  std::string name;  ///< of the file, short
  std::vector<LoggedIo> ios;
};

/// All of them before anything is computed: a bad one is known at once.
Result<std::vector<NamedLog>> read_logs(const PredictionPlan& plan) {
  std::vector<NamedLog> logs;
  for (const std::string& path : plan.logs) {
    auto log = read_latency_log(path);
    if (!log) return log.error();
    logs.push_back({path.substr(path.rfind('/') + 1).substr(0, 16), log.take()});
  }
  return logs;
}

bool report_log(const NamedLog& log, std::FILE* out) {
  const LogStudy study = study_latency_log(log.ios, model::cloud_essd(), kLogCloudSeed);
  bool held = true;
  print_score_header(out);
  for (size_t kind = 0; kind < kIoKinds; ++kind)
    held &= print_score(out, log.name, kind, study.run.model[kind], study.run.rules);
  print_gain_header(out, "latency, us");
  for (size_t kind = 0; kind < kIoKinds; ++kind) {
    const auto& ours = study.run.latencies[kind];
    held &= print_gain(out, log.name, kKindNames[kind], ours, study.oracle[kind], study.rules[kind],
                       mean_of);
    print_gain(out, log.name, "p99.9", ours, study.oracle[kind], study.rules[kind], tail_of);
  }
  return held;
}

}  // namespace

SvmTraining train_for(StudyMode mode, const PredictionPlan& plan) {
  LATTE_CHECK(plan.first_test_seed > plan.train_seeds);
  // The simple rule's states, the local tier's, the cloud's, and the oracle's.
  const Decider first[] = {{Decider::Kind::rule, kDispatchRules[5], nullptr},
                           {Decider::Kind::rule, kDispatchRules[0], nullptr},
                           {Decider::Kind::rule, kDispatchRules[1], nullptr},
                           {Decider::Kind::oracle, {}, nullptr}};
  const std::vector<Regime> regimes = planned_regimes(plan);
  std::vector<SvmSample> samples;
  SvmTraining training;
  const int rounds = mode == StudyMode::predict ? 1 : kDispatchRounds;
  for (int round = 0; round < rounds; ++round) {
    const SvmModel model = training.model;
    const Decider own{Decider::Kind::dispatcher, {}, &model};
    for (const Regime& regime : regimes)
      for (uint64_t seed = 1; seed <= plan.train_seeds; ++seed)
        train_on(mode, regime, seed, round == 0 ? first[seed % std::size(first)] : own, samples);
    training =
        mode == StudyMode::predict ? train_svm(samples) : train_charged(samples, tolls_of(samples));
  }
  return training;
}

Result<bool> report_prediction(const PredictionPlan& plan, std::FILE* out) {
  const auto logs = read_logs(plan);
  if (!logs) return logs.error();
  bool held = true;
  for (const StudyMode mode : {StudyMode::predict, StudyMode::dispatch}) {
    const bool predict = mode == StudyMode::predict;
    const SvmTraining training = train_for(mode, plan);
    std::vector<RegimeResult> results;
    const std::vector<Regime> regimes = planned_regimes(plan);
    for (const Regime& regime : regimes)
      results.push_back(judge(mode, regime, plan, training.model));
    fmt::print(out, "\n{}\n",
               predict ? "Prediction: every I/O timed on both tiers"
                       : "Dispatch: each I/O goes where it is sent");
    print_score_header(out);
    for (size_t i = 0; i < regimes.size(); ++i)
      for (size_t kind = 0; kind < kIoKinds; ++kind) {
        const bool ok =
            print_score(out, regimes[i].name, kind, results[i].model[kind], results[i].rules);
        held &= ok || !predict;
      }
    print_gain_header(out, "latency, us");
    for (size_t i = 0; i < regimes.size(); ++i) {
      const RegimeResult& of = results[i];
      held &=
          print_gain(out, regimes[i].name, "mean", of.ours, of.oracle, of.rule_latencies, mean_of);
      print_gain(out, regimes[i].name, "p99.9", of.ours, of.oracle, of.rule_latencies, tail_of);
    }
  }
  for (const NamedLog& log : logs.value()) held &= report_log(log, out);
  return held;
}

}  // namespace latte::study
