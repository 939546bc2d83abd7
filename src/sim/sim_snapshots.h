// SimSnapshots: the snapshots of a simulated cloud volume, through one handle. Base and log are
// copied one after the other, with time in between, as a service does that knows them as two
// images.
//
// Thread rule: one world.
#pragma once

#include <string>
#include <vector>

#include "device/cloud_snapshots.h"
#include "sim/page_store.h"
#include "sim/sim_world.h"

namespace latte::sim {

class SimCloudVolume;

/// What the service keeps: contents as reads would have shown them.
struct SimSnapshot {
  std::vector<PageRef> base;
  std::vector<PageRef> log;
  SuperBytes super{};
  bool complete = false;
};

class SimSnapshots final : public CloudSnapshots {
 public:
  SimSnapshots(SimCloudVolume& volume, SimReactor& reactor) : volume_(volume), reactor_(reactor) {}

  Task<Result<void>> prepare(std::string name, const SuperBytes& super) override;
  Task<Result<void>> take(std::string name) override;
  Task<Result<void>> finish(std::string name) override;
  Task<Result<std::vector<CloudSnapshot>>> list() override;
  Task<Result<void>> remove(std::string name) override;
  Task<Result<void>> roll_back(std::string name, RollBackProgress progress) override;

 private:
  /// The time that a request to the service takes, and its troubles. Errors: io.
  Task<Result<void>> ask();
  /// Likewise, of what only the owner may do. Errors: busy (fenced), too.
  Task<Result<void>> ask_as_owner();

  SimCloudVolume& volume_;
  SimReactor& reactor_;
};

}  // namespace latte::sim
