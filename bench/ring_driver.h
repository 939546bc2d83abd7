// RingDriver: the driver's side of one vhost-user-blk queue, as lean as a guest's driver that
// polls: its buffers are laid out once, and a request is a sector, an entry in the ring and an
// index.
//
// Reads or writes of 4 KiB at random places, always the same number under way. The driver asks for
// no calls, and kicks when the server wants it.
//
// Thread rule: connect() not on the server's thread; begin() and poll() on one thread, any.
// Limits: a split ring of kRingSize entries, so kMaxDepth requests.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "vhost_front_end.h"

namespace latte::bench {

class RingDriver {
 public:
  struct Options {
    std::string socket_path;
    bool writes = false;
    uint32_t depth = 32;      ///< 1 to kMaxDepth
    uint64_t disk_bytes = 0;  ///< where requests go: [0, disk_bytes)
    bool inflight = true;     ///< share an inflight region, as QEMU does
    uint64_t random_seed = 1;
  };
  /// Descriptors of a request: header, data, status.
  static constexpr uint32_t kDescriptors = 3;
  static constexpr uint16_t kRingSize = 512;
  static constexpr uint32_t kMaxDepth = kRingSize / kDescriptors;

  explicit RingDriver(Options options);

  /// Sets up memory and the ring. Ends the process if the server refuses something.
  void connect();
  /// Starts as many requests as the depth says.
  void begin();
  /// Takes what has completed and, unless end() was called, starts as many again. Returns how many.
  uint32_t poll();
  /// From now on poll() starts nothing.
  void end() { ending_ = true; }
  uint32_t under_way() const { return under_way_; }
  /// Completed so far, and of those the failed. Any thread.
  uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }
  uint64_t errors() const { return errors_.load(std::memory_order_relaxed); }

 private:
  struct Header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
  };
  void lay_out();
  void offer(uint32_t slot);
  void publish();

  const Options options_;
  const uint64_t blocks_;
  vhost::test::SharedMemory memory_;
  vhost::test::SplitDriver ring_;
  vhost::test::FrontEnd front_;
  UniqueFd kick_;
  UniqueFd call_;
  UniqueFd inflight_;
  std::vector<Header*> headers_;
  std::vector<const std::byte*> statuses_;
  Random random_;
  uint16_t available_ = 0;
  uint16_t used_ = 0;
  uint32_t under_way_ = 0;
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> errors_{0};
  bool ending_ = false;
};

}  // namespace latte::bench
