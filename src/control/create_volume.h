// The cloud volume's part of `latte create`: a directory for a disk that is not there yet.
//
// Invariant: a directory that has something else than an interrupted create in it is left alone.
// Thread rule: blocks; call it from the main thread.
#pragma once

#include "base/result.h"
#include "control/config.h"

namespace latte {

enum class VolumeFound : uint8_t {
  made,    ///< now, or finished what a create had begun; it has no superblock yet
  exists,  ///< it has a superblock, whatever is in it
};

/// Makes the disk's cloud directory and its files. Errors: exists (something else is there, or the
/// data of a disk whose superblock is gone), as FileCloudVolume::create().
Result<VolumeFound> make_volume(const DiskConfig& disk);

}  // namespace latte
