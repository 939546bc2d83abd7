// The cloud volume's superblock as the engine handles it: filled in, written, and asked for the
// owner.
//
// Thread rule: one reactor. Limits: none.
#pragma once

#include <optional>
#include <string>

#include "base/uuid.h"
#include "device/cloud_volume.h"
#include "log/log_format.h"
#include "runtime/task.h"

namespace latte {

/// The name of a disk as superblocks hold it, padded with zeroes. At most kMaxDiskNameBytes count.
void set_name(char (&to)[log::kNameBytes], const std::string& name);

/// A sealed superblock as it goes to the volume.
SuperBytes bytes_of(const log::CloudSuper& super);
/// Seals `super` (its CRC covers what it says now), and bytes_of() it.
SuperBytes seal_to_bytes(log::CloudSuper& super);

/// What a cloud volume said when it was asked whose it is.
struct CloudOwner {
  bool answered = false;                 ///< it could be read at all
  std::optional<log::CloudSuper> super;  ///< empty, too, if what was read is no superblock

  bool is(const Uuid& pool_id) const { return super && super->owner_pool_id == pool_id; }
};
Task<CloudOwner> read_owner(CloudVolume& cloud);

}  // namespace latte
