// The dispatcher: what it may know, its rules, its guards, and that it learns.
#include "policy/dispatcher.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/reserved_cores.h"
#include "policy/dispatch_trainer.h"
#include "policy/drift_test.h"
#include "policy/fast_log.h"
#include "policy/outcome_labels.h"
#include "policy/svm_train.h"

namespace latte {
namespace {

struct Flight {
  TimeNs end_ns;
  Tier tier;
  uint32_t slot;
  DispatchIo io;
};

struct Request {
  DispatchIo io;
  Tier tier;
  TimeNs latency_ns;
};

std::vector<Request> requests(uint64_t seed, size_t count) {
  Random random(seed);
  std::vector<Request> all;
  TimeNs now_ns = 1000;
  for (size_t i = 0; i < count; ++i) {
    now_ns += static_cast<TimeNs>(random.below(20'000));
    Request request;
    request.io = {now_ns, random.chance(1, 2) ? IoKind::read : IoKind::write,
                  4096u << random.below(5)};
    request.tier = random.chance(1, 3) ? Tier::cloud : Tier::local;
    request.latency_ns = 1 + static_cast<TimeNs>(random.below(400'000));
    all.push_back(request);
  }
  return all;
}

/// What the model sees when the last of `all` comes.
SvmInputs inputs_at_last(const std::vector<Request>& all) {
  DispatchState state;
  std::vector<Flight> flying;
  for (const Request& request : all) {
    // In order of completion, those of one instant in order of submission.
    std::stable_sort(flying.begin(), flying.end(),
                     [](const Flight& a, const Flight& b) { return a.end_ns < b.end_ns; });
    while (!flying.empty() && flying.front().end_ns <= request.io.now_ns) {
      const Flight& done = flying.front();
      state.note_completion(done.tier, done.slot, done.io, done.end_ns);
      flying.erase(flying.begin());
    }
    if (&request == &all.back()) break;
    flying.push_back({request.io.now_ns + request.latency_ns, request.tier,
                      state.note_submission(request.tier, request.io), request.io});
  }
  SvmInputs inputs;
  make_svm_inputs(state, all.back().io, inputs);
  return inputs;
}

TEST(DispatchState, LatenciesOfWhatIsUnderWayChangeNothing) {
  size_t perturbed = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::vector<Request> all = requests(seed, 300);
    const SvmInputs before = inputs_at_last(all);
    Random random(seed);
    const TimeNs now_ns = all.back().io.now_ns;
    for (Request& request : all) {
      if (request.io.now_ns + request.latency_ns <= now_ns) continue;
      const TimeNs least_ns = now_ns - request.io.now_ns + 1;
      request.latency_ns = least_ns + static_cast<TimeNs>(random.below(1'000'000'000));
      ++perturbed;
    }
    ASSERT_EQ(inputs_at_last(all), before) << "seed " << seed;
  }
  EXPECT_GT(perturbed, 500u);
}

TEST(DispatchState, LatenciesOfWhatIsDoneDoChangeSomething) {
  std::vector<Request> all = requests(3, 300);
  const SvmInputs before = inputs_at_last(all);
  for (Request& request : all)
    if (request.io.now_ns + request.latency_ns <= all.back().io.now_ns) request.latency_ns /= 2;
  EXPECT_NE(inputs_at_last(all), before);
}

TEST(DispatchState, CountsWhatIsUnderWay) {
  DispatchState state;
  const DispatchIo first{1000, IoKind::read, 4096};
  const DispatchIo second{2000, IoKind::read, 8192};
  const DispatchIo third{3000, IoKind::write, 512};
  const uint32_t a = state.note_submission(Tier::cloud, first);
  const uint32_t b = state.note_submission(Tier::cloud, second);
  const uint32_t c = state.note_submission(Tier::cloud, third);
  const TierQueue& queue = state.queue(Tier::cloud);
  EXPECT_EQ(queue.count[0], 2u);
  EXPECT_EQ(queue.count[1], 1u);
  EXPECT_EQ(queue.bytes, 4096u + 8192 + 512);
  EXPECT_EQ(queue.oldest_ns[0], 1000);
  EXPECT_EQ(queue.oldest_ns[1], 3000);
  // The younger first: the oldest stays.
  state.note_completion(Tier::cloud, b, second, 5000);
  EXPECT_EQ(queue.oldest_ns[0], 1000);
  state.note_completion(Tier::cloud, a, first, 6000);
  EXPECT_EQ(queue.oldest_ns[0], 0);
  state.note_completion(Tier::cloud, c, third, 7000);
  EXPECT_EQ(queue.bytes, 0u);
  EXPECT_EQ(state.queue(Tier::local).count[0], 0u);
}

TEST(DispatchState, BeyondItsLimitIosAreCountedOnly) {
  DispatchState state;
  const DispatchIo io{1000, IoKind::write, 4096};
  std::vector<uint32_t> slots;
  for (uint32_t i = 0; i < DispatchState::kMaxTracked + 10; ++i)
    slots.push_back(state.note_submission(Tier::local, io));
  EXPECT_EQ(slots.back(), DispatchState::kUntracked);
  EXPECT_EQ(state.queue(Tier::local).count[1], DispatchState::kMaxTracked + 10);
  for (const uint32_t slot : slots) state.note_completion(Tier::local, slot, io, 2000);
  EXPECT_EQ(state.queue(Tier::local).count[1], 0u);
  EXPECT_NE(state.note_submission(Tier::local, io), DispatchState::kUntracked);
}

TEST(FastLog, IsCloseEnough) {
  for (float value = 1e-6f; value < 1e12f; value *= 1.01f)
    ASSERT_NEAR(fast_log2(value), std::log2(value), 0.01f) << value;
}

SvmSample sample(float local_log2, float cloud_log2, IoKind kind, Random& random) {
  SvmSample one;
  one.inputs = {};
  one.inputs[0] = local_log2;
  one.inputs[15] = cloud_log2;
  for (size_t i = 30; i < 40; ++i) one.inputs[i] = static_cast<float>(random.uniform());
  one.inputs[kSvmInputs - 1] = 1;
  one.kind = kind;
  one.local_us = std::exp2(local_log2);
  one.cloud_us = std::exp2(cloud_log2);
  return one;
}

TEST(SvmTrain, FindsALinearBoundary) {
  Random random(1);
  std::vector<SvmSample> samples;
  for (int i = 0; i < 4000; ++i)
    samples.push_back(sample(static_cast<float>(5 + 5 * random.uniform()),
                             static_cast<float>(5 + 5 * random.uniform()), IoKind::write, random));
  const SvmTraining training = train_svm({samples.data(), 3000});
  int right = 0;
  for (size_t i = 3000; i < samples.size(); ++i) {
    const float score = svm_score(training.model, IoKind::write, samples[i].inputs);
    right += (score > 0) == samples[i].cloud_faster();
  }
  EXPECT_GT(right, 970);
  EXPECT_EQ(training.rows[0], 0u);
  EXPECT_GT(training.rows[1], 2900u);
}

TEST(SvmTrain, OneAnswerOnlyAndNoSamples) {
  Random random(1);
  std::vector<SvmSample> samples;
  for (int i = 0; i < 1000; ++i) samples.push_back(sample(9, 5, IoKind::read, random));
  const SvmTraining training = train_svm(samples);
  EXPECT_GT(svm_score(training.model, IoKind::read, samples[0].inputs), 0);
  EXPECT_EQ(svm_score(training.model, IoKind::write, samples[0].inputs), 0);
  EXPECT_EQ(train_svm({}).rows[0], 0u);
}

TEST(OutcomeLabels, SayWhichTierWouldHaveBeenFaster) {
  // The local tier takes 2^inputs[0], the cloud 2^7; which of them ran is drawn.
  Random random(2);
  std::vector<DispatchOutcome> outcomes;
  for (int i = 0; i < 4000; ++i) {
    DispatchOutcome outcome;
    outcome.inputs = {};
    outcome.inputs[0] = static_cast<float>(4 + 6 * random.uniform());
    outcome.inputs[kSvmInputs - 1] = 1;
    outcome.tier = random.chance(1, 8) ? Tier::cloud : Tier::local;
    outcome.latency_log2 = outcome.tier == Tier::local ? outcome.inputs[0] : 7;
    outcomes.push_back(outcome);
  }
  const std::vector<SvmSample> samples = label_outcomes(outcomes);
  ASSERT_EQ(samples.size(), outcomes.size());
  size_t right = 0;
  for (const SvmSample& one : samples) right += one.cloud_faster() == (one.inputs[0] > 7);
  EXPECT_GT(right, samples.size() * 97 / 100);
  // Of a tier that was never used nothing is known.
  std::erase_if(outcomes, [](const DispatchOutcome& one) { return one.tier == Tier::cloud; });
  EXPECT_TRUE(label_outcomes(outcomes).empty());
}

/// Two tiers as simple servers: each takes what it takes, and a queue of its own.
struct ToyTiers {
  TimeNs service_ns[2] = {10'000, 60'000};
  TimeNs trip_ns[2] = {10'000, 300'000};
  TimeNs free_ns[2] = {0, 0};
  TimeNs gap_ns = 20'000;  // between two writes
  TimeNs submit(Tier tier, TimeNs now_ns) {
    const size_t i = DispatchState::index(tier);
    free_ns[i] = std::max(free_ns[i], now_ns) + service_ns[i];
    return free_ns[i] + trip_ns[i];
  }
};

/// Runs `count` writes, `gap_ns` apart; returns their mean latency in us. `choose` gives a ticket.
template <typename Begin, typename End>
double drive(ToyTiers& tiers, int count, TimeNs start_ns, Begin begin, End end) {
  std::vector<std::pair<TimeNs, DispatchTicket>> flying;
  double sum_us = 0;
  TimeNs now_ns = start_ns;
  const auto later = [](const auto& a, const auto& b) { return a.first > b.first; };
  for (int i = 0; i < count; ++i, now_ns += tiers.gap_ns) {
    while (!flying.empty() && flying.front().first <= now_ns) {
      std::pop_heap(flying.begin(), flying.end(), later);
      end(flying.back().second, flying.back().first);
      flying.pop_back();
    }
    const DispatchTicket ticket = begin(DispatchIo{now_ns, IoKind::write, 4096});
    const TimeNs end_ns = tiers.submit(ticket.tier, now_ns);
    sum_us += static_cast<double>(end_ns - now_ns) / 1e3;
    flying.emplace_back(end_ns, ticket);
    std::push_heap(flying.begin(), flying.end(), later);
  }
  for (const auto& [end_ns, ticket] : flying) end(ticket, std::max(end_ns, now_ns));
  return sum_us / count;
}

double drive(ToyTiers& tiers, Dispatcher& dispatcher, int count, TimeNs start_ns = kSecond) {
  return drive(
      tiers, count, start_ns, [&](const DispatchIo& io) { return dispatcher.begin(io); },
      [&](const DispatchTicket& ticket, TimeNs now_ns) { dispatcher.end(ticket, now_ns); });
}

double drive_by_rule(ToyTiers& tiers, int count) {
  Dispatcher dispatcher(1);
  return drive(
      tiers, count, kSecond,
      [&](const DispatchIo& io) {
        return dispatcher.begin_on(io, choose_shortest_wait(dispatcher.state(), io));
      },
      [&](const DispatchTicket& ticket, TimeNs now_ns) { dispatcher.end(ticket, now_ns); });
}

SvmModel always(float score) {
  SvmModel model;
  for (auto& kind : model.weights) kind[kSvmInputs - 1] = score;
  return model;
}

TEST(Dispatcher, UntrainedItIsTheSimpleRule) {
  ToyTiers tiers, same;
  Dispatcher dispatcher(1);
  const double rule_us = drive_by_rule(same, 20'000);
  EXPECT_LT(drive(tiers, dispatcher, 20'000), 1.1 * rule_us);
  EXPECT_FALSE(dispatcher.trained());
}

TEST(Dispatcher, ACloudOfWhichNothingIsKnownIsExploredAndNotChosen) {
  Dispatcher dispatcher(1);
  dispatcher.set_model(always(1));
  uint32_t explored = 0;
  for (int i = 0; i < 400; ++i) {
    const DispatchIo io{kSecond + i * kMillisecond, IoKind::write, 128u << 10};
    const DispatchTicket ticket = dispatcher.begin(io);
    EXPECT_EQ(ticket.tier == Tier::cloud, ticket.only_to_know());
    explored += ticket.tier == Tier::cloud;
    if (ticket.tier == Tier::local) dispatcher.end(ticket, io.now_ns + 20 * kMicrosecond);
  }
  EXPECT_EQ(explored, 1u) << "one after the other";
}

TEST(Dispatcher, LargeIosAloneMakeACloudKnown) {
  Dispatcher dispatcher(1);
  dispatcher.set_model(always(1));
  uint32_t clouds = 0;
  for (int i = 0; i < 1000; ++i) {
    const DispatchIo io{kSecond + i * kMillisecond, IoKind::write, 128u << 10};
    const DispatchTicket ticket = dispatcher.begin(io);
    const bool cloud = ticket.tier == Tier::cloud;
    // The first answer of the cloud is a slow one.
    const int64_t us = !cloud ? 400 : clouds == 0 ? 20'000 : 200;
    clouds += cloud;
    dispatcher.end(ticket, io.now_ns + us * kMicrosecond);
  }
  EXPECT_GT(clouds, 500u);
}

TEST(Dispatcher, ALyingModelLosesItsTrust) {
  ToyTiers tiers, same;
  Dispatcher dispatcher(1);
  const double rule_us = drive_by_rule(same, 100'000);
  drive(tiers, dispatcher, 10'000);
  EXPECT_TRUE(dispatcher.trusted(IoKind::write));
  dispatcher.set_model(always(1));  // "the cloud", whose server can't take half of the load
  drive(tiers, dispatcher, 100, 20 * kSecond);
  EXPECT_FALSE(dispatcher.trusted(IoKind::write));
  dispatcher.set_model(always(1));  // the next one has to earn it
  drive(tiers, dispatcher, 2'000, 30 * kSecond);
  EXPECT_FALSE(dispatcher.trusted(IoKind::write));
  tiers.free_ns[1] = 0;
  const double later_us = drive(tiers, dispatcher, 100'000, 60 * kSecond);
  EXPECT_LT(later_us, 1.15 * rule_us);
}

TEST(Dispatcher, ADeadTierGetsProbesOnly) {
  Dispatcher dispatcher(1);
  dispatcher.set_model(always(-1));
  dispatcher.set_dead(Tier::local, true);
  int local = 0;
  TimeNs now_ns = kSecond;
  for (int i = 0; i < 10'000; ++i, now_ns += 100'000) {
    const DispatchTicket ticket = dispatcher.begin({now_ns, IoKind::write, 4096});
    local += ticket.tier == Tier::local;
    dispatcher.end(ticket, now_ns + 50'000, ticket.tier == Tier::cloud);
  }
  EXPECT_GE(local, 2);
  EXPECT_LE(local, 6) << "one in 250 ms, in a second";
}

TEST(Dispatcher, ATierThatSaysNothingIsLeftAlone) {
  Dispatcher dispatcher(1);
  dispatcher.set_model(always(-1));
  int local = 0;
  TimeNs now_ns = kSecond;
  for (int i = 0; i < 20'000; ++i, now_ns += 100'000) {
    const DispatchTicket ticket = dispatcher.begin({now_ns, IoKind::write, 4096});
    if (ticket.tier == Tier::cloud)
      dispatcher.end(ticket, now_ns + 50'000);  // the others never answer
    else if (now_ns > 2 * kSecond)
      ++local;
  }
  EXPECT_LE(local, 8);
}

TEST(Dispatcher, ATierThatHasRecoveredIsNoticed) {
  ToyTiers tiers;
  Dispatcher dispatcher(1);
  tiers.trip_ns[0] = 5 * kMillisecond;  // the local tier is slow
  drive(tiers, dispatcher, 5'000);
  tiers.trip_ns[0] = 10'000;
  tiers.service_ns[1] = 15'000;
  drive(tiers, dispatcher, 10'000, 60 * kSecond);
  EXPECT_LT(drive(tiers, dispatcher, 5'000, 120 * kSecond), 100) << "it was 360 us";
}

/// A read or write that was `latency_us` under way on a tier.
void complete(Dispatcher& dispatcher, TimeNs at_ns, IoKind kind, Tier tier, int64_t latency_us) {
  const DispatchTicket ticket = dispatcher.begin_on({at_ns, kind, 4096}, tier);
  dispatcher.end(ticket, at_ns + latency_us * kMicrosecond);
}

/// The pool takes 80 us, the cloud `cloud_us`.
void get_to_know(Dispatcher& dispatcher, int64_t cloud_us) {
  for (int i = 0; i < 100; ++i) {
    complete(dispatcher, kSecond + i * kMillisecond, IoKind::read, Tier::local, 80);
    complete(dispatcher, kSecond + i * kMillisecond, IoKind::read, Tier::cloud, cloud_us);
  }
}

TEST(Dispatcher, AReadIsObviouslyLocalWhereThePoolIsManyTimesSooner) {
  for (const int64_t cloud_us : {300, 1000}) {
    Dispatcher dispatcher(1);
    const DispatchIo io{2 * kSecond, IoKind::read, 4096};
    EXPECT_FALSE(dispatcher.obviously_local(io, 0)) << "neither tier is known";
    get_to_know(dispatcher, cloud_us);
    EXPECT_EQ(dispatcher.obviously_local(io, 0), cloud_us == 1000);
    dispatcher.set_dead(Tier::local, true);
    EXPECT_FALSE(dispatcher.obviously_local(io, 0));
  }
}

TEST(Dispatcher, NothingIsObviousWhileThePoolHangs) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 1000);
  (void)dispatcher.begin_on({2 * kSecond, IoKind::read, 4096}, Tier::local);
  const auto later = [](int64_t us) {
    return DispatchIo{2 * kSecond + us * kMicrosecond, IoKind::read, 4096};
  };
  EXPECT_TRUE(dispatcher.obviously_local(later(200), 0));
  EXPECT_FALSE(dispatcher.obviously_local(later(300), 0));
  EXPECT_FALSE(dispatcher.obviously_local(later(300), 90 * kMicrosecond));
}

TEST(Dispatcher, WhatIsObviousIsExploredAllTheSame) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 1000);
  int cloud = 0;
  for (int i = 0; i < 10'000; ++i) {
    const DispatchIo io{2 * kSecond + i * kMillisecond, IoKind::read, 4096};
    if (dispatcher.obviously_local(io, 0)) {
      complete(dispatcher, io.now_ns, IoKind::read, Tier::local, 80);
      continue;
    }
    const DispatchTicket ticket = dispatcher.begin(io);
    cloud += ticket.tier == Tier::cloud;
    dispatcher.end(ticket, io.now_ns + (ticket.tier == Tier::cloud ? 1000 : 80) * kMicrosecond);
  }
  EXPECT_GE(cloud, 70);
  EXPECT_LE(cloud, 78 + 5) << "one in 128, and the first ones";
}

TEST(Dispatcher, AReactorThatIsTheSlowPartKeepsItsReads) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 60);  // sooner than the pool
  const DispatchIo io{2 * kSecond, IoKind::read, 4096};
  EXPECT_FALSE(dispatcher.obviously_local(io, 20 * kMicrosecond));
  EXPECT_TRUE(dispatcher.obviously_local(io, 40 * kMicrosecond));
}

TEST(Dispatcher, AReactorThatIsTheSlowPartKeepsItsWritesButForExploration) {
  Dispatcher dispatcher(1);
  int cloud = 0;
  for (int i = 0; i < 10'000; ++i) {
    const DispatchIo io{kSecond + i * kMillisecond, IoKind::write, 4096};
    if (dispatcher.obviously_local(io, 40 * kMicrosecond)) {
      complete(dispatcher, io.now_ns, IoKind::write, Tier::local, 80);
      continue;
    }
    const DispatchTicket ticket = dispatcher.begin(io);
    cloud += ticket.tier == Tier::cloud;
    dispatcher.end(ticket, io.now_ns + 100 * kMicrosecond);
  }
  EXPECT_GE(cloud, 70);
  EXPECT_LE(cloud, 78 + 5) << "one in 128, and the first ones";
}

TEST(Dispatcher, AWriteThatHangsMakesThePoolSilentWhateverIsReadMeanwhile) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 1000);
  (void)dispatcher.begin_on({2 * kSecond, IoKind::write, 4096}, Tier::local);
  const DispatchIo later{4 * kSecond, IoKind::read, 128u << 10};
  EXPECT_FALSE(dispatcher.obviously_local(later, 0));
  (void)dispatcher.begin_on(later, Tier::local);
  EXPECT_TRUE(dispatcher.silent(Tier::local, later.now_ns + kMillisecond));
}

TEST(Dispatcher, WhileTheCloudIsSilentReadsAreObviousAllTheSame) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 1000);
  (void)dispatcher.begin_on({2 * kSecond, IoKind::read, 4096}, Tier::cloud);
  for (int i = 0; i < 1000; ++i) {
    const DispatchIo io{3 * kSecond + i * kMillisecond, IoKind::read, 4096};
    ASSERT_TRUE(dispatcher.obviously_local(io, 0)) << i;
    complete(dispatcher, io.now_ns, IoKind::read, Tier::local, 80);
  }
}

TEST(Dispatcher, AModelIsNotCondemnedForOneIo) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 90);  // the rule says the pool
  dispatcher.set_model(always(1));
  TimeNs now_ns = 2 * kSecond;
  for (int i = 0; i < 200; ++i, now_ns += kMillisecond) {
    const DispatchTicket ticket = dispatcher.begin({now_ns, IoKind::read, 4096});
    const bool outlier = i > 20 && i < 24 && ticket.reason == DispatchTicket::Reason::model;
    const int64_t us = outlier ? 20'000 : ticket.tier == Tier::cloud ? 82 : 80;
    dispatcher.end(ticket, now_ns + us * kMicrosecond);
    if (outlier) break;
  }
  EXPECT_TRUE(dispatcher.trusted(IoKind::read));
}

TEST(Dispatcher, AGoodModelIsNotJudgedByTheLiarBefore) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 90);  // the rule says the pool
  TimeNs now_ns = 2 * kSecond;
  const auto run = [&](int ios, int64_t cloud_us) {
    for (int i = 0; i < ios; ++i, now_ns += kMillisecond) {
      const DispatchTicket ticket = dispatcher.begin({now_ns, IoKind::read, 4096});
      // What a reader feels; the averages that the rule goes by stay as they are.
      const bool cloud = ticket.tier == Tier::cloud && ticket.judged;
      dispatcher.end(ticket, now_ns + (cloud ? cloud_us : 80) * kMicrosecond);
    }
  };
  dispatcher.set_model(always(1));
  run(64, 8'000);
  ASSERT_FALSE(dispatcher.trusted(IoKind::read));
  ASSERT_TRUE(dispatcher.found_useless(IoKind::read));
  dispatcher.set_model(always(1));
  run(1, 8'000);
  EXPECT_FALSE(dispatcher.found_useless(IoKind::read)) << "it is tried";
}

TEST(Dispatcher, AGoodModelRegainsTrustThroughTheTrainer) {
  ToyTiers tiers;
  Dispatcher dispatcher(1);
  DispatchTrainer trainer(dispatcher, DispatchTrainer::Runs::in_end);
  drive(tiers, dispatcher, 10'000);
  dispatcher.set_model(always(1));
  drive(tiers, dispatcher, 2'000, 5 * kSecond);
  ASSERT_FALSE(dispatcher.trusted(IoKind::write));
  TimeNs start_ns = 10 * kSecond;
  for (int i = 0; i < 400 && !dispatcher.trusted(IoKind::write); ++i, start_ns += 10 * kSecond) {
    tiers.free_ns[0] = start_ns + 2 * kMillisecond;  // a stall, which a model sees sooner
    drive(
        tiers, 10'000, start_ns, [&](const DispatchIo& io) { return trainer.begin(io); },
        [&](const DispatchTicket& ticket, TimeNs now_ns) { trainer.end(ticket, now_ns); });
  }
  EXPECT_TRUE(dispatcher.trusted(IoKind::write));
}

TEST(ModelTrust, LiarsInARowMakeTheNextTrialASlowOne) {
  ModelTrust trust;
  const auto run = [&](float model_us) {
    for (int i = 0; i < 64; ++i) {
      trust.judge(false, 100);
      trust.judge(true, model_us);
    }
  };
  uint64_t every = 8;
  for (int i = 0; i < 5; ++i) {
    run(1000);
    EXPECT_FALSE(trust.trusted());
    EXPECT_TRUE(trust.tried());
    const uint64_t of_a_liar = trust.check_every();
    trust.replace_model();
    EXPECT_FALSE(trust.tried());
    EXPECT_EQ(trust.check_every(), every *= 2);
    EXPECT_LE(trust.check_every(), of_a_liar);
  }
  run(10);
  EXPECT_TRUE(trust.trusted());
  trust.replace_model();
  EXPECT_TRUE(trust.trusted()) << "as the one before it";
  run(1000);
  trust.replace_model();
  EXPECT_EQ(trust.check_every(), 256u) << "that one was good for a short while only";
  for (int i = 0; i < 8; ++i) {
    run(10);
    trust.replace_model();
  }
  run(1000);
  trust.replace_model();
  EXPECT_EQ(trust.check_every(), 16u) << "the liars before a good one are forgotten";
}

TEST(CongestionToll, IsWhatAnIoCostsTheOthers) {
  // 20 us and 10 more for each that is under way: so many I/Os take 10 us more each.
  TollMeter meter;
  for (int depth = 1; depth <= 64; ++depth)
    for (int i = 0; i < 100; ++i) {
      const auto depth_log2 = static_cast<float>(std::log2(depth));
      const auto slower_log2 = static_cast<float>(std::log2(20 + 10 * depth));
      meter.add(Tier::local, IoKind::write, depth_log2, slower_log2);
      meter.add(Tier::cloud, IoKind::write, depth_log2, 8.0f);
    }
  const CongestionTolls tolls = meter.tolls();
  for (const float depth : {2.0f, 8.0f, 32.0f})
    EXPECT_NEAR(tolls.us(Tier::local, IoKind::write, std::log2(depth)), 10 * depth, 2 * depth)
        << depth;
  EXPECT_EQ(tolls.us(Tier::local, IoKind::write, 9), tolls.us(Tier::local, IoKind::write, 6))
      << "what was not seen costs as the most that was";
  EXPECT_EQ(tolls.us(Tier::cloud, IoKind::write, 5), 0) << "no slower with more under way";
  EXPECT_EQ(tolls.us(Tier::local, IoKind::read, 5), 0) << "nothing is known of it";
  EXPECT_EQ(tolls.us(Tier::local, IoKind::write, 1e9f), tolls.us(Tier::local, IoKind::write, 9));
}

TEST(DispatchTrainer, KeepsTheFastTierFastWhenItIsOverloaded) {
  // The pool takes 100,000 a second and gets 125,000; the cloud takes any number. Who only asks
  // which is sooner fills the pool's queue until it is as slow as the cloud.
  ToyTiers ours, by_rule;
  ours.service_ns[1] = by_rule.service_ns[1] = 100;
  ours.gap_ns = by_rule.gap_ns = 8'000;
  const double rule_us = drive_by_rule(by_rule, 50'000);
  Dispatcher dispatcher(1);
  DispatchTrainer trainer(dispatcher, DispatchTrainer::Runs::in_end);
  double ours_us = 0;
  for (int i = 0; i < 10; ++i)
    ours_us = drive(
        ours, 50'000, (1 + 10 * i) * kSecond,
        [&](const DispatchIo& io) { return trainer.begin(io); },
        [&](const DispatchTicket& ticket, TimeNs now_ns) { trainer.end(ticket, now_ns); });
  EXPECT_TRUE(dispatcher.trusted(IoKind::write));
  EXPECT_LT(ours_us, 0.7 * rule_us);
}

/// A model that says "the cloud" of a pool that takes 100 us, with tolls of `toll_us`.
SvmModel with_tolls(float toll_us) {
  SvmModel model = always(1);
  for (auto& kind : model.tolls.toll_us[0]) kind.fill(toll_us);
  return model;
}

bool is_trusted(float pool_toll_us, int64_t cloud_us) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 1000);  // the rule says the pool
  dispatcher.set_model(with_tolls(pool_toll_us));
  for (int i = 0; i < 4000; ++i) {
    const DispatchIo io{2 * kSecond + i * kMillisecond, IoKind::read, 4096};
    const DispatchTicket ticket = dispatcher.begin(io);
    const bool cloud = ticket.tier == Tier::cloud;
    dispatcher.end(ticket, io.now_ns + (cloud ? cloud_us : 100) * kMicrosecond);
  }
  return dispatcher.trusted(IoKind::read);
}

TEST(Dispatcher, AModelIsJudgedByWhatItCostsAltogether) {
  EXPECT_TRUE(is_trusted(100, 150)) << "slower for itself, and cheaper altogether";
  EXPECT_FALSE(is_trusted(0, 150));
  EXPECT_FALSE(is_trusted(100, 350));
}

TEST(DispatchTrainer, AStallIsForgotten) {
  // The pool takes 80 us however many are under way, and stalls now and then; later it does not.
  Dispatcher dispatcher(1);
  DispatchTrainer trainer(dispatcher, DispatchTrainer::Runs::in_end);
  ToyTiers tiers;
  tiers.service_ns[0] = tiers.service_ns[1] = 10;
  tiers.trip_ns[0] = 80'000;
  tiers.trip_ns[1] = 200'000;
  tiers.gap_ns = 10'000;
  const auto run = [&](TimeNs start_ns, TimeNs stall_ns) {
    tiers.free_ns[0] = start_ns + stall_ns;
    return drive(
        tiers, 10'000, start_ns, [&](const DispatchIo& io) { return trainer.begin(io); },
        [&](const DispatchTicket& ticket, TimeNs now_ns) { trainer.end(ticket, now_ns); });
  };
  TimeNs start_ns = kSecond;
  for (int i = 0; i < 80; ++i, start_ns += 110 * kMillisecond) run(start_ns, 5 * kMillisecond);
  double calm_us = 0;
  for (int i = 0; i < 60; ++i, start_ns += 10 * kSecond) calm_us = run(start_ns, 0);
  EXPECT_LT(calm_us, 84);
}

TEST(CongestionToll, IsNeverMoreThanTheLatencyAndIsForgotten) {
  // Four times as slow for twice as many: no queue does that.
  TollMeter meter;
  for (int depth = 1; depth <= 64; ++depth)
    for (int i = 0; i < 100; ++i) {
      const auto depth_log2 = static_cast<float>(std::log2(depth));
      meter.add(Tier::local, IoKind::write, depth_log2, 3 + 2 * depth_log2);
    }
  const CongestionTolls tolls = meter.tolls();
  EXPECT_GT(tolls.us(Tier::local, IoKind::write, 4), 0);
  EXPECT_LE(tolls.us(Tier::local, IoKind::write, 4), 1.3f * std::exp2(3.0f + 2 * 4));
  for (int i = 0; i < 9; ++i) {
    for (uint32_t j = 0; j < TollMeter::kFadeAfter; ++j)
      meter.add(Tier::local, IoKind::write, 0, 3);
    meter.fade();
  }
  EXPECT_EQ(meter.tolls().us(Tier::local, IoKind::write, 4), 0);
}

TEST(Dispatcher, AsManyOfTheModelsIosAreJudgedAsOfTheRules) {
  Dispatcher dispatcher(1);
  get_to_know(dispatcher, 90);  // the rule says the pool
  dispatcher.set_model(always(1));
  int judged[2] = {};
  for (int i = 0; i < 40'000; ++i) {
    const DispatchIo io{2 * kSecond + i * kMillisecond, IoKind::read, 4096};
    const DispatchTicket ticket = dispatcher.begin(io);
    judged[ticket.reason == DispatchTicket::Reason::model] += ticket.judged;
    dispatcher.end(ticket, io.now_ns + (ticket.tier == Tier::cloud ? 84 : 80) * kMicrosecond);
  }
  EXPECT_TRUE(dispatcher.trusted(IoKind::read));
  EXPECT_GT(judged[0], 2000);
  EXPECT_NEAR(judged[1], judged[0], judged[0] / 10);
}

TEST(Dispatcher, ManyLargeIosReturnToATierThatWasSlow) {
  Dispatcher dispatcher(1);
  TimeNs now_ns = kSecond;
  const auto share = [&](int64_t pool_us, int64_t cloud_us) {
    int cloud = 0;
    for (int i = 0; i < 10'000; ++i, now_ns += kMillisecond) {
      const DispatchTicket ticket = dispatcher.begin({now_ns, IoKind::read, 128u << 10});
      cloud += ticket.tier == Tier::cloud;
      dispatcher.end(ticket,
                     now_ns + (ticket.tier == Tier::cloud ? cloud_us : pool_us) * kMicrosecond);
    }
    return cloud;
  };
  EXPECT_LT(share(100, 900), 200);
  EXPECT_GT(share(20'000, 900), 9'000);
  share(100, 900);
  EXPECT_LT(share(100, 900), 200) << "the pool was given up for good";
}

TEST(Dispatcher, OfWhatIsObviousOneInSevenTeaches) {
  Dispatcher dispatcher(1);
  int taught = 0;
  for (int i = 0; i < 700; ++i) {
    const DispatchTicket ticket = dispatcher.begin_obvious({kSecond, IoKind::read, 4096});
    const float before = dispatcher.state().history(Tier::local, IoKind::read).slow_latency_us;
    dispatcher.end(ticket, kSecond + (i + 1) * kMillisecond);
    taught += before != dispatcher.state().history(Tier::local, IoKind::read).slow_latency_us;
  }
  EXPECT_EQ(taught, 100);
}

TEST(DispatchTrainer, AnOldModelIsTrainedAnew) {
  Dispatcher dispatcher(1);
  DispatchTrainer trainer(dispatcher, DispatchTrainer::Runs::in_end);
  ToyTiers tiers;
  const auto run = [&](TimeNs start_ns) {
    drive(
        tiers, 20'000, start_ns, [&](const DispatchIo& io) { return trainer.begin(io); },
        [&](const DispatchTicket& ticket, TimeNs now_ns) { trainer.end(ticket, now_ns); });
  };
  for (TimeNs start_ns = kSecond; start_ns < 20 * kSecond; start_ns += kSecond) run(start_ns);
  const uint64_t before = trainer.trainings();
  ASSERT_GT(before, 0u);
  run(90 * kSecond);
  EXPECT_GT(trainer.trainings(), before);
}

TEST(ModelSlot, AReaderTakesWholeSets) {
  ModelSlot slot;
  std::jthread writer([&](const std::stop_token& stop) {
    for (float value = 1; !stop.stop_requested(); value += 1) {
      SvmModel model;
      for (auto& kind : model.weights) kind.fill(value);
      slot.publish(model);
    }
  });
  uint64_t seen = 0;
  for (int taken = 0; taken < 200;) {
    SvmModel model;
    if (!slot.take(model, seen)) continue;
    ++taken;
    for (const auto& kind : model.weights)
      for (const float value : kind) ASSERT_EQ(value, model.weights[0][0]);
  }
}

TEST(DispatchTrainer, TrainsFromItsOwnOutcomes) {
  Dispatcher dispatcher(1);
  DispatchTrainer trainer(dispatcher);
  ToyTiers tiers;
  TimeNs start_ns = kSecond;
  // Its thread has the lowest priority, and may be slow to get its turn.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(100);
  while (trainer.trainings() == 0 && std::chrono::steady_clock::now() < deadline) {
    drive(
        tiers, 5'000, start_ns, [&](const DispatchIo& io) { return trainer.begin(io); },
        [&](const DispatchTicket& ticket, TimeNs now_ns) { trainer.end(ticket, now_ns); });
    start_ns += 10 * kSecond;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_GE(trainer.trainings(), 1u);
  drive(tiers, dispatcher, 100, start_ns);
  EXPECT_TRUE(dispatcher.trained());
}

TEST(DispatchTrainer, LearnsFromObviousReadsToo) {
  Dispatcher dispatcher(1);
  DispatchTrainer trainer(dispatcher, DispatchTrainer::Runs::in_end);
  uint64_t obvious = 0;
  for (uint64_t i = 0; trainer.trainings() == 0; ++i) {
    ASSERT_LT(i, 100'000u);
    const DispatchIo io{kSecond + static_cast<TimeNs>(i) * kMillisecond, IoKind::read, 4096};
    const bool clear = dispatcher.obviously_local(io, 0);
    obvious += clear;
    const DispatchTicket ticket = clear ? trainer.begin_obvious(io) : trainer.begin(io);
    const int64_t local_us = i / 256 % 4 == 0 ? 300 : 50;  // it has busy times
    const int64_t latency_us = ticket.tier == Tier::cloud ? 500 : local_us;
    trainer.end(ticket, io.now_ns + latency_us * kMicrosecond);
  }
  EXPECT_GT(obvious, 1000u);
}

TEST(DispatchTrainer, IsSeldomAtWork) {
  Dispatcher dispatcher(1);
  DispatchTrainer trainer(dispatcher, DispatchTrainer::Runs::in_end);
  ToyTiers tiers;
  for (int i = 0; i < 40; ++i) {  // drifts in every second
    tiers.service_ns[0] = i % 2 == 0 ? 10'000 : 60'000;
    drive(
        tiers, 25'000, kSecond + i * kSecond / 2,
        [&](const DispatchIo& io) { return trainer.begin(io); },
        [&](const DispatchTicket& ticket, TimeNs now_ns) { trainer.end(ticket, now_ns); });
  }
  EXPECT_GE(trainer.trainings(), 2u);
  EXPECT_LE(trainer.trainings(), 26u) << "one a second, and five more in the first";
}

/// The cores that a thread of this process may use, as the kernel writes them.
std::string cores_of_thread(const std::filesystem::path& task) {
  std::ifstream file(task / "status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("Cpus_allowed_list:")) return line.substr(line.find_last_of(" \t") + 1);
  return "";
}

std::set<std::filesystem::path> threads() {
  std::set<std::filesystem::path> all;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
    all.insert(task.path());
  return all;
}

// A thread inherits the cores of the one that starts it: here a reactor that has a core for itself.
TEST(DispatchTrainer, LeavesTheReactorsCoreAlone) {
  const unsigned core = static_cast<unsigned>(::sched_getcpu());
  const std::string mine = std::to_string(core);
  if (cores_of_thread("/proc/self") == mine) GTEST_SKIP() << "there is one core only";
  std::thread reactor([&] {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(core, &only);
    ASSERT_EQ(::pthread_setaffinity_np(::pthread_self(), sizeof(only), &only), 0);
    reserve_cores(std::span(&core, 1));
    const auto before = threads();
    Dispatcher dispatcher(1);
    DispatchTrainer trainer(dispatcher);
    std::string cores = mine;
    for (int i = 0; i < 5000 && cores == mine; ++i) {
      for (const auto& thread : threads())
        if (!before.contains(thread)) cores = cores_of_thread(thread);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_NE(cores, mine);
    EXPECT_NE(cores, "");
  });
  reactor.join();
}

TEST(DriftTest, FiresWhenTheStreamMovesAndNotBefore) {
  Random random(1);
  DriftTest test;
  const auto draw = [&](double mean, double spread) {
    return static_cast<float>(mean + spread * (random.uniform() + random.uniform() - 1));
  };
  for (uint64_t i = 0; i < 50 * DriftTest::kWindow; ++i) ASSERT_FALSE(test.add(draw(5, 1)));
  bool fired = false;
  for (uint64_t i = 0; i < 3 * DriftTest::kWindow; ++i) fired |= test.add(draw(6, 1));
  EXPECT_TRUE(fired);
  test.restart();
  for (uint64_t i = 0; i < 5 * DriftTest::kWindow; ++i) ASSERT_FALSE(test.add(draw(6, 1)));
  fired = false;
  for (uint64_t i = 0; i < 3 * DriftTest::kWindow; ++i) fired |= test.add(draw(6, 4));
  EXPECT_TRUE(fired);
}

TEST(TenPercentRule, ComparesWindowsOfTime) {
  TenPercentRule rule(kSecond);
  bool fired = false;
  TimeNs now_ns = 1;
  for (int i = 0; i < 5'000; ++i, now_ns += kMillisecond)
    fired |= rule.add(now_ns, static_cast<float>(i % 10));
  EXPECT_FALSE(fired);
  for (int i = 0; i < 5'000; ++i, now_ns += kMillisecond)
    fired |= rule.add(now_ns, static_cast<float>(2 * (i % 10)));
  EXPECT_TRUE(fired);
}

}  // namespace
}  // namespace latte
