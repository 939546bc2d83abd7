#include "policy/shadow_log.h"

#include <algorithm>

#include "base/check.h"

namespace latte::policy {

ShadowLog::ShadowLog(uint64_t blocks, uint8_t bar)
    : bar_(bar), blocks_(&memory_), log_(blocks), names_(blocks) {
  LATTE_CHECK(blocks > 0 && bar > 0 && bar <= kMostReads);
  blocks_.reserve(2 * blocks);
}

bool ShadowLog::read(uint64_t key) {
  const auto found = blocks_.find(key);
  if (found == blocks_.end()) {
    keep_name(key);
    return false;
  }
  Block& block = found->second;
  if (!block.cached) {
    append(key);
    return false;
  }
  block.reads = std::min<uint8_t>(block.reads + 1, kMostReads);
  return true;
}

void ShadowLog::write(uint64_t key) { append(key); }

uint64_t ShadowLog::take_rewritten() { return std::exchange(rewritten_, 0); }

uint64_t ShadowLog::memory_bytes() const {
  constexpr uint64_t kNodeBytes = sizeof(Blocks::value_type) + 2 * sizeof(void*);
  return blocks_.size() * kNodeBytes + blocks_.bucket_count() * sizeof(void*) +
         (log_.keys.size() + names_.keys.size()) * sizeof(uint64_t);
}

void ShadowLog::append(uint64_t key) {
  // What comes to the front goes to the back again while it was read enough; each round takes one.
  while (log_.full()) {
    const uint64_t front = log_.front();
    const uint64_t oldest = log_.at(front);
    const auto found = blocks_.find(oldest);
    const bool live =
        found != blocks_.end() && found->second.cached && found->second.place == front;
    if (live && oldest != key && found->second.reads >= bar_) {
      --found->second.reads;
      found->second.place = log_.end;
      log_.at(log_.end++) = oldest;
      ++rewritten_;
      continue;
    }
    if (live && oldest != key) blocks_.erase(found);
    break;
  }
  blocks_[key] = Block{log_.end, 0, true};
  log_.at(log_.end++) = key;
}

void ShadowLog::keep_name(uint64_t key) {
  if (names_.full()) {
    const uint64_t front = names_.front();
    const auto found = blocks_.find(names_.at(front));
    const bool live =
        found != blocks_.end() && !found->second.cached && found->second.place == front;
    if (live) blocks_.erase(found);
  }
  blocks_[key] = Block{names_.end, 0, false};
  names_.at(names_.end++) = key;
}

}  // namespace latte::policy
