#include "runtime/reactor_link.h"

#include "base/check.h"

namespace latte {

void ReactorLink::send(Node& node) {
  LATTE_CHECK(from_.on_reactor_thread());
  node.link_next = newest_;
  if (newest_ == nullptr) oldest_ = &node;
  newest_ = &node;
  from_.arm(*this);
}

void ReactorLink::at_turn_end() {
  if (newest_ != nullptr) {
    Node* before = inbox_.load(std::memory_order_relaxed);
    do {
      oldest_->link_next = before;
    } while (!inbox_.compare_exchange_weak(before, newest_, std::memory_order_release,
                                           std::memory_order_relaxed));
    newest_ = oldest_ = nullptr;
    message_due_ |= before == nullptr;
  }
  if (!message_due_) return;
  message_due_ = !to_.mailbox().post({&receive, this});
  if (message_due_) from_.arm(*this);
}

void ReactorLink::receive(Reactor&, void* context) {
  ReactorLink& link = *static_cast<ReactorLink*>(context);
  Node* newest = link.inbox_.exchange(nullptr, std::memory_order_acquire);
  LATTE_CHECK(newest != nullptr);
  Node* oldest = nullptr;
  while (newest != nullptr) {
    Node* before = newest->link_next;
    newest->link_next = oldest;
    oldest = newest;
    newest = before;
  }
  // A node is its owner's again once it is delivered.
  while (oldest != nullptr) {
    Node& node = *oldest;
    oldest = node.link_next;
    link.deliver_(link.context_, node);
  }
}

}  // namespace latte
