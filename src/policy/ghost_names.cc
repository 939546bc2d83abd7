#include "policy/ghost_names.h"

#include <algorithm>

namespace latte::policy {

GhostNames::GhostNames(uint64_t names)
    : buckets_(std::max<uint64_t>(1, (names + kBucketNames - 1) / kBucketNames)) {}

GhostNames::Place GhostNames::place_of(uint64_t key) {
  // The finaliser of MurmurHash3: every bit of the key moves every bit of the hash.
  key = (key ^ (key >> 33)) * 0xff51afd7ed558ccdull;
  key = (key ^ (key >> 33)) * 0xc4ceb9fe1a85ec53ull;
  key ^= key >> 33;
  const uint64_t index = ((key >> 32) * buckets_.size()) >> 32;
  return Place{buckets_[index], static_cast<uint16_t>(std::max<uint64_t>(1, key & 0xffff))};
}

void GhostNames::keep(uint64_t key) {
  const Place place = place_of(key);
  place.bucket.names[place.bucket.hand] = place.name;
  place.bucket.hand = static_cast<uint16_t>((place.bucket.hand + 1) % kBucketNames);
}

bool GhostNames::take(uint64_t key) {
  const Place place = place_of(key);
  for (uint16_t& name : place.bucket.names) {
    if (name != place.name) continue;
    name = 0;
    return true;
  }
  return false;
}

}  // namespace latte::policy
