// RingCore: one reactor thread on a core of its own that serves one disk over vhost-user-blk, and a
// driver for it that polls (ring_driver.h): on the same thread, or on a thread and core of its own.
//
// Thread rule: made, started, asked and ended by one thread that is neither of these two.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "bench_disk.h"
#include "counted_calls.h"
#include "device/file_device.h"
#include "device/memory_device.h"
#include "disk/volume_space.h"
#include "frontend/vhost_user_server.h"
#include "ring_driver.h"
#include "system_calls.h"

namespace latte::bench {

class RingCore {
 public:
  enum class Disk : uint8_t {
    memory,  ///< the front end alone
    plain,   ///< a local volume
    hybrid,  ///< all of it in the pool
  };
  struct Options {
    Disk disk = Disk::plain;
    std::string directory;  ///< for the socket and a hybrid disk's cloud; exists
    std::string file;       ///< what holds the disk or the pool; empty: memory
    uint64_t disk_bytes = 0;
    bool writes = false;
    uint32_t depth = 32;
    bool inflight = true;
    int core = 0;
    std::optional<int> driver_core;  ///< none: on the server's thread
  };
  /// What the server's thread has done so far.
  struct Sample {
    uint64_t requests = 0;
    double wall_seconds = 0;
    double cpu_seconds = 0;
    double driver_seconds = 0;  ///< of these, the driver's
    CountedCalls calls;
    std::optional<uint64_t> system_calls;
    uint64_t ring_enters = 0;   ///< io_uring_enter()
    uint64_t ring_entries = 0;  ///< operations submitted
  };

  explicit RingCore(Options options);
  ~RingCore();

  /// Fills the disk if reading needs it and starts the load.
  void start();
  Sample sample();
  /// Ends the load and the server; fails if a request failed.
  void stop();

 private:
  /// The driver as a hook of the server's reactor.
  class Inline final : public TurnHook {
   public:
    explicit Inline(RingCore& core) : core_(core) {}
    void at_turn_end() override;

   private:
    RingCore& core_;
  };

  void serve();
  void open_device();
  void open_disk();
  Task<void> fill();
  void drive();
  void close();

  const Options options_;
  std::unique_ptr<UringReactor> reactor_;
  std::unique_ptr<BlockDevice> device_;
  std::unique_ptr<VolumeSpace> space_;
  std::unique_ptr<BenchDisk> hybrid_;
  BlockDevice* disk_ = nullptr;
  std::unique_ptr<VhostUserServer> server_;
  std::unique_ptr<SystemCallCounter> system_calls_;
  std::optional<RingDriver> driver_;
  Inline inline_{*this};
  TimeNs driver_ns_ = 0;
  std::atomic<bool> ready_{false};
  std::atomic<bool> ending_{false};
  std::thread server_thread_;
  std::thread driver_thread_;
};

}  // namespace latte::bench
