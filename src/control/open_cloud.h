// Opening a disk's cloud volume, whatever kind it is of.
//
// Thread rule: blocks; any thread but the engine's.
#pragma once

#include <memory>

#include "base/result.h"
#include "control/cloud_address.h"
#include "control/config.h"
#include "control/engine_thread.h"
#include "device/cloud_volume.h"

namespace latte {

/// `holder`: this host's pool; nil if it is not known, as for a check. `disk` outlives the volume.
/// Errors: as FileCloudVolume::open(), open_rbd_volume() and open_nbd_volume().
Result<std::unique_ptr<CloudVolume>> open_cloud_volume(EngineThread& engine, const DiskConfig& disk,
                                                       bool read_only, const Uuid& holder);

/// Whether there is a superblock, as far as can be seen without rights to more.
bool cloud_volume_exists(const CloudAddress& address);

}  // namespace latte
