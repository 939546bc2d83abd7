// LeasedVolume: a cloud volume on two session devices, base and log, whose service can't fence:
// the superblock lies in two slots at the log's head, and a lease stands in for the fence
// (lease.h; docs/internals/leases.md says what that does and does not guarantee).
//
// Thread rule: one reactor. Destroy it after close(), or after the reactor's tasks.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "device/cloud_volume.h"
#include "device/lease.h"
#include "device/session_device.h"
#include "runtime/sync.h"

namespace latte {

class LeasedVolume final : public CloudVolume, private WriteGuard {
 public:
  struct Options {
    std::string name;
    TimeNs lease_ns = 4 * kSecond;
    Uuid holder;
    bool force_unfenced = false;  ///< take the lease even from an owner that may be alive
    bool read_only = false;
  };
  /// `log` was made with kLeasedHeadBytes of head.
  LeasedVolume(Reactor& reactor, Options options, std::unique_ptr<SessionDevice> base,
               std::unique_ptr<SessionDevice> log);

  /// Connects both. Errors: as SessionDevice::open().
  Task<Result<void>> open();
  /// Releases the lease and ends the connections. Nothing may be submitted any more.
  Task<void> close();

  const std::string& name() const override { return options_.name; }
  BlockDevice& base() override { return *base_; }
  BlockDevice& log() override { return *log_; }
  Task<Result<SuperBytes>> read_super() override;
  Task<Result<void>> swap_super(uint64_t expected_generation, uint64_t next_generation,
                                const SuperBytes& next) override;
  Task<Result<void>> release() override;

  Lease& lease() { return lease_; }
  SessionDevice& base_device() { return *base_; }
  SessionDevice& log_device() { return *log_; }

 private:
  Task<Result<LeasedSuper>> read_head();
  Task<Result<LeasedSuper>> expect(uint64_t generation);
  Task<Result<void>> swap_leased(uint64_t expected_generation, uint64_t next_generation,
                                 const SuperBytes& next);
  Task<Result<void>> take_lease(uint64_t generation);
  Task<Result<void>> write_super(const LeasedSuper& super);
  Task<IoStatus> check_generation();
  Error io_error(const char* what, IoStatus status) const;
  Error lost_lease() const;
  /// WriteGuard: the lease's; and who formats a volume that has no superblock yet gets it.
  Task<IoStatus> confirm() override;
  bool holds() const override { return lease_.holds(); }

  Reactor& reactor_;
  const Options options_;
  std::unique_ptr<SessionDevice> base_;
  std::unique_ptr<SessionDevice> log_;
  Lease lease_;
  // As whose owner it writes: this generation, or the next one if a swap's outcome is not known.
  uint64_t generation_ = 0;
  uint64_t next_generation_ = 0;
  uint64_t claims_checked_ = 0;  // the superblock was read after that many claims of the lease
  bool acquiring_ = false;
  WaitQueue acquired_;
};

}  // namespace latte
