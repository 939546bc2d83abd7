// WeightsSlot: the model's weights, written by the trainer's thread and read by the reactor,
// without a lock: a sequence number that is odd while they are being written.
//
// Invariants: a reader takes a whole set or none; a writer never waits. Whoever sees one word of a
// new set (acquire) also sees that the version became odd before it was stored (release).
// Thread rule: one writer at a time, one reader.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "policy/svm_model.h"

namespace latte {

class WeightsSlot {
 public:
  void publish(const SvmWeights& weights) {
    std::array<uint64_t, kWords> words;
    std::memcpy(words.data(), weights.weights.data(), sizeof(weights));
    const uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    version_.store(version + 2, std::memory_order_release);
  }

  /// Takes weights newer than version `seen` into `weights` and updates `seen`. False if there are
  /// none, or if they are being written right now: the next call gets them.
  bool take(SvmWeights& weights, uint64_t& seen) const {
    const uint64_t version = version_.load(std::memory_order_acquire);
    if (version == seen || version % 2 != 0) return false;
    std::array<uint64_t, kWords> words;
    for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_acquire);
    if (version_.load(std::memory_order_relaxed) != version) return false;
    std::memcpy(weights.weights.data(), words.data(), sizeof(weights));
    seen = version;
    return true;
  }

 private:
  static constexpr size_t kWords = sizeof(SvmWeights) / sizeof(uint64_t);
  std::atomic<uint64_t> version_ = 0;
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace latte
