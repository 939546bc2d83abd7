#include "study/dispatch_run.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "study/under_way.h"

namespace latte::study {
namespace {

class Runner {
 public:
  Runner(StudyMode mode, const Regime& regime, uint64_t seed, const Decider& decider,
         const SampleSink& sink)
      : mode_(mode),
        regime_(regime),
        arrivals_(regime, seed),
        foreigner_(regime, seed),
        local_(regime.local, seed * 2 + 1),
        cloud_(regime.cloud, seed * 2 + 2),
        dispatcher_(seed),
        decider_(decider),
        sink_(sink) {
    if (decider.model != nullptr) dispatcher_.set_model(*decider.model);
  }

  void run() {
    for (uint32_t i = 0; i < regime_.requests; ++i) {
      model::ModelIo io = arrivals_.next(now_ns_);
      now_ns_ = io.time_ns;
      while (under_way_.ended(now_ns_) || (!under_way_.empty() && full())) complete_first();
      foreigner_.run_until(now_ns_, local_);
      io.time_ns = now_ns_;
      decide(io);
    }
    while (!under_way_.empty()) complete_first();
    result_.end_ns = now_ns_;
  }

  DispatchRun& result() { return result_; }

 private:
  bool full() const {
    const DispatchState& state = dispatcher_.state();
    const auto depth = [&](Tier tier) {
      return state.queue(tier).count[0] + state.queue(tier).count[1];
    };
    if (mode_ == StudyMode::dispatch)
      return depth(Tier::local) + depth(Tier::cloud) >= regime_.depth;
    return std::max(depth(Tier::local), depth(Tier::cloud)) >= regime_.depth;
  }

  void complete_first() {
    const auto [end_ns, ticket] = under_way_.take_first();
    now_ns_ = std::max(now_ns_, end_ns);
    dispatcher_.end(ticket, end_ns);
  }

  void start(const DispatchTicket& ticket, const model::ModelIo& io) {
    const TimeNs end_ns = ticket.tier == Tier::local ? local_.submit(io) : cloud_.submit(io);
    under_way_.add(end_ns, ticket);
  }

  void decide(const model::ModelIo& io) {
    const IoKind kind = io.op == model::ModelOp::read ? IoKind::read : IoKind::write;
    const auto k = static_cast<size_t>(kind);
    const DispatchIo asked{now_ns_, kind, io.length_bytes};
    const Truth truth{local_.peek(io) - now_ns_, cloud_.peek(io) - now_ns_};
    for (size_t rule = 0; rule < kDispatchRules.size(); ++rule) {
      const Tier tier = kDispatchRules[rule].choose(dispatcher_.state(), asked);
      result_.rules[rule][k].add(truth, tier);
      if (mode_ == StudyMode::predict) result_.rule_latencies[rule].add(truth.on(tier));
    }
    SvmInputs inputs;
    if (sink_) make_svm_inputs(dispatcher_.state(), asked, inputs);
    const DispatchTicket ticket = begin(asked, truth);
    const Tier said = dispatcher_.last_model_says_cloud() ? Tier::cloud : Tier::local;
    result_.decided[k].add(truth, mode_ == StudyMode::predict ? said : ticket.tier);
    result_.model[k].add(truth, said);
    result_.explored += ticket.reason == DispatchTicket::Reason::exploration;
    if (sink_) sink_(sample_of(inputs, kind, truth));
    const bool predict = mode_ == StudyMode::predict;
    const bool both = asks_both(ticket);
    const Tier of_both = kind == IoKind::read ? truth.faster() : Tier::local;
    const Tier counted = predict ? said : both ? of_both : ticket.tier;
    result_.latencies[k].add(truth.on(counted));
    result_.all.add(truth.on(counted));
    if (predict) result_.oracle.add(truth.on(truth.faster()));
    start(ticket, io);
    if (predict || both) start(dispatcher_.begin_on(asked, other_tier(ticket.tier)), io);
  }

  DispatchTicket begin(const DispatchIo& asked, const Truth& truth) {
    switch (decider_.kind) {
      case Decider::Kind::dispatcher:
        return dispatcher_.begin(asked);
      case Decider::Kind::rule:
        return dispatcher_.begin_on(asked, decider_.rule.choose(dispatcher_.state(), asked));
      case Decider::Kind::oracle:
        break;
    }
    return dispatcher_.begin_on(asked, truth.faster());
  }

  StudyMode mode_;
  const Regime& regime_;
  Arrivals arrivals_;
  Foreigner foreigner_;
  model::NvmeModel local_;
  model::CloudModel cloud_;
  Dispatcher dispatcher_;
  const Decider& decider_;
  const SampleSink& sink_;
  TimeNs now_ns_ = 0;
  UnderWay<DispatchTicket> under_way_;
  DispatchRun result_;
};

}  // namespace

bool asks_both(const DispatchTicket& ticket) {
  return ticket.only_to_know() && (ticket.tier == Tier::cloud || ticket.io.kind == IoKind::read);
}

SvmSample sample_of(const SvmInputs& inputs, IoKind kind, const Truth& truth) {
  SvmSample sample;
  sample.inputs = inputs;
  sample.kind = kind;
  sample.local_us = static_cast<float>(truth.local_ns) / 1e3f;
  sample.cloud_us = static_cast<float>(truth.cloud_ns) / 1e3f;
  return sample;
}

DispatchRun run_dispatch(StudyMode mode, const Regime& regime, uint64_t seed,
                         const Decider& decider, const SampleSink& sink) {
  Runner runner(mode, regime, seed, decider, sink);
  runner.run();
  return std::move(runner.result());
}

}  // namespace latte::study
