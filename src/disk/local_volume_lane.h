// LocalVolumeLane: a local volume, served on another reactor than its own. Reads and writes go from
// here to the drive; the volume's reactor has no part in them.
//
// The lane has a copy of the volume's map, empty at first. What it does not find there - extents
// still to be given, holes, discards, parts it has not asked for yet - it passes on to the volume,
// and asks for the parts' extents, so that the next request finds them. The volume takes an entry
// back (follow()) before the extent becomes somebody else's.
//
// Invariants:
//  1. Every entry of the copy is as the volume's, or a change that says otherwise has not arrived
//     yet and its sender waits for our answer. Answers and changes come over one link, in order, so
//     an old answer never follows a newer change.
//  2. A change is answered when nothing is under way here any more to what it takes away. What is
//     submitted after that finds the entry gone.
//  3. A write here goes to an extent that the table has durably for the volume, as the volume's own
//     do: so a flush of the drive, from any reactor, is a flush of the volume.
// Thread rule: the lane's reactor; follow() is called on the volume's. Made on the volume's
// reactor; destroyed when neither runs. Limits: one question under way, of kAskedParts parts.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "device/remote_device.h"
#include "disk/local_volume.h"
#include "disk/request_relay.h"
#include "disk/volume_map_copy.h"
#include "disk/volume_parts.h"
#include "runtime/reactor_link.h"

namespace latte {

class LocalVolumeLane final : public BlockDevice,
                              private VolumeMapCopy,
                              private RequestRelay::Owner {
 public:
  static constexpr uint32_t kAskedParts = 16;

  /// `device`: the drive, as a device of this lane's reactor. `there` is the volume's reactor.
  LocalVolumeLane(UringReactor& here, UringReactor& there, LocalVolume& volume,
                  BlockDevice& device);
  ~LocalVolumeLane();

  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override;

  /// Of the requests that went to the drive from here.
  const DiskStats& stats() const { return stats_; }

 private:
  struct Question;
  struct Change;

  Task<void> follow(const VolumeMapChange& change) override;
  bool is_transfer(const IoRequest& request) const;
  bool pass_on(IoRequest& request, const VolumeParts::Run& run);
  void on_relayed(uint32_t first, uint32_t count) override;
  void ask(const IoRequest& request);
  void apply(Change& change);
  bool busy(const Change& change) const;
  void answer_changes();
  static void at_volume(void* context, ReactorLink::Node& node);
  static void at_lane(void* context, ReactorLink::Node& node);

  LocalVolume& volume_;
  DeviceInfo info_;
  bool online_;
  RemoteDevice owner_;  // the volume, for what is not ours
  ReactorLink to_volume_;
  ReactorLink from_volume_;
  VolumeParts parts_;           // what has no extent here: ask the volume
  std::vector<uint32_t> pins_;  // requests under way to each part
  std::unique_ptr<Question> question_;
  std::vector<Change*> changes_;  // applied, not answered yet
  DiskStats stats_;
  RequestRelay relay_;
  WaitQueue followed_;  // on the volume's reactor
};

}  // namespace latte
