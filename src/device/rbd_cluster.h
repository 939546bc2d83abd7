// RbdCluster: a connection to a Ceph cluster and a pool of it, with the settings that Latte's
// promises need; and what its errors mean to an operator.
//
// Thread rule: any one thread at a time. All calls block, connect() at most kConnectS.
#pragma once

#include <optional>
#include <rados/librados.hpp>
#include <rbd/librbd.hpp>
#include <string>

#include "base/result.h"
#include "device/rbd_address.h"
#include "device/super_envelope.h"

namespace latte {

/// "cannot <action> <name>: <reason>; <remedy>", with the Errc that fits `error` (negative errno).
Error rbd_error(const RbdAddress& address, const std::string& action, int error);
/// What was asked has not been answered within kRbdAnswerNs; it may still take effect.
Error rbd_no_answer(const RbdAddress& address);

/// What the cluster keeps of a snapshot beside the images' own.
struct RbdSnapshotRecord {
  StoredSuper super;
  bool complete = false;
  int64_t taken_ns = 0;  ///< wall clock, since 1970
};

class RbdCluster {
 public:
  static constexpr int kConnectS = 10;
  /// A client on the blocklist must stay there for longer than a stopped process may sleep: when
  /// its entry expires, what it still has under way is let through. A year.
  static constexpr uint64_t kFenceS = 365 * 24 * 3600;

  explicit RbdCluster(RbdAddress address) : address_(std::move(address)) {}
  ~RbdCluster();
  RbdCluster(const RbdCluster&) = delete;
  RbdCluster& operator=(const RbdCluster&) = delete;

  /// Errors: not_found (configuration file, pool), io (no answer, refused).
  Result<void> connect();
  /// Ends the connection and the library's threads; images were closed before.
  void close();
  const RbdAddress& address() const { return address_; }
  librados::IoCtx& io() { return io_; }

  /// Keeps a client that is on the blocklist there for kFenceS; librbd itself would put it there
  /// for the monitors' default, an hour, and can't say otherwise (Ceph 16). Errors: io.
  Result<void> extend_fence(const std::string& client);
  /// The superblock of the disk whose base image has this id. Errors: not_found, damaged, io, busy
  /// (fenced).
  Result<StoredSuper> read_super(const std::string& image_id);
  /// Writes it if the present one has the `expected` generation; 0: if there is none. Errors: busy
  /// (another one is there), io.
  Result<void> swap_super(const std::string& image_id, uint64_t expected, const StoredSuper& next);
  /// Empty if there is none. Errors: damaged, io.
  Result<std::optional<RbdSnapshotRecord>> read_snapshot(const std::string& image_id,
                                                         const std::string& name);
  /// Errors: io, no_space.
  Result<void> write_snapshot(const std::string& image_id, const std::string& name,
                              const RbdSnapshotRecord& record);
  Result<void> remove_snapshot(const std::string& image_id, const std::string& name);
  /// Notes that the image of this name is being made as a clone, before there is an image that
  /// could be marked. Errors: io, no_space.
  Result<void> note_clone(const std::string& image);
  /// Errors: io.
  Result<bool> clone_noted(const std::string& image);
  Result<void> forget_clone(const std::string& image);

 private:
  Result<void> configure();

  const RbdAddress address_;
  librados::Rados rados_;
  librados::IoCtx io_;
  bool made_ = false;
};

}  // namespace latte
