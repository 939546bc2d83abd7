// SimCloud: a simulated cloud volume service - base image, cloud log, superblock with a generation
// - that many hosts may reach, each through its own SimCloudVolume. The service itself never
// crashes.
//
// What happens to a write through a handle:
//  - It takes effect at some moment between submission and completion. At that moment its handle's
//    generation is compared: lower than the service's means fenced, without effect.
//  - It is durable after a flush through the same handle. Until then it is lost, torn or kept, as
//  chance
//    has it, when the handle's process dies or the handle is fenced.
//  - A write under way when its process dies may still arrive, later, and is fenced by then if
//  another
//    owner came.
// With a lease instead of a fence (SimCloudOptions::lease_ns) the service takes every write, and
// the handle is a LeasedVolume over sessions that break (sim_session.h). A failed swap_super may
// have taken effect; its handle's generation is then as before. Faults are drawn from CloudFaults
// and from outages. Thread rule: one world.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device/cloud_volume.h"
#include "device/leased_volume.h"
#include "model/device_model.h"
#include "sim/page_store.h"
#include "sim/sim_port.h"
#include "sim/sim_snapshots.h"

namespace latte::sim {

/// Chances per million requests.
struct CloudFaults {
  uint32_t error = 0;  ///< request fails; a write may have been stored, wholly or partly
  uint32_t slow = 0;   ///< takes slow_ns longer
  TimeNs slow_ns = 500 * kMillisecond;
  uint32_t breaks = 0;  ///< the session breaks when a request is sent (with a lease only)
};

enum class Outage : uint8_t {
  none,
  hang,    ///< requests wait until it is over
  errors,  ///< requests fail until it is over
};

struct SimCloudOptions {
  std::string name = "cloud";
  uint64_t base_bytes = 0;
  uint64_t log_bytes = 0;
  LatencyModel latency{500 * kMicrosecond, 300 * kMicrosecond, kMillisecond, 200e6, 5000};
  /// Says how long requests to base and log take instead of `latency`, if it is there.
  std::shared_ptr<model::DeviceModel> timing{};
  /// A cloud that does not fence what was under way when the owner changed, as Ceph without its
  /// blocklist: for the planted bug.
  bool no_blocklist = false;
  TimeNs lease_ns = 0;    ///< above 0: no fence, but a lease of this duration
  uint32_t sessions = 1;  ///< for base and log each (with a lease only)
};

class SimCloudVolume;

class SimCloud final : private EventTarget {
 public:
  SimCloud(World& world, SimCloudOptions options);
  ~SimCloud();

  const SimCloudOptions& options() const { return options_; }
  World& world() { return world_; }
  CloudFaults& faults() { return faults_; }
  /// Replaces latency and caps from now on.
  void set_latency(LatencyModel latency) { options_.latency = latency; }
  /// Takes the service away until world time `until_ns`.
  void begin_outage(Outage kind, TimeNs until_ns);
  void end_outage() { outage_until_ns_ = 0; }
  TimeNs outage_until_ns() const { return outage_until_ns_; }
  bool out() const { return world_.now() < outage_until_ns_; }
  Outage outage() const { return out() ? outage_ : Outage::none; }
  /// The service dies and is back at once: all sessions break, what was not flushed is lost, torn
  /// or kept. REQUIRES a lease.
  void restart();
  bool leased() const { return options_.lease_ns > 0; }

  uint64_t generation() const { return generation_; }
  const SuperBytes& super() const { return super_; }
  /// When the generation was last raised.
  TimeNs fenced_at_ns() const { return fenced_at_ns_; }
  PageStore& base_store() { return base_; }
  PageStore& log_store() { return log_; }
  /// By name. None with a lease: such services have no snapshots.
  std::map<std::string, SimSnapshot>& snapshots() { return snapshots_; }
  /// Fills this one, which is new, with what was kept of another: a clone, owned by whom it was.
  void restore(const SimSnapshot& from, uint64_t generation);
  /// Writes that came from a fenced handle and were refused.
  uint64_t fenced_writes() const { return fenced_writes_; }

 private:
  friend class CloudPort;
  friend class CloudSuperPort;
  friend class SimCloudVolume;
  friend class SimSession;
  struct LateWrite {
    PageStore* store;
    uint64_t generation;
    uint64_t offset;
    uint64_t length;
    std::vector<std::byte> data;  // empty = zeroes
  };
  void on_event(uint64_t token) override;
  /// Accepts a write of a dead process that is still on its way.
  void send_late(PageStore& store, uint64_t generation, const IoRequest& request, TimeNs at);
  /// Compares and swaps, and fences every other handle.
  bool swap(SimCloudVolume& handle, uint64_t expected, uint64_t next, const SuperBytes& bytes);

