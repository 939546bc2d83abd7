// SlotPool: state for requests under way, made when there were never so many of them before, and
// used again. A Slot has a member `Slot* next_free`, which is the pool's.
//
// Thread rule: one reactor's. Memory grows to the most ever under way together.
#pragma once

#include <memory>
#include <vector>

namespace latte {

template <typename Slot>
class SlotPool {
 public:
  /// A slot that nobody has. `make(slot)` is called when it is a new one.
  template <typename Make>
  Slot& take(Make&& make) {
    if (free_ != nullptr) {
      Slot& slot = *free_;
      free_ = slot.next_free;
      return slot;
    }
    slots_.push_back(std::make_unique<Slot>());
    make(*slots_.back());
    return *slots_.back();
  }
  void give_back(Slot& slot) {
    slot.next_free = free_;
    free_ = &slot;
  }

 private:
  std::vector<std::unique_ptr<Slot>> slots_;
  Slot* free_ = nullptr;
};

}  // namespace latte
