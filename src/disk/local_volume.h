// LocalVolume: a plain disk, carved in extents from the volume area of a pool's device; no cloud
// side. A BlockDevice, so any front end serves it.
//
// Thick: every extent is there from the start. Thin: an extent is given when it is first written
// to, what has none reads as zeroes, and a discard of whole extents gives them back.
//
// Invariants:
//  1. A request that lies in extents which are neighbours on the device, as all do that stay within
//     one, is one request to the device with the client's own memory: no copy, no allocation, no
//     lock. Others are cut where the neighbourhood ends.
//  2. The extents of a request under way are pinned: nobody gets them before it has ended.
//  3. A write is answered only after the table durably has its extents, so FLUSH and FUA are the
//     device's alone.
//  4. Other reactors may serve the volume, too (LocalVolumeLane), each with a copy of the map: a
//     part leaves its extent, and the volume gets another size, only after every copy has followed.
// Thread rule: one reactor. Limits: a request of the slow way holds a vector per piece.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "base/result.h"
#include "base/uuid.h"
#include "disk/request_relay.h"
#include "disk/stats.h"
#include "disk/volume_map_copy.h"
#include "disk/volume_parts.h"
#include "disk/volume_table.h"
#include "runtime/block_device.h"
#include "runtime/sync.h"

namespace latte {

class LocalVolume final : public BlockDevice, private RequestRelay::Owner {
 public:
  /// `slot` is the volume's in the superblock. `device` and `table` outlive it. No extent is mapped
  /// yet; see adopt().
  LocalVolume(Reactor& reactor, BlockDevice& device, VolumeTable& table, const volume::Slot& slot);
  ~LocalVolume() override;

  /// While the table is read: the volume's part `index` is in `extent`. False: it is elsewhere,
  /// too.
  bool adopt(uint32_t index, uint32_t extent);

  /// size_bytes changes when the volume is resized; the rest is constant.
  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override;
  size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) override;

  const std::string& name() const { return name_; }
  const Uuid& id() const { return id_; }
  uint32_t serial() const { return serial_; }
  bool thin() const { return thin_; }
  uint64_t extent_count() const { return parts_.size(); }
  /// Extents the volume has.
  uint64_t mapped() const { return mapped_; }
  DiskStats stats() const;

  /// `copy` follows from now on, and outlives the volume's last request.
  void add_copy(VolumeMapCopy& copy) { copies_.push_back(&copy); }
  /// The extent of `part`, counted from 1, for a copy; 0: none, or not for sure.
  uint32_t extent_for_copy(uint32_t part) const {
    return part < parts_.size() && parts_.is_mapped(part) ? parts_.extent_of(part) + 1 : 0;
  }
  /// Where `offset` lies on the device, in the extent `extent`. Any thread.
  uint64_t device_offset(uint64_t offset, uint32_t extent) const {
    return table_.device_offset(extent) + parts_.offset_in_part(offset);
  }
  uint64_t extent_bytes() const { return parts_.extent_bytes(); }

  /// Requests are accepted from now on; before, and after stop(), they are refused as stopped.
  void start() { online_ = true; }
  bool online() const { return online_; }
  /// Refuses new requests, lets those under way end, flushes. Errors: io.
  Task<Result<void>> stop();

  /// Gives the parts from `first` to `end` their extents, durably. For thick volumes.
  Task<IoStatus> fill(uint32_t first, uint32_t end);
  /// Makes the volume `size_bytes` long for requests that come from now on; parts beyond stay
  /// mapped until drop(). On return the copies know.
  Task<void> resize(uint64_t size_bytes);
  /// Gives back every part from `first` on, durably; nobody writes there any more.
  Task<IoStatus> drop(uint32_t first);
  /// Zeroes what the last part holds behind the volume's end, durably; a volume that grows shows
  /// it.
  Task<IoStatus> zero_behind_end();

 private:
  struct Pins;
  /// A stretch of a request in extents that are neighbours, or in none.
  struct Piece {
    uint64_t at = 0;  ///< from the request's start
    uint64_t length = 0;
    uint32_t extent = 0;  ///< the first; meaningless if not mapped
    uint32_t count = 0;   ///< 0: not mapped
  };
  struct Group {
    explicit Group(Reactor& reactor) : ended(reactor) {}
    size_t running = 0;
    IoStatus status = IoStatus::ok;
    WaitQueue ended;
  };

  bool refuse(IoRequest& request, IoStatus status);
  IoStatus validate(const IoRequest& request) const;
  void map(uint32_t part, uint32_t extent);
  void unmap(uint32_t part);
  void set_size(uint64_t size_bytes);
  Task<void> change_copies(VolumeMapChange change);

  // The fast way.
  bool read_hole(IoRequest& request);
  bool pass_on(IoRequest& request, const VolumeParts::Run& run);
  void on_relayed(uint32_t first, uint32_t count) override;
  void end_request();

  // local_volume_slow.cc: what takes more than one request to the device
  Task<void> run_slow(IoRequest& request);
  Task<IoStatus> run_transfer(IoRequest& request);
  Task<IoStatus> run_zero(IoRequest& request);
  Task<IoStatus> map_all(uint64_t offset, uint64_t length);
  Task<IoStatus> give_back(uint64_t offset, uint64_t length);
  std::vector<Piece> cut(uint64_t offset, uint64_t length) const;
  Task<IoStatus> run_pieces(const IoRequest& request, IoOp op, std::vector<Piece> pieces);
  Task<void> run_piece(Group& group, IoOp op, uint64_t offset, uint64_t length, bool fua,
                       std::vector<iovec> iov);

  Reactor& reactor_;
  BlockDevice& device_;
  VolumeTable& table_;
  const std::string name_;
  const Uuid id_;
  const uint32_t serial_;
  const bool thin_;
  DeviceInfo info_;
  VolumeParts parts_;  // what has no extent reads as zeroes
  uint64_t mapped_ = 0;
  bool online_ = false;
  size_t active_ = 0;
  WaitQueue changed_;  // no request is active, or a part is no longer coming
  std::vector<VolumeMapCopy*> copies_;
  DiskStats stats_;
  RequestRelay relay_;
};

}  // namespace latte
