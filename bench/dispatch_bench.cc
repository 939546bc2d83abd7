// What a decision of the dispatcher costs: warm, with its memory out of the
// processor's caches, with its bookkeeping (begin and end of an I/O), and what
// a training of 100,000 I/Os takes.
//
//   dispatch_bench [--most-warm-ns 0] [--most-cold-ns 0]
#include <emmintrin.h>
#include <time.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/random.h"
#include "policy/dispatch_trainer.h"
#include "policy/dispatcher.h"
#include "policy/svm_train.h"

namespace latte::bench {
namespace {

constexpr int kWarmDecisions = 2'000'000;
constexpr int kColdDecisions = 20'000;
constexpr size_t kLineBytes = 64;
constexpr size_t kTrainingRows = 100'000;

struct Options {
  double most_warm_ns = 0;
  double most_cold_ns = 0;
};

double now_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

SvmModel some_model() {
  Random random(5);
  SvmModel model;
  for (auto& kind : model.weights)
    for (float& weight : kind) weight = static_cast<float>(random.uniform() - 0.5);
  return model;
}

DispatchIo some_io(int i) {
  return {1'000'000 + i * TimeNs{1000}, i % 3 == 0 ? IoKind::read : IoKind::write,
          4096u << (i % 4)};
}

/// 64 I/Os under way all the time.
void fill(Dispatcher& dispatcher, std::vector<DispatchTicket>& flying) {
  for (int i = 0; i < 64; ++i) flying.push_back(dispatcher.begin(some_io(i)));
}

/// The decision alone: inputs and score.
float decide(const DispatchState& state, const SvmModel& model, const DispatchIo& io) {
  SvmInputs inputs;
  fetch_svm_weights(model, io.kind);
  make_svm_inputs(state, io, inputs);
  return svm_score(model, io.kind, inputs);
}

void flush_lines(const void* memory, size_t bytes) {
  const auto* first = static_cast<const char*>(memory);
  for (size_t at = 0; at < bytes; at += kLineBytes) _mm_clflush(first + at);
  _mm_mfence();
}

double warm_decision_ns(Dispatcher& dispatcher, const SvmModel& model) {
  float sum = 0;
  const double start = now_ns(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < kWarmDecisions; ++i)
    sum += decide(dispatcher.state(), model, some_io(i + 100));
  const double each = (now_ns(CLOCK_THREAD_CPUTIME_ID) - start) / kWarmDecisions;
  if (sum == 12345) std::puts("");  // keeps the loop
  return each;
}

/// Median of what `act` takes after `flush`; the clock's own cost is taken off.
template <typename Flush, typename Act>
double cold_ns(Flush flush, Act act) {
  std::vector<double> times;
  std::vector<double> clocks;
  float sum = 0;
  for (int i = 0; i < kColdDecisions; ++i) {
    flush();
    // The clock's own page and code are warm, as the reactor's are.
    (void)now_ns();
    const double start = now_ns();
    sum += act(i);
    const double end = now_ns();
    times.push_back(end - start);
    clocks.push_back(now_ns() - end);
  }
  if (sum == 12345) std::puts("");
  const auto median = [](std::vector<double>& of) {
    std::nth_element(of.begin(), of.begin() + of.size() / 2, of.end());
    return of[of.size() / 2];
  };
  return median(times) - median(clocks);
}

/// A decision whose lines have just been flushed from all caches.
double cold_decision_ns(Dispatcher& dispatcher, const SvmModel& model) {
  return cold_ns(
      [&] {
        flush_lines(&dispatcher.state(), sizeof(DispatchState));
        flush_lines(&model, sizeof(model));
      },
      [&](int i) { return decide(dispatcher.state(), model, some_io(i + 100)); });
}

/// A single line that is in no cache: what any cold decision takes at least.
double cold_line_ns(const SvmModel& model) {
  const volatile float* line = model.weights[0].data();
  return cold_ns([&] { flush_lines(&model, kLineBytes); }, [&](int) { return *line; });
}

/// begin() of one I/O and end() of another, by `begin` and `end`.
template <typename Begin, typename End>
double bookkeeping_ns(std::vector<DispatchTicket>& flying, Begin begin, End end) {
  const double start = now_ns(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < kWarmDecisions; ++i) {
    DispatchTicket& oldest = flying[static_cast<size_t>(i) % flying.size()];
    const DispatchIo io = some_io(i + 100);
    end(oldest, io.now_ns);
    oldest = begin(io);
  }
  return (now_ns(CLOCK_THREAD_CPUTIME_ID) - start) / kWarmDecisions;
}

double training_seconds() {
  Random random(7);
  std::vector<SvmSample> samples(kTrainingRows);
  for (SvmSample& sample : samples) {
    float sum = 0;
    for (float& input : sample.inputs) {
      input = static_cast<float>(random.uniform() * 10);
      sum += input;
    }
    sample.inputs.back() = 1;
    sample.kind = random.chance(1, 2) ? IoKind::read : IoKind::write;
    // Not separable: every sixth or so lies on the wrong side.
    sample.cloud_us = 330;
    sample.local_us = sum + static_cast<float>(30 * random.uniform());
  }
  const double start = now_ns(CLOCK_THREAD_CPUTIME_ID);
  const SvmTraining training = train_svm(samples);
  const double seconds = (now_ns(CLOCK_THREAD_CPUTIME_ID) - start) / 1e9;
  std::printf("  rows used: %u reads, %u writes\n", training.rows[0], training.rows[1]);
  return seconds;
}

int run(const Options& options) {
  Dispatcher dispatcher(1);
  const SvmModel model = some_model();
  dispatcher.set_model(model);
  std::vector<DispatchTicket> flying;
  fill(dispatcher, flying);
  std::printf("model: %zu bytes; state a decision reads: %zu bytes\n", sizeof(SvmModel),
              kTiers * (sizeof(KindHistory) + sizeof(TierQueue)));
  const double warm = warm_decision_ns(dispatcher, model);
  const double cold = cold_decision_ns(dispatcher, model);
  std::printf("a line of memory with a cold cache: %.1f ns\n", cold_line_ns(model));
  std::printf(
      "decision (inputs and dot product): %.1f ns warm, %.1f ns with a "
      "cold cache\n",
      warm, cold);
  const double plain = bookkeeping_ns(
      flying, [&](const DispatchIo& io) { return dispatcher.begin(io); },
      [&](const DispatchTicket& ticket, TimeNs at_ns) { dispatcher.end(ticket, at_ns); });
  std::printf("an I/O through the dispatcher, begin and end: %.1f ns\n", plain);
  DispatchTrainer trainer(dispatcher);
  const double trained = bookkeeping_ns(
      flying, [&](const DispatchIo& io) { return trainer.begin(io); },
      [&](const DispatchTicket& ticket, TimeNs at_ns) { trainer.end(ticket, at_ns); });
  std::printf("the same with the trainer listening: %.1f ns\n", trained);
  std::printf("training on %zu I/Os: %.2f s of CPU\n", kTrainingRows, training_seconds());
  const bool slow = (options.most_warm_ns > 0 && warm > options.most_warm_ns) ||
                    (options.most_cold_ns > 0 && cold > options.most_cold_ns);
  if (slow) std::fprintf(stderr, "slower than --most-warm-ns or --most-cold-ns\n");
  return slow ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace
}  // namespace latte::bench

int main(int argc, char** argv) {
  latte::bench::Options options;
  CLI::App app{"What a decision of the dispatcher costs"};
  app.add_option("--most-warm-ns", options.most_warm_ns, "fail above; 0 = don't");
  app.add_option("--most-cold-ns", options.most_cold_ns, "fail above; 0 = don't");
  CLI11_PARSE(app, argc, argv);
  return latte::bench::run(options);
}
