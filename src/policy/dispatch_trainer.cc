#include "policy/dispatch_trainer.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/reserved_cores.h"
#include "policy/fast_log.h"

namespace latte {
namespace {

constexpr int kLowestPriority = 19;

}  // namespace

DispatchTrainer::DispatchTrainer(Dispatcher& dispatcher, Runs runs)
    : dispatcher_(dispatcher), runs_(runs), ring_(std::make_unique<DispatchOutcome[]>(kRing)) {
  if (runs == Runs::on_a_thread)
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

DispatchTrainer::~DispatchTrainer() {
  if (runs_ == Runs::in_end) return;
  thread_.request_stop();
  wake();
}

DispatchTicket DispatchTrainer::begin(const DispatchIo& io) {
  using Reason = DispatchTicket::Reason;
  DispatchTicket ticket = dispatcher_.begin(io);
  const bool rare = ticket.reason == Reason::exploration || ticket.reason == Reason::rule_check ||
                    ticket.reason == Reason::model_check;
  if (rare || ++since_sample_ >= kSampleEvery) {
    since_sample_ = 0;
    remember(ticket, dispatcher_.last_inputs());
  }
  return ticket;
}

DispatchTicket DispatchTrainer::begin_obvious(const DispatchIo& io) {
  if (io.now_ns < next_obvious_ns_) return dispatcher_.begin_obvious(io);
  next_obvious_ns_ = io.now_ns + kObviousNs;
  SvmInputs inputs;
  make_svm_inputs(dispatcher_.state(), io, inputs);
  DispatchTicket ticket = dispatcher_.begin_obvious(io);
  remember(ticket, inputs);
  return ticket;
}

/// Takes the next place; what an I/O that is still under way left there is forgotten.
void DispatchTrainer::remember(DispatchTicket& ticket, const SvmInputs& inputs) {
  if (++last_sample_ == 0) ++last_sample_;
  ticket.sample = last_sample_;
  pending_[last_sample_ % kPending] = {inputs, last_sample_};
}

void DispatchTrainer::end(const DispatchTicket& ticket, TimeNs now_ns, bool ok) {
  dispatcher_.end(ticket, now_ns, ok);
  if (!ok || (ticket.only_counts && ticket.sample == 0)) return;
  const float latency_us = static_cast<float>(now_ns - ticket.io.now_ns) / 1e3f;
  const float latency_log2 = fast_log2(std::max(latency_us, 0.125f));
  DriftTest& drift = drift_[static_cast<size_t>(ticket.tier)][static_cast<size_t>(ticket.io.kind)];
  drifted_ |= drift.add(latency_log2);
  if (ticket.sample != 0 && pending_[ticket.sample % kPending].number == ticket.sample)
    hand_over(ticket, now_ns, latency_log2);
}

void DispatchTrainer::hand_over(const DispatchTicket& ticket, TimeNs now_ns, float latency_log2) {
  const uint64_t written = written_.load(std::memory_order_relaxed);
  if (written - taken_.load(std::memory_order_acquire) == kRing) return;
  ring_[written % kRing] = {pending_[ticket.sample % kPending].inputs, latency_log2, ticket.io.kind,
                            ticket.tier};
  written_.store(written + 1, std::memory_order_release);
  ++new_outcomes_;
  const bool useless = !dispatcher_.trained() || dispatcher_.found_useless(ticket.io.kind);
  const bool enough = new_outcomes_ >= kLeastNew && now_ns >= next_training_ns_;
  const bool old = now_ns >= next_training_ns_ + kModelLastsNs;
  if (enough && (drifted_ || useless || old)) {
    next_training_ns_ = now_ns + between_ns_;
    between_ns_ = std::min(2 * between_ns_, kBetweenNs);
    new_outcomes_ = 0;
    drifted_ = false;
    training_wanted_.store(true, std::memory_order_relaxed);
    wake();
  } else if (written % (kRing / 2) == 0) {
    wake();  // to take them before the ring is full
  }
}

void DispatchTrainer::wake() {
  if (runs_ == Runs::in_end) {
    work();
    return;
  }
  wakes_.fetch_add(1, std::memory_order_release);
  wakes_.notify_one();
}

void DispatchTrainer::run(const std::stop_token& stop) {
  // Best effort: without it training competes with others for the processor, no more.
  (void)setpriority(PRIO_PROCESS, 0, kLowestPriority);
  keep_off_reserved_cores();
  uint32_t seen = 0;
  for (;;) {
    wakes_.wait(seen, std::memory_order_acquire);
    if (stop.stop_requested()) return;
    seen = wakes_.load(std::memory_order_acquire);
    work();
  }
}

void DispatchTrainer::work() {
  take_outcomes();
  if (training_wanted_.exchange(false, std::memory_order_relaxed)) train_once();
}

void DispatchTrainer::take_outcomes() {
  const uint64_t written = written_.load(std::memory_order_acquire);
  for (uint64_t i = taken_.load(std::memory_order_relaxed); i < written; ++i) {
    const DispatchOutcome& outcome = ring_[i % kRing];
    toll_meter_.add(outcome.tier, outcome.kind, depth_log2(outcome.inputs, outcome.tier),
                    outcome.latency_log2);
    Kept& kept = kept_[static_cast<size_t>(outcome.tier)][static_cast<size_t>(outcome.kind)];
    if (kept.outcomes.size() < kKept)
      kept.outcomes.push_back(outcome);
    else
      kept.outcomes[kept.next++ % kKept] = outcome;
  }
  taken_.store(written, std::memory_order_release);
}

void DispatchTrainer::train_once() {
  std::vector<DispatchOutcome> all;
  for (const auto& kinds : kept_)
    for (const Kept& kept : kinds)
      all.insert(all.end(), kept.outcomes.begin(), kept.outcomes.end());
  const SvmTraining training = train_charged(label_outcomes(all), toll_meter_.tolls());
  if (training.rows[0] + training.rows[1] < kLeastSvmRows) return;
  toll_meter_.fade();
  dispatcher_.set_model(training.model);
  trainings_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace latte
