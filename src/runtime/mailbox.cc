#include "runtime/mailbox.h"

#include <unistd.h>

#include <cerrno>

#include "base/check.h"

namespace latte {

Mailbox::Mailbox(Reactor& reactor, int wake_fd) : reactor_(reactor), wake_fd_(wake_fd) {
  LATTE_CHECK(wake_fd >= 0);
  for (size_t i = 0; i < kCapacity; ++i) slots_[i].turn.store(i, std::memory_order_relaxed);
}

bool Mailbox::post(Message message) {
  LATTE_CHECK(message.run != nullptr);
  uint64_t position = write_position_.load(std::memory_order_relaxed);
  for (;;) {
    Slot& slot = slots_[position & (kCapacity - 1)];
    const uint64_t turn = slot.turn.load(std::memory_order_acquire);
    if (turn == position) {
      if (write_position_.compare_exchange_weak(position, position + 1,
                                                std::memory_order_relaxed)) {
        slot.message = message;
        slot.turn.store(position + 1, std::memory_order_seq_cst);
        wake();
        return true;
      }
    } else if (turn < position) {
      return false;  // the reader has not emptied this slot since the ring went round
    } else {
      position = write_position_.load(std::memory_order_relaxed);
    }
  }
}

void Mailbox::wake() {
  // The exchange lets one of many writers do the system call.
  if (!sleeping_.load(std::memory_order_seq_cst)) return;
  if (!sleeping_.exchange(false, std::memory_order_seq_cst)) return;
  const uint64_t one = 1;
  ssize_t written = 0;
  do {
    written = ::write(wake_fd_, &one, sizeof(one));
  } while (written < 0 && errno == EINTR);
  // EAGAIN: the counter is at its maximum, so the reactor is being woken anyway.
  LATTE_CHECK(written == sizeof(one) || errno == EAGAIN);
}

size_t Mailbox::drain(size_t limit) {
  size_t count = 0;
  for (; count < limit && !empty(); ++count) {
    Slot& slot = slots_[read_position_ & (kCapacity - 1)];
    const Message message = slot.message;
    slot.turn.store(read_position_ + kCapacity, std::memory_order_release);
    ++read_position_;
    message.run(reactor_, message.context);
  }
  return count;
}

bool Mailbox::empty() const {
  const Slot& slot = slots_[read_position_ & (kCapacity - 1)];
  return slot.turn.load(std::memory_order_seq_cst) != read_position_ + 1;
}

bool Mailbox::prepare_sleep() {
  sleeping_.store(true, std::memory_order_seq_cst);
  if (empty()) return true;
  end_sleep();
  return false;
}

}  // namespace latte
