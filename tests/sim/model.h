// Model: what a disk may contain, from nothing but its clients' requests and their completions. It
// knows nothing of the engine.
//
// Order. Every submission and completion gets a tick. Write A is *before* B if A had ended when B
// was submitted; otherwise the two are concurrent and may have happened in either order. Each
// sector keeps its writes in order of submission; `settled` is the one that the last read-back
// after a restart showed (what came before it is known to be older, whatever the ticks say).
//
// A cut. Let a recovered content be the state after all writes up to some point P of the engine's
// order. Let T be the tick at which P was reached: every visible write was submitted by T, and no
// write that is missing had ended before T. So each sector bounds T: below by the submission of
// what it shows, above by the end of each acknowledged write that it should show and does not. No
// common T, no prefix. Zeroes name no write: such a sector allows a union of intervals.
//
//   after host loss     one T for the whole disk
//   after power loss,
//   process death       one T for each 4 KiB block; writes that the promise protects must not be
//   missing
//
// A write that was not acknowledged (failed, or under way at the crash) may or may not have
// happened, block by block; what the read-back shows is the truth from then on. Limits: a client's
// write may be cut at block boundaries (the engine logs a long one in pieces).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/io_status.h"
#include "base/units.h"
#include "pattern.h"

namespace latte::simtest {

/// Sectors of a block.
inline constexpr uint64_t kBlockSectors = kBlockBytes / kSectorBytes;

struct Write {
  uint64_t first = 0;  ///< sector
  uint64_t count = 0;
  bool zero = false;
  bool acked = false;
  bool adopted = false;  ///< `acked` only because a read-back showed it; its client was not told
  bool failed = false;
  bool flushed = false;      ///< covered by a completed flush, or FUA
  bool rolled_back = false;  ///< a read-back showed that it is gone somewhere
  bool foreign = false;      ///< submitted on a fenced host: must never be seen
  uint32_t session = 0;
  uint64_t submitted = 0;  ///< ticks
  uint64_t ended = UINT64_MAX;
  uint64_t acked_at = UINT64_MAX;  ///< tick; `ended` may come earlier, from a read-back
  uint64_t visible = UINT64_MAX;   ///< tick from which reads must not show anything older
  TimeNs submit_ns = 0;
  TimeNs ack_ns = 0;
};

/// What became of the host before a read-back.
enum class Loss { none, process, power, host };

/// A sector that could not be read back.
inline constexpr WriteId kUnreadable = UINT64_MAX;

class Model {
 public:
  Model(uint32_t disk, uint64_t sectors);

  uint32_t disk() const { return disk_; }
  uint64_t sectors() const { return histories_.size(); }
  const Write& write(WriteId id) const { return writes_[id]; }

  /// A client submits. `foreign`: on a host that has been fenced already.
  WriteId submit_write(uint64_t first, uint64_t count, bool zero, uint32_t session, bool foreign,
                       TimeNs now_ns);
  /// It completed. Completions of another session than the current one change nothing but flags.
  void complete_write(WriteId id, IoStatus status, bool fua, TimeNs now_ns);
  uint64_t begin() { return ++tick_; }
  /// A flush begun at `begun` completed ok. If `to_cloud` it must not cover what a take-over
  /// dropped; returns an explanation if it does.
  std::string complete_flush(uint64_t begun, uint32_t session, bool to_cloud);
  /// Checks what a read begun at `begun` returned. Returns an explanation, or empty.
  std::string check_read(uint64_t first, std::span<const std::byte> data, uint64_t begun);
  /// Likewise, but only that the data is this disk's own (for reads on a fenced host).
  std::string check_own(uint64_t first, std::span<const std::byte> data) const;

  /// A new process serves the disk from now on.
  void set_session(uint32_t session) { session_ = session; }
  /// Identifies read-back data into `out` (one id a sector). Returns an explanation of what is
  /// garbage.
  std::string identify_all(uint64_t first, std::span<const std::byte> data,
                           std::vector<WriteId>& out) const;
  /// Checks a whole read-back and adopts it. `required` says which acknowledged writes must be
  /// there; `lax` accepts any of a sector's versions (silent damage at the log's tail).
  std::string check_recovered(Loss loss, const std::vector<WriteId>& seen,
                              const std::function<bool(const Write&)>& required, bool lax);
  std::string describe(WriteId id) const;
  uint64_t write_count() const { return writes_.size(); }
  /// The disk goes back to what `then` says of it: a copy of this model when that had `known`
  /// writes, which a read-back has settled since. What was submitted later must not be seen any
  /// more.
  void roll_back(const Model& then, uint64_t known);

 private:
  struct History {
    std::vector<WriteId> writes{0};  // 0: the zeroes at the beginning
    uint32_t settled = 0;
    WriteId seen = 0;  // a write that a read showed before it had ended
    uint64_t seen_at = UINT64_MAX;
    uint32_t uncertain_from = 0;  // sector was unreadable: older versions may show until rewritten
  };
  struct Interval {
    uint64_t low = 0;
    uint64_t high = UINT64_MAX;
    WriteId low_write = 0;   // the visible write that sets `low`
    WriteId high_write = 0;  // the missing write that sets `high`
    uint32_t index = 0;      // into the history
  };
  /// Common ground of the sectors looked at so far.
  struct Cut {
    uint64_t low = 0;
    uint64_t high = UINT64_MAX;
    WriteId low_write = 0;
    WriteId high_write = 0;
    std::vector<uint64_t> ambiguous;  // sectors with several candidates
  };

  bool before(WriteId a, WriteId b) const { return writes_[a].ended < writes_[b].submitted; }
  bool is_out(const History& history, uint32_t shown, uint32_t other) const;
  Interval interval(const History& history, uint32_t shown) const;
  WriteId lost_required(const History& history, uint32_t shown, bool from_settled,
                        const std::function<bool(const Write&)>& required) const;
  std::vector<uint32_t> candidates(uint64_t sector, WriteId seen) const;
  std::string narrow(Cut& cut, uint64_t sector, WriteId seen, Loss loss,
                     const std::function<bool(const Write&)>& required) const;
  std::string resolve(const Cut& cut, const std::vector<WriteId>& seen, Loss loss,
                      const std::function<bool(const Write&)>& required) const;
  std::string check_tears(uint64_t first, const std::vector<WriteId>& seen) const;
  /// Versions that stand for several, of this read-back.
  using Merged = std::map<std::vector<WriteId>, WriteId>;
  WriteId shown_version(const std::vector<WriteId>& alternatives, Merged& merged);
  void adopt(uint64_t sector, WriteId seen, Loss loss,
             const std::function<bool(const Write&)>& required, Merged& merged);

  uint32_t disk_;
  uint32_t session_ = 0;
  uint64_t tick_ = 0;
  std::vector<Write> writes_;
  std::vector<History> histories_;
  std::vector<WriteId> unflushed_;
};

}  // namespace latte::simtest