  World& world_;
  SimCloudOptions options_;
  CloudFaults faults_;
  PageStore base_;
  PageStore log_;
  PageStore head_;  // of the log, with a lease
  SuperBytes super_{};
  bool has_super_ = false;
  uint64_t generation_ = 0;
  TimeNs fenced_at_ns_ = 0;
  uint64_t fenced_at_version_[2] = {0, 0};  // of base and log, then
  Outage outage_ = Outage::none;
  TimeNs outage_until_ns_ = 0;
  Pipe pipe_;
  std::vector<SimCloudVolume*> handles_;
  uint32_t next_owner_ = 1;
  std::map<uint64_t, LateWrite> late_;
  uint64_t next_late_ = 1;
  uint64_t fenced_writes_ = 0;
  std::map<std::string, SimSnapshot> snapshots_;
};

/// Base image or log as one handle sees it.
class CloudPort final : public SimPort {
 public:
  CloudPort(SimCloudVolume& volume, PageStore& store, std::string name);
  /// The handle's process died, or its session broke.
  void process_death();

 private:
  Plan plan(const IoRequest& request) override;
  IoStatus execute(IoRequest& request, uint64_t mark) override;
  uint64_t mark() const override { return store_.version(); }
  TimeNs postponed_until() override;
  void put(const IoRequest& request, Random* tear);
  bool refused(uint64_t mark) const;

  SimCloudVolume& volume_;
  PageStore& store_;
};

/// The superblock's requests: a read, or a compare-and-swap dressed as a write.
class CloudSuperPort final : public SimPort {
 public:
  explicit CloudSuperPort(SimCloudVolume& volume);
  void process_death();

  /// A swap under way: the request's single iovec points at one.
  struct Swap {
    uint64_t expected;
    uint64_t next;
    const SuperBytes* bytes;
    bool busy = false;
  };

 private:
  Plan plan(const IoRequest& request) override;
  IoStatus execute(IoRequest& request, uint64_t mark) override;
  uint64_t mark() const override { return 0; }
  TimeNs postponed_until() override;

  SimCloudVolume& volume_;
};

class SimSession;

class SimCloudVolume final : public CloudVolume {
 public:
  /// A handle of the process that runs on `reactor`.
  SimCloudVolume(SimCloud& cloud, SimReactor& reactor);
  ~SimCloudVolume() override;

  const std::string& name() const override { return cloud_.options_.name; }
  BlockDevice& base() override;
  BlockDevice& log() override;
  Task<Result<SuperBytes>> read_super() override;
  Task<Result<void>> swap_super(uint64_t expected_generation, uint64_t next_generation,
                                const SuperBytes& next) override;
  Task<Result<void>> release() override;
  CloudSnapshots* snapshots() override { return cloud_.leased() ? nullptr : &snapshots_; }

  SimCloud& cloud() { return cloud_; }
  uint64_t generation() const { return generation_; }
  /// Another handle owns the volume by now, or is about to.
  bool fenced() const;
  /// With a lease: take it even from an owner that is alive.
  void force_unfenced() { forced_ = true; }
  /// The process died: forgets its requests and resolves what it had not flushed.
  void process_death();

 private:
  friend class SimCloud;
  friend class CloudPort;
  friend class CloudSuperPort;
  friend class SimSession;
  void lose_cache();
  /// The service itself refuses what this handle writes.
  bool refused() const { return !cloud_.leased() && fenced(); }
  void make_leased(SimReactor& reactor);
  std::unique_ptr<SessionDevice> make_device(SimReactor& reactor, PageStore& store,
                                             const char* what, PageStore* head);
  Task<Result<void>> open_leased();

  SimCloud& cloud_;
  uint32_t owner_;
  uint64_t generation_ = 0;
  CloudPort base_;
  CloudPort log_;
  CloudSuperPort super_;
  SimSnapshots snapshots_;
  bool forced_ = false;
  bool opened_ = false;
  std::vector<SimSession*> sessions_;  // of leased_
  std::unique_ptr<LeasedVolume> leased_;
};

}  // namespace latte::sim
