// Making the images of a new disk out of a snapshot of another one, in two steps: what lies between
// them - the cloned log goes into the cloned base - is the engine's.
//
// A base that is being cloned is marked (rbd_create.h), so that nobody takes it for a disk, and
// what an interrupted clone left is known. Thread rule: blocks, kRbdAnswerNs at most each; any
// thread.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "device/cloud_volume.h"
#include "device/rbd_address.h"

namespace latte {

/// Makes both images of `to` as clones of the snapshot, after what an interrupted clone left there;
/// returns the superblock as it was. They lie in one pool and share data with the snapshot.
/// `accept` sees the superblock before anything is made, on another thread. Errors: not_found
/// (disk, snapshot), exists (`to` is something else: left alone), invalid (another pool), io,
/// unsupported (no RBD in this build), and what `accept` says.
using AcceptSuper = std::function<Result<void>(const SuperBytes&)>;
Result<SuperBytes> begin_rbd_clone(const RbdAddress& from, const std::string& snapshot,
                                   const RbdAddress& to, const AcceptSuper& accept);
/// Gives it an empty log of `log_bytes`; from then on it is what create_rbd_volume() leaves. Nobody
/// may have it open. Errors: as create_rbd_volume().
Result<void> end_rbd_clone(const RbdAddress& to, uint64_t log_bytes);

}  // namespace latte
