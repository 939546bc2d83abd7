// DispatchTrainer: keeps a Dispatcher's model up to date from the disk's own I/O. The reactor hands
// it a sample of outcomes; a thread of its own labels them (outcome_labels.h), trains
// (svm_train.h) and swaps the weights in. It trains first when there are enough outcomes, then when
// the latencies drift (drift_test.h), the model has lost its trust, or it is old.
//
// Thread rule: begin(), end() and the constructor and destructor belong to the dispatcher's
// reactor; neither allocates nor waits. Training runs on the trainer's thread, at the lowest
// priority. Limits: kPending sampled I/Os under way, a ring of kRing outcomes between the threads,
// the last kKept outcomes for training; what is beyond is dropped. About 6 MiB.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "policy/dispatcher.h"
#include "policy/drift_test.h"
#include "policy/outcome_labels.h"

namespace latte {

class DispatchTrainer {
 public:
  static constexpr uint32_t kPending = 128;
  static constexpr uint32_t kRing = 4096;
  static constexpr uint32_t kKept = 4096;
  /// New outcomes between two trainings, and before the first.
  static constexpr uint32_t kLeastNew = 2048;
  /// Time between two trainings: they are to take a small part of a core. At first less, doubling:
  /// the first ones may have too few outcomes of a tier.
  static constexpr TimeNs kFirstBetweenNs = kSecond / 32;
  static constexpr TimeNs kBetweenNs = kSecond;
  /// So long after another one was allowed there is one, whatever happened.
  static constexpr TimeNs kModelLastsNs = 30 * kSecond;

  /// Who labels and trains.
  enum class Runs : uint8_t {
    on_a_thread,  ///< of the trainer's own
    in_end,       ///< whoever calls end(): for virtual time, where that takes none
  };
  explicit DispatchTrainer(Dispatcher& dispatcher, Runs runs = Runs::on_a_thread);
  ~DispatchTrainer();
  DispatchTrainer(const DispatchTrainer&) = delete;
  DispatchTrainer& operator=(const DispatchTrainer&) = delete;

  /// As Dispatcher::begin() and end(), and remembers some of them.
  DispatchTicket begin(const DispatchIo& io);
  /// Likewise Dispatcher::begin_on() the pool, of what is obviously_local().
  DispatchTicket begin_obvious(const DispatchIo& io);
  void end(const DispatchTicket& ticket, TimeNs now_ns, bool ok = true);

  uint64_t trainings() const { return trainings_.load(std::memory_order_relaxed); }

 private:
  /// All I/Os of exploration and checks are remembered, one in so many of the others, ...
  static constexpr uint32_t kSampleEvery = 4;
  /// ... and of those that teach little one in a span of so long: what is kept leaves the caches
  /// poorer.
  static constexpr TimeNs kObviousNs = 64 * kMicrosecond;

  struct Pending {
    SvmInputs inputs;
    uint32_t number = 0;  ///< DispatchTicket::sample of the I/O
  };
  void remember(DispatchTicket& ticket, const SvmInputs& inputs);
  void hand_over(const DispatchTicket& ticket, TimeNs now_ns, float latency_log2);
  void wake();
  void run(const std::stop_token& stop);
  void work();
  void take_outcomes();
  void train_once();

  Dispatcher& dispatcher_;
  Runs runs_;
  std::array<Pending, kPending> pending_{};
  uint32_t last_sample_ = 0;
  uint32_t since_sample_ = 0;
  TimeNs next_obvious_ns_ = INT64_MIN;
  uint32_t new_outcomes_ = 0;
  bool drifted_ = false;
  TimeNs next_training_ns_ = INT64_MIN;
  TimeNs between_ns_ = kFirstBetweenNs;
  std::array<std::array<DriftTest, kIoKinds>, kTiers> drift_{};

  // Reactor to trainer: one writer, one reader.
  std::unique_ptr<DispatchOutcome[]> ring_;
  std::atomic<uint64_t> written_ = 0;
  std::atomic<uint64_t> taken_ = 0;
  std::atomic<uint32_t> wakes_ = 0;
  std::atomic<bool> training_wanted_ = false;
  std::atomic<uint64_t> trainings_ = 0;

  // The trainer's: the oldest are overwritten, of each kind on each tier by themselves, so that the
  // tier that is seldom chosen stays known.
  struct Kept {
    std::vector<DispatchOutcome> outcomes;
    size_t next = 0;
  };
  std::array<std::array<Kept, kIoKinds>, kTiers> kept_;
  TollMeter toll_meter_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace latte
