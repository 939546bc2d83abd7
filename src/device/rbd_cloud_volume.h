// RbdCloudVolume: a cloud volume in a pool of a Ceph cluster, through librbd:
//
//   image IMAGE             the base image
//   image IMAGE.log         the cloud log
//   object latte_super.ID   the superblock in its envelope (super_envelope.h); ID is the base
//   image's
//
// Two images and not one with the log behind the base, so that the base can grow, be read with
// Ceph's own tools after a drain, and lie in another pool than its log some day. The superblock is
// no part of either: rolling an image back to a snapshot must not bring an old generation back. Its
// name holds the image's id, not its name, so a new image of an old name is not taken for the disk.
//
// swap_super() locks both images exclusively, breaking the locks of whoever has them: librbd puts
// that client onto the cluster's blocklist, and no object that this client has seen since then
// takes a write of it any more. Only then the superblock is compared and swapped, in one RADOS
// operation. If it fails after that, nobody may write until a swap succeeds.
//
// Each volume is a Ceph client of its own, since a blocklist names clients: one disk's fence must
// not be that of its neighbours.
//
// Thread rule: open() and create() block, on any thread but a reactor's; the rest on the reactor's.
// Destroy it only when nothing is under way, or after UringReactor::shutdown(). Limits: what asks
// the cluster waits kAnswerNs at most; reads and writes wait for as long as the cluster takes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "device/cloud_volume.h"
#include "device/rbd_address.h"
#include "runtime/uring_reactor.h"

namespace latte {

enum class VolumeFound : uint8_t {
  made,    ///< now, or finished what a create had begun; it has no superblock yet
  exists,  ///< it has a superblock, whatever is in it
};

/// Open, connect, lock and superblock each get their answer within this, or fail.
inline constexpr TimeNs kRbdAnswerNs = 30 * kSecond;

struct RbdOptions {
  bool read_only = false;  ///< for offline checks: writes and swaps are refused
};

/// Makes the two images where they are missing. Errors: exists (an image that is no unfinished
/// disk's: left alone), invalid (sizes), not_found (pool), io, unsupported (no RBD in this build).
Result<VolumeFound> create_rbd_volume(const RbdAddress& address, uint64_t base_bytes,
                                      uint64_t log_bytes);
/// Opens what create_rbd_volume() made. Errors: not_found, invalid (no exclusive lock, settings
/// that endanger data), busy (a volume without a superblock that another client has locked), io,
/// unsupported.
Result<std::unique_ptr<CloudVolume>> open_rbd_volume(UringReactor& reactor,
                                                     const RbdAddress& address, RbdOptions options);

/// Whether the disk is there, with a superblock. False as well if that can't be known.
bool rbd_volume_exists(const RbdAddress& address);

/// True once a cluster did not let go of a connection: its threads are still there, and the process
/// must end without running destructors (std::_Exit).
bool rbd_left_hanging();

}  // namespace latte
