#include "disk/staging.h"

#include <cstring>

#include "base/check.h"

namespace latte {

const std::byte* Staging::read(Owner& owner, Lba lba) {
  const auto found = places_.find(Key{&owner, lba.value});
  if (found == places_.end()) return nullptr;
  ++slots_[found->second].reads;
  return data_[found->second].data();
}

void Staging::put(Owner& owner, Lba lba, std::span<const std::byte> data) {
  LATTE_CHECK(on() && data.size() == kBlockBytes);
  const auto [place, is_new] = places_.try_emplace(Key{&owner, lba.value}, hand_);
  if (!is_new) return;
  Slot& slot = slots_[hand_];
  if (slot.owner != nullptr) {
    places_.erase(Key{slot.owner, slot.lba.value});
    slot.owner->unstaged(slot.lba, data_[hand_], slot.reads);
  }
  slot = Slot{&owner, lba, 0};
  std::memcpy(data_[hand_].data(), data.data(), kBlockBytes);
  hand_ = (hand_ + 1) % slots_.size();
}

void Staging::drop(Owner& owner, Lba lba, uint64_t count) {
  if (places_.empty()) return;
  if (count > slots_.size()) {
    for (Slot& slot : slots_)
      if (slot.owner == &owner && overlap(slot.lba, 1, lba, count)) forget(slot);
    return;
  }
  for (uint64_t i = 0; i < count; ++i) {
    const auto found = places_.find(Key{&owner, lba.value + i});
    if (found != places_.end()) forget(slots_[found->second]);
  }
}

void Staging::forget(Slot& slot) {
  places_.erase(Key{slot.owner, slot.lba.value});
  slot = Slot{};
}

}  // namespace latte
