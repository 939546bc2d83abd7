#include "disk/stats.h"

namespace latte {

void DiskStats::count(const IoRequest& request, TimeNs took_ns) {
  switch (request.op) {
    case IoOp::read:
      ++reads;
      read_bytes += request.length;
      read_latency.record(took_ns);
      break;
    case IoOp::write:
      ++writes;
      write_bytes += request.length;
      write_latency.record(took_ns);
      break;
    case IoOp::flush:
      ++flushes;
      break;
    case IoOp::discard:
    case IoOp::write_zeroes:
      ++discards;
      break;
  }
}

double DiskStats::read_hit_ratio() const {
  const uint64_t hits = read_hit_blocks + memory_served_blocks;
  const uint64_t all = hits + read_miss_blocks;
  return all == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(all);
}

void DiskStats::add_requests(const DiskStats& other) {
  reads += other.reads;
  writes += other.writes;
  flushes += other.flushes;
  discards += other.discards;
  read_bytes += other.read_bytes;
  write_bytes += other.write_bytes;
  read_latency.add(other.read_latency);
  write_latency.add(other.write_latency);
}

}  // namespace latte
