// SimDrive: a simulated local drive with a volatile write cache. It outlives the processes that use
// it: machines keep their drives over crashes.
//
// What happens to a write:
//  - completed: in the drive's cache; reads see it. Durable after a flush submitted later (or FUA).
//  - power loss: each write not durable, completed or under way, survives, vanishes, or is torn at
//  sector
//    granularity, independently of the others.
//  - process death: completed writes stay; one under way lands wholly, partly, or not at all.
// Faults are drawn per request from DriveFaults. Silent ones (lost, misdirected, corrupt) and what
// was damaged from outside go into damages(), so that a checker knows which damage is fair. Thread
// rule: one world.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/device_model.h"
#include "sim/page_store.h"
#include "sim/sim_port.h"

namespace latte::sim {

/// Chances per million requests.
struct DriveFaults {
  uint32_t read_error = 0;
  uint32_t write_error = 0;        ///< stored wholly, partly or not, and reported
  uint32_t flush_error = 0;        ///< part of the cache is durable afterwards
  uint32_t hang = 0;               ///< completes hang_ns later
  uint32_t lost_write = 0;         ///< acknowledged, never stored
  uint32_t misdirected_write = 0;  ///< acknowledged, stored at another place
  uint32_t corrupt_write = 0;      ///< stored with bits flipped
  uint32_t read_flip = 0;          ///< bits flipped once, on the way out
  TimeNs hang_ns = 2 * kSecond;    ///< kNever: until the process dies
};

enum class DamageKind : uint8_t {
  lost_write,
  misdirected_write,
  corrupt_write,
  corrupt,  ///< from outside, long after it was written
};

struct Damage {
  DamageKind kind;
  uint64_t offset;  ///< bytes
  uint64_t length;
  TimeNs time_ns;
};

struct DriveOptions {
  std::string name = "drive";
  uint64_t size_bytes = 0;
  LatencyModel read{80 * kMicrosecond, 20 * kMicrosecond, 0, 3e9, 0};
  LatencyModel write{15 * kMicrosecond, 10 * kMicrosecond, 200 * kMicrosecond, 2e9, 0};
  /// Says how long requests take instead of `read` and `write`, if it is there.
  std::shared_ptr<model::DeviceModel> timing{};
  uint32_t alignment_bytes = kSectorBytes;
  bool can_fua = true;
  bool can_discard = true;
};

class SimDrive final : public SimPort {
 public:
  SimDrive(World& world, DriveOptions options);

  DriveFaults& faults() { return faults_; }
  /// From now on every request fails.
  void die();
  bool dead() const { return dead_; }

  /// The process using the drive died (SIGKILL); its requests are forgotten.
  void process_death();
  /// The machine lost power.
  void power_loss();

  /// Damages an `allowed` page that has been durable for `age` flushes; `content` (may be null)
  /// gets what it held. Returns false if there is none.
  bool corrupt_page(uint64_t age, PageRef* content, const PageStore::Allowed& allowed = {});
  const std::vector<Damage>& damages() const { return damages_; }
  PageStore& store() { return store_; }

 private:
  Plan plan(const IoRequest& request) override;
  IoStatus execute(IoRequest& request, uint64_t mark) override;
  uint64_t mark() const override { return store_.version(); }
  bool draw(uint32_t per_million) {
    return per_million != 0 && world_.random().below(1'000'000) < per_million;
  }
  IoStatus execute_read(IoRequest& request);
  IoStatus execute_write(IoRequest& request);
  IoStatus execute_flush(uint64_t mark);
  void put(const IoRequest& request, uint64_t offset, Random* tear);

  DriveOptions options_;
  DriveFaults faults_;
  PageStore store_;
  Pipe pipe_;
  bool dead_ = false;
  std::vector<Damage> damages_;
};

}  // namespace latte::sim
