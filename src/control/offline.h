// What is done to pool and cloud without a server: check, take-over, drain.
//
// Thread rule: blocks; call it from the main thread. All lock the pool first, so a running server
// is an error (busy, naming its process).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "control/config.h"
#include "disk/host.h"

namespace latte {

struct CheckReport {
  std::vector<Finding> findings;
  std::vector<Error> not_run;  ///< what could not be looked at

  bool damaged() const;
};

/// Whether the configuration has the disk. Errors: not_found (names those it has).
Result<void> check_disk(const Config& config, const std::string& disk_name);
/// As check_disk(), and that the disk has a cloud side. Errors: invalid too (a local disk).
Result<void> check_hybrid(const Config& config, const std::string& disk_name);
/// Verifies everything that can be opened; progress goes to stderr.
CheckReport check_offline(const Config& config);
/// Makes this host the owner of a disk. Returns a sentence about what was found. Errors: not_found
/// (no such disk or pool), busy, as Host::take_over().
/// `force_disk_id`: see Node::take_over(); empty: no force.
Result<std::string> take_over_offline(const Config& config, const std::string& disk_name,
                                      const std::string& force_disk_id = {});
/// Ships what this host's pool has of a disk and gives the disk up. Returns a sentence about it.
/// Errors: busy, not_found, as Host::attach() and Host::hand_over().
Result<std::string> hand_over_offline(const Config& config, const std::string& disk_name);
/// Another size of a disk, of either kind. Returns a sentence about it. Errors: busy, not_found, as
/// Host::resize() and VolumeSpace::resize().
Result<std::string> resize_offline(const Config& config, const std::string& disk_name,
                                   uint64_t size_bytes, bool force);
/// Everything of the disk (all with a cloud side if empty; else the configuration has it) into its
/// base; progress goes to stderr. Errors: busy, not_found, as Host::attach() and Host::drain().
Result<void> drain_offline(const Config& config, const std::string& disk_name);

}  // namespace latte
