// Mailbox: the one way into a reactor from other threads: a bounded ring of messages with many
// writers and one reader (Vyukov's bounded queue), and an eventfd that wakes a reactor that sleeps.
//
// Invariants:
//  1. A message whose post() returned true is run once, on the reactor, in the order of the posts
//     of one thread - unless the reactor is destroyed first.
//  2. Writer: publish the message, then look whether the reactor sleeps. Reader: say that it
//     sleeps, then look for messages. Both in sequentially consistent order, so one of the two sees
//     the other and no message waits beside a sleeping reactor.
// Thread rule: post() and wake() on any thread; the rest on the reactor's thread.
// Limits: kCapacity messages wait; post() refuses more.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/reactor.h"

namespace latte {

/// A function to run on the reactor. What `context` points to lives until it has run.
struct Message {
  void (*run)(Reactor& reactor, void* context) = nullptr;
  void* context = nullptr;
};

class Mailbox {
 public:
  static constexpr size_t kCapacity = 1024;

  /// `wake_fd`: an eventfd that the reactor watches; it stays the caller's.
  Mailbox(Reactor& reactor, int wake_fd);
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// Queues `message`; false if the ring is full (the caller may try again later). No system call
  /// unless the reactor sleeps.
  bool post(Message message);
  /// Makes a sleeping reactor take a turn. Safe in a signal handler.
  void wake();

  /// Runs up to `limit` messages; returns how many.
  size_t drain(size_t limit);
  bool empty() const;
  /// Announces that the reactor is about to sleep. False if there are messages: don't sleep then.
  bool prepare_sleep();
  /// Takes the announcement back after waking up.
  void end_sleep() { sleeping_.store(false, std::memory_order_seq_cst); }

 private:
  static_assert((kCapacity & (kCapacity - 1)) == 0, "slots are found by masking");
  // A slot is free for the writer of position p when turn == p, and readable when turn == p + 1.
  struct Slot {
    std::atomic<uint64_t> turn{0};
    Message message;
  };

  Reactor& reactor_;
  const int wake_fd_;
  std::array<Slot, kCapacity> slots_;
  alignas(64) std::atomic<uint64_t> write_position_{0};
  alignas(64) uint64_t read_position_ = 0;
  std::atomic<bool> sleeping_{false};
};

}  // namespace latte
