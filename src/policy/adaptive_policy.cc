#include "policy/adaptive_policy.h"

#include <algorithm>

namespace latte::policy {
namespace {

uint64_t sample_share_for(uint64_t capacity_blocks, uint64_t wanted, uint64_t least) {
  return std::clamp<uint64_t>(capacity_blocks / least, 1, wanted);
}

}  // namespace

AdaptivePolicy::AdaptivePolicy(const CacheOptions& options)
    : history_(options),
      sample_share_(sample_share_for(options.capacity_blocks, kSampleShare, kLeastSample)),
      hash_key_(Random(options.seed).next() | 1),
      cache_(history_, options.capacity_blocks, options.block_count, kFirstMode, options.seed),
      look_every_(std::max<uint64_t>(options.capacity_blocks / kLooks, 1)),
      until_look_(look_every_) {
  const uint64_t capacity = std::max<uint64_t>(options.capacity_blocks / sample_share_, 1);
  for (size_t mode = 0; mode < small_.size(); ++mode)
    small_[mode] = std::make_unique<AdaptiveCache>(history_, capacity, options.block_count, mode,
                                                   options.seed + 1 + mode);
}

uint64_t AdaptivePolicy::memory_bytes() const {
  uint64_t bytes = history_.memory_bytes() + cache_.memory_bytes();
  for (const auto& small : small_) bytes += small->memory_bytes();
  return bytes;
}

bool AdaptivePolicy::touch(const CacheAccess& access) {
  history_.observe(access);
  const bool sampled = (access.block * hash_key_ >> 32) % sample_share_ == 0;
  if (sampled) sample(access);
  if (--until_look_ == 0) {
    until_look_ = look_every_;
    if (modes_.look()) cache_.set_mode(modes_.best());
  }
  const AdaptiveCache::Outcome outcome = cache_.access(access);
  for (uint32_t i = 0; i < outcome.admitted; ++i) count_admitted();
  for (const BlockId dropped : cache_.dropped())
    if (!cache_.knows(dropped)) history_.forget(dropped);
  return outcome.hit;
}

void AdaptivePolicy::sample(const CacheAccess& access) {
  for (size_t mode = 0; mode < small_.size(); ++mode)
    if (small_[mode]->access(access).hit && !access.is_write) modes_.add(mode, 1);
}

}  // namespace latte::policy
