// An export: a device under the name clients ask for, and the rules its requests keep. Pure: it
// reads the device's DeviceInfo and does no I/O.
//
// Invariants:
//  1. A request that check() lets through lies inside the device and is aligned as the device asks.
//  2. What is not in transmission_flags() is refused.
// Thread rule: the device's reactor. Limits: NBD_MAX_PAYLOAD a request.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "frontend/nbd_parser.h"
#include "frontend/nbd_protocol.h"
#include "runtime/block_device.h"

namespace latte::nbd {

/// The context id of base:allocation, the one metadata context there can be; any number will do.
inline constexpr uint32_t kAllocationContextId = 1;

/// What client and server agreed on in the handshake, beyond the export.
struct Agreed {
  bool structured_replies = false;
  bool allocation_context = false;  ///< base:allocation was selected for this export
};

class Export {
 public:
  /// `device` outlives the export.
  Export(std::string name, std::string description, BlockDevice& device);

  const std::string& name() const { return name_; }
  const std::string& description() const { return description_; }
  BlockDevice& device() const { return *device_; }
  uint64_t size_bytes() const { return device_->info().size_bytes; }
  /// Smallest unit and alignment of a request, bytes; a power of two up to 64 KiB.
  uint32_t minimum_block_bytes() const { return device_->info().alignment_bytes; }
  uint32_t preferred_block_bytes() const;
  /// Longest read or write, bytes.
  uint32_t maximum_payload_bytes() const;
  uint16_t transmission_flags(bool structured_replies) const;

  /// How the server answers `request` without asking the device: an error, or none if it may run.
  /// Not for NBD_CMD_DISC, which has no answer.
  NbdError check(const Request& request, const Agreed& agreed) const;

 private:
  NbdError check_flags(const Request& request, const Agreed& agreed) const;

  std::string name_;
  std::string description_;
  BlockDevice* device_;
};

/// The exports of one server. Complete before the first connection, then constant.
class ExportTable {
 public:
  /// Errors: exists (the name is taken), invalid (name too long, device's geometry not servable).
  Result<void> add(std::string name, std::string description, BlockDevice& device);
  /// The export of this name; the empty name stands for the only export if there is one. nullptr if
  /// there is none.
  const Export* find(std::string_view name) const;
  const std::vector<Export>& all() const { return exports_; }

 private:
  std::vector<Export> exports_;
};

/// The error value that stands for a device's status.
NbdError error_of(IoStatus status);

}  // namespace latte::nbd
