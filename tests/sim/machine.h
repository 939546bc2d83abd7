// Machine: a simulated host with its drive, and at most one process on it that serves disks.
// DiskSim: a disk with its cloud and its model. Session: one disk served by one process.
//
// Killing a process: the devices forget its requests, its tasks are destroyed, then the engine's
// objects, then the reactor - what SIGKILL does, in an order C++ can bear.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "device/write_buffer.h"
#include "disk/host.h"
#include "disk/hybrid_disk.h"
#include "model.h"
#include "runtime/sync.h"
#include "sim/sim_cloud.h"
#include "sim/sim_drive.h"

namespace latte::simtest {

class Machine;
struct Session;

/// A snapshot of a disk as it was verified: the model of just that, out of a copy with `known`
/// writes.
struct KeptModel {
  Model model;
  uint64_t known;
};

/// One disk through the whole run, whoever serves it.
struct DiskSim {
  DiskSim(sim::World& world, uint32_t number, DiskOptions disk, CloudOptions cloud_log,
          sim::SimCloudOptions service)
      : index(number),
        options(disk),
        cloud_options(cloud_log),
        cloud(world, service),
        latency(service.latency),
        model(number, disk.size_bytes / kSectorBytes) {}

  uint32_t index;
  DiskOptions options;
  CloudOptions cloud_options;
  sim::SimCloud cloud;
  sim::LatencyModel latency;  ///< when healthy
  Model model;
  std::map<std::string, KeptModel> kept;  ///< of the snapshots, by name
  Session* session = nullptr;             ///< of the current owner; null while down
  Machine* owner = nullptr;               ///< the machine that serves it or last did
  uint64_t budget = 0;                    ///< operations its clients may still begin
  bool damaged = false;        ///< something was broken: I/O errors and refusals are fair
  bool cloud_damaged = false;  ///< and it was the cloud log
  bool given_up = false;       ///< refused to open for a fair reason; out of the run
  // Since the last read-back:
  Loss loss = Loss::none;
  TimeNs loss_ns = 0;
  /// Since when cloud, pool and process have been healthy (the lag promise holds); kNever: they are
  /// not.
  TimeNs healthy_since_ns = 0;
};

struct Session {
  Session(uint32_t number, DiskSim& served, Machine& on, sim::SimReactor& reactor)
      : id(number), disk(served), machine(on), volume(served.cloud, reactor), work(reactor) {}
  uint32_t id;
  DiskSim& disk;
  Machine& machine;
  sim::SimCloudVolume volume;
  HybridDisk* device = nullptr;
  std::optional<Error> error;  ///< why it could not be attached
  bool ready = false;          ///< attached or failed
  bool stopping = false;
  bool zombie = false;  ///< another host took the disk over
  bool saw_fenced = false;
  bool handed_over = false;  ///< given up, or about to be: clients may get errors
  unsigned clients = 0;
  unsigned outstanding = 0;  ///< operations under way
  WaitQueue work;            ///< clients without budget wait here
};

/// What a process is to do about a disk when it starts.
struct BootItem {
  DiskSim* disk = nullptr;
  bool create = false;
  bool take_over = false;
};

/// A machine's memory for write buffers: it outlives processes, and goes with the power.
class SimBufferMemory final : public BufferMemory {
 public:
  Result<std::span<std::byte>> open(const Uuid& id) override;
  Result<std::span<std::byte>> create(const Uuid& id, size_t bytes) override;
  void remove(const Uuid& id) override { buffers_.erase(id); }
  std::string name(const Uuid& id) const override { return "memory " + id.to_string(); }
  void power_loss() { buffers_.clear(); }

 private:
  std::map<Uuid, Buffer> buffers_;
};

class Machine {
 public:
  /// `write_buffer_bytes`: 0 for none.
  Machine(sim::World& world, std::string name, uint64_t write_buffer_bytes,
          policy::AdmissionOptions admission)
      : world_(world),
        name_(std::move(name)),
        write_buffer_bytes_(write_buffer_bytes),
        admission_(admission) {}
  ~Machine();

  const std::string& name() const { return name_; }
  /// Puts a new drive in; the process must be down.
  void replace_drive(sim::DriveOptions options, PoolOptions pool);
  bool has_drive() const { return drive_ != nullptr; }
  bool drive_formatted() const { return formatted_; }
  sim::SimDrive& drive() { return *drive_; }
  bool running() const { return reactor_ != nullptr; }
  sim::SimReactor& reactor() { return *reactor_; }
  Host& host() { return *host_; }
  std::vector<std::unique_ptr<Session>>& sessions() { return sessions_; }
  Session* find_session(const DiskSim& disk);

  /// Something of the drive was broken: what is put on it may meet errors.
  bool suspect = false;
  /// Silent damage at write time, which may have hit the very end of a log.
  bool tail_damaged() const;

  /// Starts a process. Formats the pool if the drive is new.
  void start(TimeNs clock_offset_ns);
  /// Lets the running process attach disks; sessions become ready by and by. The boot items follow
  /// one another. `next_session` numbers them.
  void attach(std::vector<BootItem> items, uint32_t& next_session);
  bool all_ready() const;
  const std::optional<Error>& pool_error() const { return pool_error_; }

  /// Ends the process at once: SIGKILL, or the machine loses power.
  void kill(bool power);
  /// The end of a clean stop, when the host has stopped; false if the drive failed.
  Task<bool> close_buffer();
  /// Runs `task` on the process.
  void spawn(Task<void> task) { reactor_->spawn(std::move(task)); }

 private:
  Task<void> open_pool();
  Task<void> boot(std::vector<BootItem> items, std::vector<Session*> sessions);
  Task<std::optional<Error>> bring_up(BootItem item, Session* session);

  sim::World& world_;
  std::string name_;
  uint64_t write_buffer_bytes_;
  policy::AdmissionOptions admission_;
  PoolOptions pool_options_;
  std::unique_ptr<sim::SimDrive> drive_;
  bool formatted_ = false;
  std::unique_ptr<sim::SimReactor> reactor_;
  uint64_t boots_ = 1;  // power sessions so far
  SimBufferMemory buffer_memory_;
  std::unique_ptr<WriteBuffer> buffer_;
  std::unique_ptr<Host> host_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::unique_ptr<WaitQueue> pool_opened_;
  bool pool_ready_ = false;
  std::optional<Error> pool_error_;
};

}  // namespace latte::simtest
