#include "frontend/nbd_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace latte::nbd {
namespace {

constexpr uint32_t kMaxMinimumBlockBytes = 1u << 16;  // the specification's

}  // namespace

Export::Export(std::string name, std::string description, BlockDevice& device)
    : name_(std::move(name)), description_(std::move(description)), device_(&device) {
  LATTE_CHECK(std::has_single_bit(minimum_block_bytes()));
  LATTE_CHECK(minimum_block_bytes() <= kMaxMinimumBlockBytes);
}

uint32_t Export::preferred_block_bytes() const {
  return std::max(kBlockBytes, minimum_block_bytes());
}

uint32_t Export::maximum_payload_bytes() const {
  const uint64_t device_limit = device_->info().max_request_bytes;
  return static_cast<uint32_t>(std::min<uint64_t>(device_limit, NBD_MAX_PAYLOAD));
}

uint16_t Export::transmission_flags(bool structured_replies) const {
  // MULTI_CONN: all connections share the one device, and its flush covers every completed write.
  uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
                   NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_CAN_MULTI_CONN;
  if (device_->info().can_discard) flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_FAST_ZERO;
  if (structured_replies) flags |= NBD_FLAG_SEND_DF;
  return flags;
}

NbdError Export::check_flags(const Request& request, const Agreed& agreed) const {
  const bool discards = device_->info().can_discard;
  uint16_t allowed = NBD_CMD_FLAG_FUA;  // on every command: some clients set it on reads
  switch (request.type) {
    case NBD_CMD_READ:
      if (agreed.structured_replies) allowed |= NBD_CMD_FLAG_DF;
      break;
    case NBD_CMD_WRITE:
    case NBD_CMD_FLUSH:
      break;
    case NBD_CMD_TRIM:
      if (!discards) return NbdError::NBD_EINVAL;
      break;
    case NBD_CMD_WRITE_ZEROES:
      allowed |= NBD_CMD_FLAG_NO_HOLE;
      if (discards) allowed |= NBD_CMD_FLAG_FAST_ZERO;
      break;
    case NBD_CMD_BLOCK_STATUS:
      if (!agreed.allocation_context) return NbdError::NBD_EINVAL;
      allowed |= NBD_CMD_FLAG_REQ_ONE;
      break;
    default:
      return NbdError::NBD_EINVAL;
  }
  return (request.flags & ~allowed) == 0 ? NbdError::none : NbdError::NBD_EINVAL;
}

NbdError Export::check(const Request& request, const Agreed& agreed) const {
  LATTE_CHECK(request.type != NBD_CMD_DISC);
  const NbdError flags_error = check_flags(request, agreed);
  if (flags_error != NbdError::none) return flags_error;
  if (request.type == NBD_CMD_FLUSH) {
    const bool reserved_clear = request.offset == 0 && request.length == 0;
    return reserved_clear ? NbdError::none : NbdError::NBD_EINVAL;
  }
  const uint32_t unit = minimum_block_bytes();
  if (request.length == 0 || request.length % unit != 0 || request.offset % unit != 0)
    return NbdError::NBD_EINVAL;
  const bool reads = request.type == NBD_CMD_READ;
  const bool writes = request.type == NBD_CMD_WRITE || request.type == NBD_CMD_WRITE_ZEROES;
  if (!range_within(request.offset, request.length, size_bytes()))
    return writes ? NbdError::NBD_ENOSPC : NbdError::NBD_EINVAL;
  if (!(reads || request.type == NBD_CMD_WRITE) || request.length <= maximum_payload_bytes())
    return NbdError::none;
  // EOVERFLOW tells a client to ask for less; the specification keeps it for clients that know DF.
  return reads && agreed.structured_replies ? NbdError::NBD_EOVERFLOW : NbdError::NBD_EINVAL;
}

Result<void> ExportTable::add(std::string name, std::string description, BlockDevice& device) {
  if (name.empty() || !valid_string(name) || !valid_string(description)) {
    return Error{Errc::invalid,
                 fmt::format("NBD export '{}': the name must have 1 to {} bytes and no NUL; rename "
                             "the disk",
                             name, NBD_MAX_STRING)};
  }
  const DeviceInfo& info = device.info();
  if (!std::has_single_bit(info.alignment_bytes) || info.alignment_bytes > kMaxMinimumBlockBytes ||
      info.max_request_bytes < std::max(kBlockBytes, info.alignment_bytes)) {
    return Error{
        Errc::invalid,
        fmt::format("NBD export '{}': a device with alignment {} and at most {} bytes a "
                    "request cannot be served; the alignment must be a power of two up "
                    "to {} and a request may not be shorter than a block",
                    name, info.alignment_bytes, info.max_request_bytes, kMaxMinimumBlockBytes)};
  }
  for (const Export& other : exports_) {
    if (other.name() != name) continue;
    return Error{Errc::exists,
                 fmt::format("NBD export '{}' is there twice; give each disk its own name", name)};
  }
  exports_.emplace_back(std::move(name), std::move(description), device);
  return {};
}

const Export* ExportTable::find(std::string_view name) const {
  if (name.empty()) return exports_.size() == 1 ? exports_.data() : nullptr;
  for (const Export& candidate : exports_)
    if (candidate.name() == name) return &candidate;
  return nullptr;
}

NbdError error_of(IoStatus status) {
  switch (status) {
    case IoStatus::ok:
      return NbdError::none;
    case IoStatus::no_space:
      return NbdError::NBD_ENOSPC;
    case IoStatus::invalid:
      return NbdError::NBD_EINVAL;
    case IoStatus::stopped:
      return NbdError::NBD_ESHUTDOWN;
    case IoStatus::io_error:
    case IoStatus::checksum:
    case IoStatus::fenced:
    case IoStatus::lost:
      return NbdError::NBD_EIO;
  }
  return NbdError::NBD_EIO;
}

}  // namespace latte::nbd
