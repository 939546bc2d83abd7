// A cloud volume on an NBD server: two of its exports, base and cloud log. What it does about
// connections that break is SessionDevice's, what about other owners LeasedVolume's.
// docs/internals/nbd-volume.md
//
// Thread rule: one reactor.
#pragma once

#include <memory>

#include "base/result.h"
#include "device/leased_volume.h"
#include "device/nbd_address.h"
#include "runtime/uring_reactor.h"

namespace latte {

struct NbdVolumeOptions {
  uint64_t base_bytes = 0;  ///< least size of the base; 0: any
  Uuid holder;              ///< see Lease::Options
  bool force_unfenced = false;
  bool read_only = false;
};

/// Connects to both exports. Errors: io (no server), not_found (no such export), invalid (sizes,
/// block sizes, read-only), unsupported (no flush). `address` outlives the volume.
Task<Result<std::unique_ptr<LeasedVolume>>> open_nbd_volume(UringReactor& reactor,
                                                            const NbdAddress& address,
                                                            NbdVolumeOptions options);

/// Whether there is a disk's superblock. Blocks. Errors: as open_nbd_volume(), damaged (something
/// else is in the log's head), unsupported.
Result<bool> nbd_volume_exists(const NbdAddress& address);

/// Whether the exports may become a new disk: both of the sizes that are asked for, and nothing but
/// zeroes in them. Asks the server which parts are empty and reads the rest, so it may take long on
/// servers that can't tell. Blocks. Errors: exists (a Latte disk, or something else is there), as
/// open_nbd_volume().
Result<void> expect_vacant_nbd(const NbdAddress& address, uint64_t base_bytes, uint64_t log_bytes);

}  // namespace latte
