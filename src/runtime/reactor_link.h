// ReactorLink: a one-way road from one reactor to another, for things that belong to somebody: what
// is sent is linked through itself, so nothing is allocated, copied or locked.
//
// All that is sent in a turn goes over at its end, with one atomic exchange; the receiver's mailbox
// gets a message only if it had emptied the link before, so a busy link costs neither a message nor
// a wake-up for each thing sent.
//
// Invariants:
//  1. What is sent arrives once, in the order of sending, on the receiver's thread - unless a
//     reactor is stopped before.
//  2. While something lies in the link, the receiver has a message about it, or the sender is going
//     to post one (a full mailbox is tried again every turn).
// Thread rule: send() on the sender's thread. Made and destroyed on any thread, while neither
// reactor works with it. Limits: as many as their owners have; one message in the mailbox.
#pragma once

#include <atomic>

#include "runtime/uring_reactor.h"

namespace latte {

class ReactorLink final : private TurnHook {
 public:
  /// Base of what is sent. The receiver's from send() until it was delivered.
  struct Node {
    Node* link_next = nullptr;
  };
  /// Called on the receiver's thread.
  using Deliver = void (*)(void* context, Node& node);

  ReactorLink(UringReactor& from, UringReactor& to, Deliver deliver, void* context)
      : from_(from), to_(to), deliver_(deliver), context_(context) {}
  ~ReactorLink() = default;
  ReactorLink(const ReactorLink&) = delete;
  ReactorLink& operator=(const ReactorLink&) = delete;

  void send(Node& node);

 private:
  void at_turn_end() override;
  static void receive(Reactor& reactor, void* context);

  UringReactor& from_;
  UringReactor& to_;
  const Deliver deliver_;
  void* const context_;
  Node* newest_ = nullptr;  // sent in this turn; link_next leads to the one before
  Node* oldest_ = nullptr;
  bool message_due_ = false;
  alignas(64) std::atomic<Node*> inbox_{nullptr};  // newest first
};

}  // namespace latte
