#include "device/rbd_cluster.h"

#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/crc32c.h"
#include "device/rbd_cloud_volume.h"

namespace latte {
namespace {

constexpr const char* kConnectText = "10";
static_assert(RbdCluster::kConnectS == 10, "kConnectText says the same");

constexpr std::array<std::pair<const char*, const char*>, 11> kSettings = {{
    // Acknowledged must be durable.
    {"rbd_cache", "false"},
    {"rbd_persistent_cache_mode", "disabled"},
    // Fencing.
    {"rbd_blocklist_on_break_lock", "true"},
    // Submitting must not block.
    {"rbd_non_blocking_aio", "true"},
    // Zeroes are zeroes, however short.
    {"rbd_skip_partial_discard", "false"},
    // An operation that was given up could still take effect, behind later ones.
    {"rados_osd_op_timeout", "0"},
    // Only what is not data has limits.
    {"rados_mon_op_timeout", kConnectText},
    {"client_mount_timeout", kConnectText},
    // What goes wrong is said by our own errors.
    {"log_to_stderr", "false"},
    {"err_to_stderr", "false"},
    // librbd needs no socket of its own for each disk.
    {"admin_socket", ""},
}};

Errc code_of(int error) {
  switch (-error) {
    case ENOENT:
      return Errc::not_found;
    case EBUSY:
    case ESHUTDOWN:
      return Errc::busy;
    case ENOSPC:
    case EDQUOT:
      return Errc::no_space;
    case EINVAL:
      return Errc::invalid;
    default:
      return Errc::io;
  }
}

std::string remedy(const RbdAddress& address, int error) {
  const std::string user = address.id.empty() ? "admin" : address.id;
  switch (-error) {
    case ENOENT:
      return "check its name";
    case EACCES:
    case EPERM:
      return fmt::format(
          "user client.{} may not do that: check its key, and its rights with `ceph auth get "
          "client.{}` (mon 'profile rbd', osd 'profile rbd pool={}')",
          user, user, address.pool);
    case ETIMEDOUT:
      return "the monitors do not answer: check mon host in Ceph's configuration, and the network";
    case ESHUTDOWN:
      return "this client was fenced: another host is taking the disk over";
    case ENOSPC:
    case EDQUOT:
      return "the cluster or the pool's quota is full; make room (`ceph df`)";
    default:
      return "check the cluster (`ceph -s`)";
  }
}

std::string super_object(const std::string& image_id) { return "latte_super." + image_id; }

std::string snapshot_object(const std::string& image_id, const std::string& name) {
  return "latte_snapshot." + image_id + "." + name;
}

std::string clone_object(const std::string& image) { return "latte_clone." + image; }

/// Follows the envelope in a snapshot's object.
struct SnapshotState {
  uint32_t complete;
  uint32_t crc;
  int64_t taken_ns;
};
constexpr size_t kSnapshotBytes = kEnvelopeBytes + sizeof(SnapshotState);

ceph::bufferlist bytes_of(const void* data, size_t count) {
  ceph::bufferlist bytes;
  bytes.append(static_cast<const char*>(data), static_cast<unsigned>(count));
  return bytes;
}

}  // namespace

Error rbd_error(const RbdAddress& address, const std::string& action, int error) {
  return Error{code_of(error), fmt::format("{}: cannot {}: {}; {}", address.to_string(), action,
                                           std::strerror(-error), remedy(address, error))};
}

Error rbd_no_answer(const RbdAddress& address) {
  return Error{Errc::io, fmt::format("{}: the cluster has not answered for {} s; see `ceph -s` (an "
                                     "OSD that is down, a monitor that hangs), then try again",
                                     address.to_string(), kRbdAnswerNs / kSecond)};
}

RbdCluster::~RbdCluster() { close(); }

void RbdCluster::close() {
  io_.close();
  if (std::exchange(made_, false)) rados_.shutdown();
}

Result<void> RbdCluster::configure() {
  const std::string user = "client." + (address_.id.empty() ? "admin" : address_.id);
  int error = rados_.init2(user.c_str(), "ceph", 0);
  if (error < 0) return rbd_error(address_, "set up a client named " + user, error);
  made_ = true;
  error = rados_.conf_read_file(address_.conf.empty() ? nullptr : address_.conf.c_str());
  if (error < 0)
    return rbd_error(address_,
                     "read Ceph's configuration " +
                         (address_.conf.empty() ? "in its usual places" : address_.conf),
                     error);
  for (const auto& [key, value] : kSettings) {
    error = rados_.conf_set(key, value);
    if (error < 0) return rbd_error(address_, fmt::format("set {} to {}", key, value), error);
  }
  return {};
}

Result<void> RbdCluster::connect() {
  const Result<void> configured = configure();
  if (!configured) return configured;
  int error = rados_.connect();
  // Without a keyring, or without the user in it, the client gives up before it asks.
  if (error == -ENOENT) error = -EACCES;
  if (error < 0) return rbd_error(address_, "connect to the cluster", error);
  error = rados_.ioctx_create(address_.pool.c_str(), io_);
  if (error < 0) return rbd_error(address_, "open the pool " + address_.pool, error);
  io_.set_pool_full_try();
  return {};
}

Result<void> RbdCluster::extend_fence(const std::string& client) {
  // A whole number, the monitors of Ceph 16 say, is no "expire".
  const std::string command =
      fmt::format(R"({{"prefix":"osd blocklist","blocklistop":"add","addr":"{}","expire":{}.0}})",
                  client, kFenceS);
  std::string said;
  const int error = rados_.mon_command(command, ceph::bufferlist(), nullptr, &said);
  if (error == 0) return {};
  Error failed = rbd_error(address_, "keep " + client + " on the cluster's blocklist", error);
  if (!said.empty()) failed.message += " (" + said + ")";
  return failed;
}

Result<StoredSuper> RbdCluster::read_super(const std::string& image_id) {
  const std::string object = super_object(image_id);
  ceph::bufferlist bytes;
  const int error = io_.read(object, bytes, kEnvelopeBytes + 1, 0);
  if (error < 0) return rbd_error(address_, "read the superblock, object " + object, error);
  const std::string raw = bytes.to_str();
  return open_envelope(std::as_bytes(std::span(raw)),
                       fmt::format("{} (object {})", address_.to_string(), object));
}

Result<void> RbdCluster::swap_super(const std::string& image_id, uint64_t expected,
                                    const StoredSuper& next) {
  librados::ObjectWriteOperation operation;
  if (expected == 0) {
    operation.create(true);
  } else {
    // The head holds magic and generation; nothing else decides.
    const Envelope present = seal_envelope(StoredSuper{expected, {}});
    operation.assert_exists();
    operation.cmpext(0, bytes_of(present.data(), kEnvelopeHeadBytes), nullptr);
  }
  operation.write_full(bytes_of(seal_envelope(next).data(), kEnvelopeBytes));
  const std::string object = super_object(image_id);
  const int error = io_.operate(object, &operation);
  // A comparison that fails is -MAX_ERRNO less the offset of the first byte that differs.
  constexpr int kMaxErrno = 4095;
  if (error == -EEXIST || error <= -kMaxErrno)
    return Error{Errc::busy,
                 fmt::format("{}: the superblock has another generation than {}: another owner was "
                             "first; read it again",
                             address_.to_string(), expected)};
  if (error < 0) return rbd_error(address_, "replace the superblock, object " + object, error);
  return {};
}

Result<std::optional<RbdSnapshotRecord>> RbdCluster::read_snapshot(const std::string& image_id,
                                                                   const std::string& name) {
  const std::string object = snapshot_object(image_id, name);
  ceph::bufferlist bytes;
  const int error = io_.read(object, bytes, kSnapshotBytes + 1, 0);
  if (error == -ENOENT) return std::optional<RbdSnapshotRecord>();
  if (error < 0) return rbd_error(address_, "read a snapshot's object " + object, error);
  const std::string raw = bytes.to_str();
  const std::string where = fmt::format("{} (object {})", address_.to_string(), object);
  SnapshotState state{};
  if (raw.size() == kSnapshotBytes) std::memcpy(&state, &raw[kEnvelopeBytes], sizeof(state));
  if (raw.size() != kSnapshotBytes || state.crc != struct_crc(state))
    return Error{Errc::damaged,
                 fmt::format("{}: it is no snapshot's; remove it (rados rm {}) and the images' "
                             "snapshots named {}, if nobody needs them",
                             where, object, name)};
  auto super = open_envelope(std::as_bytes(std::span(raw)).first(kEnvelopeBytes), where);
  if (!super) return super.error();
  return std::optional(RbdSnapshotRecord{super.take(), state.complete != 0, state.taken_ns});
}

Result<void> RbdCluster::write_snapshot(const std::string& image_id, const std::string& name,
                                        const RbdSnapshotRecord& record) {
  SnapshotState state{record.complete ? 1u : 0u, 0, record.taken_ns};
  state.crc = struct_crc(state);
  ceph::bufferlist bytes = bytes_of(seal_envelope(record.super).data(), kEnvelopeBytes);
  bytes.append(bytes_of(&state, sizeof(state)));
  const std::string object = snapshot_object(image_id, name);
  const int error = io_.write_full(object, bytes);
  if (error < 0) return rbd_error(address_, "write a snapshot's object " + object, error);
  return {};
}

Result<void> RbdCluster::remove_snapshot(const std::string& image_id, const std::string& name) {
  const std::string object = snapshot_object(image_id, name);
  const int error = io_.remove(object);
  if (error < 0 && error != -ENOENT)
    return rbd_error(address_, "remove a snapshot's object " + object, error);
  return {};
}

Result<void> RbdCluster::note_clone(const std::string& image) {
  const std::string object = clone_object(image);
  ceph::bufferlist nothing;
  const int error = io_.write_full(object, nothing);
  if (error < 0) return rbd_error(address_, "note a clone, object " + object, error);
  return {};
}

Result<bool> RbdCluster::clone_noted(const std::string& image) {
  const std::string object = clone_object(image);
  uint64_t bytes = 0;
  time_t changed = 0;
  const int error = io_.stat(object, &bytes, &changed);
  if (error < 0 && error != -ENOENT)
    return rbd_error(address_, "look for a clone's object " + object, error);
  return error >= 0;
}

Result<void> RbdCluster::forget_clone(const std::string& image) {
  const std::string object = clone_object(image);
  const int error = io_.remove(object);
  if (error < 0 && error != -ENOENT)
    return rbd_error(address_, "remove a clone's object " + object, error);
  return {};
}

}  // namespace latte
