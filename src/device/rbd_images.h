// RbdImages: a disk's two images, opened, and who may write to them. The blocking half of an RBD
// cloud volume.
//
// Thread rule: any thread; one call waits for the other. All block, for ever if the cluster does:
// whoever must not wait for ever runs them aside (start_aside.h) and lets the object live as long
// as they do. No lock of this class is taken for I/O.
#pragma once

#include <future>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/cloud_snapshots.h"
#include "device/rbd_cluster.h"
#include "device/rbd_device.h"
#include "device/super_envelope.h"

namespace latte {

class RbdImages {
 public:
  RbdImages(UringReactor& reactor, const RbdAddress& address);
  /// Gives its locks back and closes. The devices must be detached.
  ~RbdImages();

  /// Errors: as open_rbd_volume().
  Result<void> open(bool read_only);
  RbdDevice& base() { return base_; }
  RbdDevice& log() { return log_; }

  Result<StoredSuper> read_super();
  /// CloudVolume::swap_super(): see rbd_cloud_volume.h.
  Result<void> swap_super(uint64_t expected_generation, const StoredSuper& next);
  /// Makes the base image at least so long. The device has to be told (RbdDevice::opened()).
  Result<void> grow_base(uint64_t size_bytes);
  /// Unlocks both images; nothing may be under way.
  Result<void> unlock();

  // rbd_snapshots.cc: CloudSnapshots' steps. All but the list are the owner's.
  Result<void> prepare_snapshot(const std::string& name, const SuperBytes& super);
  Result<void> take_snapshot(const std::string& name);
  Result<void> finish_snapshot(const std::string& name);
  Result<void> remove_snapshot(const std::string& name);
  Result<std::vector<CloudSnapshot>> list_snapshots();
  Result<void> roll_back(const std::string& name, const CloudSnapshots::RollBackProgress& progress);

 private:
  Result<void> open_image(RbdDevice& device, const std::string& image_name, bool read_only);
  Result<void> check_settings(RbdDevice& device);
  using Clients = std::list<std::string>;
  Result<void> lock_both(bool may_break);
  Result<Clients> fence_owners();
  void extend_fences(const Clients& fenced);
  Result<Clients> break_lock(RbdDevice& device);
  Result<void> lock(RbdDevice& device);
  Result<void> expect_owner() const;
  Error no_snapshot(const std::string& name) const;
  Result<std::optional<RbdSnapshotRecord>> owned_record(const std::string& name);
  Result<void> drop_image_snapshot(RbdDevice& device, const std::string& name);

  std::mutex mutex_;  // one call at a time
  RbdCluster cluster_;
  librbd::RBD rbd_;
  std::string id_;  // the base image's
  bool locked_ = false;
  std::future<void> extension_;  // of the fences, on a thread of its own
  RbdDevice base_;
  RbdDevice log_;
};

}  // namespace latte
