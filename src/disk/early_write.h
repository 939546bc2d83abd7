// HybridDisk: a write that goes into the cloud log before older ones that the cloud lacks.
#pragma once

#include "base/buffer.h"
#include "disk/race.h"

namespace latte {

// Outlives whoever asked for it, if the pool was sooner after all.
struct HybridDisk::EarlyWrite {
  EarlyWrite(uint64_t bytes, uint64_t& held) : data(bytes), held_bytes(held) {
    held_bytes += bytes;
  }
  ~EarlyWrite() { held_bytes -= data.size(); }

  Buffer data;  // a client's memory may be reused before the cloud answers
  log::Append append;
  PendingSeq pending;
  DispatchTicket timed;
  Race race;
  uint64_t& held_bytes;
  bool overtaken = false;  // the pool has the same blocks as new, or newer ones
  bool done = false;
};

}  // namespace latte
