// A doubly linked list threaded through its elements: no allocation, O(1) removal from anywhere.
#pragma once

#include "base/check.h"

namespace latte {

/// Base of an element. Leaving scope while linked unlinks it, so a destroyed coroutine frame never
/// leaves a dangling entry behind.
struct ListNode {
  ListNode* prev = nullptr;
  ListNode* next = nullptr;

  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }
  bool linked() const { return next != nullptr; }
  void unlink() {
    if (next == nullptr) return;
    prev->next = next;
    next->prev = prev;
    prev = next = nullptr;
  }
};

/// The list's head. T derives from ListNode. The list does not own its elements.
template <typename T>
class IntrusiveList {
 public:
  IntrusiveList() { head_.prev = head_.next = &head_; }
  ~IntrusiveList() {
    while (!empty()) front().unlink();
    head_.prev = head_.next = nullptr;
  }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next == &head_; }
  T& front() {
    LATTE_CHECK(!empty());
    return static_cast<T&>(*head_.next);
  }
  void push_back(T& element) { insert_before(head_, element); }
  void push_front(T& element) { insert_before(*head_.next, element); }
  T& pop_front() {
    T& element = front();
    element.unlink();
    return element;
  }
  /// Calls `visit(T&)` for each element; the visited element may be unlinked meanwhile.
  template <typename Visit>
  void for_each(Visit&& visit) {
    for (ListNode* node = head_.next; node != &head_;) {
      ListNode* next = node->next;
      visit(static_cast<T&>(*node));
      node = next;
    }
  }
  /// The same for who only looks; nothing may be unlinked meanwhile.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const ListNode* node = head_.next; node != &head_; node = node->next)
      visit(static_cast<const T&>(*node));
  }
  /// The first element of which `test(const T&)` is true, or null.
  template <typename Test>
  const T* find_if(Test&& test) const {
    const ListNode* node = head_.next;
    while (node != &head_ && !test(static_cast<const T&>(*node))) node = node->next;
    return node == &head_ ? nullptr : static_cast<const T*>(node);
  }
  template <typename Test>
  bool any_of(Test&& test) const {
    return find_if(test) != nullptr;
  }

 private:
  static void insert_before(ListNode& position, ListNode& element) {
    LATTE_CHECK(!element.linked());
    element.prev = position.prev;
    element.next = &position;
    position.prev->next = &element;
    position.prev = &element;
  }
  ListNode head_;
};

}  // namespace latte
