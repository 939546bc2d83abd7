// HybridDisk's shipper: what is on its way from the pool's log to the cloud's.
#pragma once

#include <deque>

#include "base/buffer.h"
#include "disk/hybrid_disk.h"

namespace latte {

/// Stands for the address of what is lost without its place being known.
inline constexpr log::BlockAddress kUnknownAddress = UINT64_MAX;

// One append of a batch.
struct HybridDisk::ShipItem {
  log::Append append;
  log::BlockAddress local_address = 0;
};

// A piece of the pool's log on its way to the cloud.
struct HybridDisk::ShipBatch {
  explicit ShipBatch(std::pmr::memory_resource* memory) : items(memory) {}

  Buffer bytes;
  log::LogPosition end;  // shipped_ once the batch is durable
  Seq last_seq;
  uint64_t data_bytes = 0;          // as counted in dirty_bytes_
  bool damaged = false;             // put together from the index: seqs out of order
  std::pmr::deque<ShipItem> items;  // stable addresses
  size_t admitted = 0;              // of the items, queued for the cloud log
  size_t finished = 0;              // durable there and installed
};

}  // namespace latte
