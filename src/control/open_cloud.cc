#include "control/open_cloud.h"

#include <sys/stat.h>

#include <utility>

#include "base/check.h"
#include "device/file_cloud_volume.h"
#include "device/nbd_cloud_volume.h"
#include "device/rbd_cloud_volume.h"

namespace latte {

Result<std::unique_ptr<CloudVolume>> open_cloud_volume(EngineThread& engine, const DiskConfig& disk,
                                                       bool read_only, const Uuid& holder) {
  LATTE_CHECK(disk.cloud.kind != CloudKind::none);
  // Here and not on the engine's thread: a cluster may take its time.
  if (disk.cloud.kind == CloudKind::rbd)
    return open_rbd_volume(engine.reactor(), disk.cloud.rbd, RbdOptions{read_only});
  if (disk.cloud.kind == CloudKind::nbd) {
    NbdVolumeOptions options;
    options.base_bytes = read_only ? 0 : disk.options.size_bytes;
    options.holder = holder;
    options.read_only = read_only;
    auto opened =
        engine.call([&] { return open_nbd_volume(engine.reactor(), disk.cloud.nbd, options); });
    if (!opened) return opened.error();
    return std::unique_ptr<CloudVolume>(opened.take());
  }
  FileCloudVolume::Options options;
  options.read_only = read_only;
  auto opened = engine.call(
      [&] { return FileCloudVolume::open(engine.reactor(), disk.cloud.directory, options); });
  if (!opened) return opened.error();
  return std::unique_ptr<CloudVolume>(opened.take());
}

bool cloud_volume_exists(const CloudAddress& address) {
  struct stat info {};
  switch (address.kind) {
    case CloudKind::file:
      return ::stat((address.directory + "/super").c_str(), &info) == 0;
    case CloudKind::rbd:
      return rbd_volume_exists(address.rbd);
    case CloudKind::nbd: {
      const auto found = nbd_volume_exists(address.nbd);
      return found && found.value();
    }
    case CloudKind::none:
      break;
  }
  return false;
}

}  // namespace latte
