// The cloud volume's part of `latte create`: a directory, or images, for a disk that is not there
// yet.
//
// Invariant: what is something else than what an interrupted create left is left alone.
// Thread rule: blocks; call it from the main thread.
#pragma once

#include "base/result.h"
#include "control/config.h"
#include "device/rbd_cloud_volume.h"

namespace latte {

/// Makes the disk's cloud volume. Errors: exists (something else is there, or the data of a disk
/// whose superblock is gone), as FileCloudVolume::create() and create_rbd_volume().
Result<VolumeFound> make_volume(const DiskConfig& disk);

}  // namespace latte
