// RbdSnapshots: a disk's snapshots on RBD: one of each image, of the same name, and an object
// latte_snapshot.ID.NAME with the superblock, that says whether they are complete; ID is the base
// image's. An image's snapshot without that object is somebody else's and left alone.
//
// Thread rule: one reactor; what blocks runs aside. Limits: each call waits kRbdAnswerNs at most;
// what was begun may then still be done, and goes with the next snapshot of the name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/cloud_snapshots.h"
#include "device/rbd_address.h"
#include "device/rbd_images.h"
#include "runtime/uring_reactor.h"

namespace latte {

class RbdSnapshots final : public CloudSnapshots {
 public:
  RbdSnapshots(UringReactor& reactor, RbdAddress address, std::shared_ptr<RbdImages> images)
      : reactor_(reactor), address_(std::move(address)), images_(std::move(images)) {}

  Task<Result<void>> prepare(std::string name, const SuperBytes& super) override;
  Task<Result<void>> take(std::string name) override;
  Task<Result<void>> finish(std::string name) override;
  Task<Result<std::vector<CloudSnapshot>>> list() override;
  Task<Result<void>> remove(std::string name) override;
  /// Without a limit of time.
  Task<Result<void>> roll_back(std::string name, RollBackProgress progress) override;
  /// Lets go of the images; nothing is under way.
  void close() { images_.reset(); }

 private:
  UringReactor& reactor_;
  const RbdAddress address_;
  std::shared_ptr<RbdImages> images_;  // also of the calls that are still waiting
};

}  // namespace latte
