// CloudImage: what a disk's cloud log says, read back and made sense of: for recovery, take-over,
// check. Thread rule: one reactor.
#pragma once

#include <string>
#include <vector>

#include "base/units.h"
#include "log/recovery.h"
#include "log/segment_space.h"
#include "log/seq_set.h"
#include "runtime/task.h"

namespace latte {

struct CloudImage {
  struct Item {
    log::Entry entry;
    log::BlockAddress address = 0;
    std::vector<uint32_t> crcs;  ///< stored CRCs; kept only if asked for
    bool cut = false;            ///< a later take-over declared that it never happened
  };
  std::vector<Item> items;  ///< log order
  log::StreamRecovery stream;
  std::vector<std::string> damage;
  uint64_t unreadable = 0;  ///< segments the device failed to read: nothing is known, try again
  Seq floor;                ///< every seq up to here is in the base
  Seq contiguous;           ///< every seq up to here is in the base or the log
  Seq highest;              ///< no higher seq was ever given out, as far as the log tells
  SeqSet seqs;              ///< accounted for in the log
};

/// Reads the log; sets the space's CRCs and seqs. `keep_crcs`: for a check that reads the data.
Task<CloudImage> load_cloud_image(Reactor& reactor, log::SegmentSpace& space, Uuid disk_id,
                                  bool keep_crcs);

}  // namespace latte
