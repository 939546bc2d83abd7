// ModelSlot: the model, written by the trainer's thread and read by the reactor,
// without a lock: a sequence number that is odd while it is being written.
//
// Invariants: a reader takes a whole one or none; a writer never waits. Whoever sees one word of a
// new one (acquire) also sees that the version became odd before it was stored (release).
// Thread rule: one writer at a time, one reader.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "policy/svm_model.h"

namespace latte {

class ModelSlot {
 public:
  void publish(const SvmModel& model) {
    const auto words = std::bit_cast<std::array<uint64_t, kWords>>(model);
    const uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    version_.store(version + 2, std::memory_order_release);
  }

  /// Takes a model newer than version `seen` into `model` and updates `seen`. False if there is
  /// none, or if it is being written right now: the next call gets it.
  bool take(SvmModel& model, uint64_t& seen) const {
    const uint64_t version = version_.load(std::memory_order_acquire);
    if (version == seen || version % 2 != 0) return false;
    std::array<uint64_t, kWords> words;
    for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_acquire);
    if (version_.load(std::memory_order_relaxed) != version) return false;
    model = std::bit_cast<SvmModel>(words);
    seen = version;
    return true;
  }

 private:
  static constexpr size_t kWords = sizeof(SvmModel) / sizeof(uint64_t);
  std::atomic<uint64_t> version_ = 0;
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace latte
