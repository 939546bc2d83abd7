// NvmeModel: a NVMe drive as far as time is concerned - controller, links, channels, dies, a write
// buffer, and garbage collection under write pressure.
//
//  read   controller -> dies (they may be programming: suspend, or wait) -> channel -> link
//  write  controller -> link -> room in the buffer -> done; the buffer drains to dies in turn
//
// Collection: programs use up free space; below a mark, dies copy live pages and erase blocks
// beside (or instead of) the host's programs until a window is free again. How many pages a freed
// block still holds follows from over-provisioning and from how random the writes were. Full
// buffers, reads that find a die programming, and erases are where the tail comes from.
//
// Invariants: those of DeviceModel; space in the buffer is given back in the order it was taken.
// Limits: requests up to kMaxLengthBytes; memory about 32 bytes a die and 16 a program in flight.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/device_model.h"
#include "model/noise.h"
#include "model/nvme_options.h"

namespace latte::model {

class NvmeModel final : public DeviceModel {
 public:
  NvmeModel(const NvmeOptions& options, uint64_t seed);

  std::string_view name() const override { return name_; }
  TimeNs submit(const ModelIo& io) override;
  TimeNs peek(const ModelIo& io) override;

  const NvmeOptions& options() const { return options_; }
  bool collecting() const { return state_.collecting; }
  /// Bytes programmed (host and collection) over bytes written by the host.
  double write_amplification() const;
  /// Bytes of the buffer not yet given back at the time of the last request.
  uint64_t buffered_bytes() const { return state_.buffered_bytes; }

 private:
  struct Die {
    TimeNs read_free_ns = 0;     // sensing is in turn
    TimeNs program_free_ns = 0;  // end of the programs and erases given to it
    uint32_t suspends = 0;       // of the present program
  };
  struct Release {
    TimeNs time_ns;
    uint64_t bytes;
  };
  // Everything but dies, channels and the releases, so that peek() can put it back whole.
  struct State {
    TimeNs last_ns = 0;
    TimeNs command_free_ns = 0;
    TimeNs read_link_free_ns = 0;
    TimeNs write_link_free_ns = 0;
    TimeNs drain_free_ns = 0;
    TimeNs last_release_ns = 0;
    TimeNs room_from_ns = 0;  // when the room was given back that is being used now
    uint64_t buffered_bytes = 0;
    uint64_t filling_bytes = 0;  // of the program unit that is being gathered
    uint64_t next_die = 0;
    uint64_t draws = 0;
    uint64_t release_head = 0;
    uint64_t release_tail = 0;
    uint64_t next_offset = 0;  // a write that begins here is sequential
    double random_share = 1;   // of the recent writes' bytes
    double free_bytes = 0;     // above the mark where collection begins; negative: reserve
    double erase_owed = 0;     // blocks freed and not yet erased
    bool collecting = false;
    uint64_t host_programs = 0;
    uint64_t copy_programs = 0;
  };
  template <typename T>
  struct Undo {
    T* where;
    T before;
  };

  TimeNs serve(const ModelIo& io);
  TimeNs serve_read(const ModelIo& io, TimeNs start_ns);
  TimeNs sense(uint64_t page, TimeNs start_ns);
  TimeNs serve_write(const ModelIo& io, TimeNs start_ns);
  void note_pattern(const ModelIo& io);
  TimeNs wait_for_room(uint64_t bytes, TimeNs now_ns);
  void program(TimeNs now_ns);
  double live_share() const;
  TimeNs copy_ns() const { return options_.program_ns + options_.read_middle_ns; }
  void catch_up(Die& die, TimeNs now_ns);
  TimeNs collect(double copies);
  Die& change(Die& die);
  TimeNs& change(TimeNs& channel);
  double draw() { return noise_.uniform(++state_.draws); }

  NvmeOptions options_;
  std::string name_;
  Noise noise_;
  State state_;
  std::vector<Die> dies_;
  std::vector<TimeNs> channels_;
  std::vector<Release> releases_;  // a ring; positions in State
  bool peeking_ = false;
  std::vector<Undo<Die>> die_undo_;
  std::vector<Undo<TimeNs>> channel_undo_;
  std::vector<Undo<Release>> release_undo_;
};

}  // namespace latte::model
