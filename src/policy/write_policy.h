// Where a write goes: the local log or the cloud log. Policies are pure: they see numbers and
// return decisions, do no I/O and keep no references.
#pragma once

#include <cstdint>

namespace latte {

enum class Tier : uint8_t { local, cloud };
inline Tier other_tier(Tier tier) { return tier == Tier::local ? Tier::cloud : Tier::local; }

/// What a policy may know about a write and the state of both tiers.
struct WriteContext {
  uint64_t bytes = 0;
  bool local_has_room = false;  ///< the pool can take it now
  bool local_failed = false;
  bool cloud_has_room = false;  ///< the cloud log can take it now without blocking the shipper
};

class WritePolicy {
 public:
  virtual ~WritePolicy() = default;
  /// The tier to use. Only a tier with room may be chosen; if neither has any, `local` (the caller
  /// waits for room).
  virtual Tier choose(const WriteContext& context) = 0;
};

/// Local while the pool has room, else the cloud.
class PreferLocal final : public WritePolicy {
 public:
  Tier choose(const WriteContext& context) override {
    if (context.local_failed) return Tier::cloud;
    if (context.local_has_room) return Tier::local;
    return context.cloud_has_room ? Tier::cloud : Tier::local;
  }
};

}  // namespace latte
