// HybridDisk: one disk made of a log on the pool, a log in the cloud and a base image, in one
// order. A BlockDevice, so any front end serves it.
//
// Where a block's newest copy is, in the order in which it is looked for:
//   local layer   local_index_ (address in the pool) and local_extents_ (discards not shipped yet)
//   cloud layer   cloud_index_ (address in the cloud log) and cloud_extents_ (zeroes, lost blocks)
//   base
//
// Invariants:
//  1. Every write has a seq, given at the instant it is admitted to a log. The pool's log holds a
//     disk's writes in seq order. So does the cloud's, but for early writes (EarlyWrite): those
//     precede in it what was written before them to other blocks, never to their own.
//  2. What the local layer holds is the newest version. Within a layer a block is in the index or
//     in an extent, never in both. The cloud layer compares seqs: a lower one never replaces a
//     higher one.
//  3. contiguous_seq(): every seq up to it is durable in the cloud log or the base. It never goes
//     back. The applier takes nothing above it to the base, and the cloud log is cut only below it.
//  4. Before the cloud log is cut, the pool's log is flushed: otherwise a crash could bring back an
//     old pool copy of a block whose newest version is only in the base.
//  5. Writes that overlap are ordered by tickets where that matters (see Ticket).
//  6. A copy in the pool is what the cloud has, and as new: nothing was written to its blocks from
//     before they were fetched until the copy got its place in the log (see Fetch). The same holds
//     for what was read ahead, and for what is staged, until it is dropped.
// Thread rule: one reactor, the host's. Limits: named in the .cc files.
#pragma once

#include <array>
#include <bitset>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <memory>
#include <memory_resource>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "device/cloud_meter.h"
#include "device/cloud_snapshots.h"
#include "device/cloud_volume.h"
#include "device/credit_bucket.h"
#include "device/metered_device.h"
#include "device/retrying_device.h"
#include "disk/host.h"
#include "disk/pool.h"
#include "disk/staging.h"
#include "disk/stats.h"
#include "log/block_index.h"
#include "log/extent_map.h"
#include "log/log_stream.h"
#include "log/recovery.h"
#include "log/seq_set.h"
#include "policy/drain_cost.h"
#include "policy/stream_detector.h"
#include "policy/tier_chooser.h"
#include "policy/write_pacer.h"
#include "policy/write_policy.h"
#include "runtime/block_device.h"
#include "runtime/sync.h"

namespace latte {

class HybridDisk final : public BlockDevice,
                         private Reclaimable,
                         private Staging::Owner,
                         private CloudUrgency {
 public:
  /// `super` is the cloud superblock under whose generation this host attached the disk.
  HybridDisk(Reactor& reactor, Pool& pool, CloudVolume& cloud, DiskOptions options,
             const log::CloudSuper& super);
  ~HybridDisk() override;

  /// Builds both layers from the logs. `pool_segments` is what find_segments() found in the pool.
  /// Errors: damaged, io, not_owner (fenced meanwhile).
  Task<Result<void>> recover(const std::vector<log::FoundSegment>& pool_segments);
  /// Starts shipping and applying; requests are accepted from now on.
  void start();
  /// Refuses new requests, lets those under way end, flushes, stops background work.
  /// Error: io, where a failed pool holds what neither it nor the cloud has for good.
  Task<Result<void>> stop();
  /// Everything into the cloud, then gives the disk up: afterwards it is fenced here, and nobody's.
  /// Clients' requests are held for the last step, and go on here if it fails. If the cloud does
  /// not tell whether it did, an error is returned, and they are held until it tells. Errors:
  /// invalid (not online), io (the cloud), busy (taken over meanwhile).
  Task<Result<void>> hand_over();
  /// Another size from now on; what the disk gains reads as zeroes. Smaller only if nothing is in
  /// use behind the new end, or by `force`. Errors: invalid (not online, the size, data behind the
  /// end), busy, io (the cloud), as CloudVolume::grow_base().
  Task<Result<void>> resize(uint64_t size_bytes, bool force);
  /// Keeps the disk under a name in the cloud, as it is after one of its writes: all that were
  /// acknowledged by now are in it, and none without those before it. Clients go on meanwhile.
  /// Errors: unsupported (the cloud has no snapshots), exists, invalid (not online, the name),
  /// busy, no_space, io.
  Task<Result<void>> make_snapshot(std::string snapshot);
  /// Errors: not_found, busy (something depends on it), and as above.
  Task<Result<void>> remove_snapshot(std::string snapshot);
  /// Oldest first. Errors: unsupported, invalid (not online), busy, damaged, io.
  Task<Result<std::vector<CloudSnapshot>>> list_snapshots();
  /// Gives the pool back what a fenced disk has of it; the disk serves nothing more. Errors: io.
  Task<Result<void>> retire();
  bool fenced() const { return state_ == State::fenced; }
  /// Everything into the base, and the cloud log empty.
  Task<Result<void>> drain(Progress* progress);
  DiskStats stats() const;
  /// What the cloud volume is asked for, counted and limited.
  CloudMeter& cloud_meter() { return *meter_; }

  const DeviceInfo& info() const override { return info_; }
  bool submit(IoRequest& request) override;
  size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) override;

  const Uuid& id() const { return id_; }
  const std::string& name() const { return options_.name; }
  uint64_t index_memory_bytes() const {
    return local_index_.memory_bytes() + cloud_index_.memory_bytes();
  }

 private:
  enum class State : uint8_t {
    recovering,
    online,
    handing_over,  // requests are held
    resizing,      // likewise
    fenced,
    failed,
    stopped
  };

  /// A write under way, in order of arrival. An exclusive one overlaps no other: it waits for the
  /// overlapping ones before it, and those after it wait for it. Read-modify-write, and writes
  /// straight to the cloud, are exclusive.
  struct Ticket : ListNode {
    Lba lba;
    uint64_t count = 0;
    uint64_t order = 0;  ///< of arrival
    bool exclusive = false;
    std::coroutine_handle<> waiter;  ///< of who waits for those in its way
    struct Wait;
  };
  /// A write whose seq is not yet in a log for good; the list is in seq order.
  struct PendingSeq : ListNode {
    Seq seq;
    TimeNs since_ns = 0;  ///< when it got the seq
    Lba lba;
    uint64_t count = 0;
    bool direct = false;        ///< on its way to the cloud log
    bool in_cloud_log = false;  ///< admitted there
  };
  /// A stretch of blocks that one device request can read.
  struct Run {
    enum class Source : uint8_t { local, cloud_log, base, zero, lost } source = Source::base;
    Lba lba;
    uint64_t count = 0;
    log::BlockAddress address = 0;
  };

  /// May what a read fetches from the cloud become a copy in the pool?
  enum class Keep : uint8_t {
    no,
    alone,  ///< no, nor does it wait for what another read fetches
    pass_by,
    if_worth
  };
  /// Blocks that were read from the cloud, or are just being read, and may be staged or become
  /// copies. Listed in fetches_ until they are, or are dropped; whoever reads them meanwhile is
  /// served from here.
  struct Fetch : ListNode, std::enable_shared_from_this<Fetch> {
    static constexpr uint64_t kMaxBlocks = 256;
    Fetch(Reactor& reactor, Lba first, uint64_t blocks, uint64_t& held)
        : lba(first), count(blocks), data(blocks * kBlockBytes), ended(reactor), held_bytes(held) {
      held_bytes += data.size();
    }
    ~Fetch() { held_bytes -= data.size(); }

    Lba lba;
    uint64_t count;
    Buffer data;
    std::bitset<kMaxBlocks> worth;  ///< a copy, block by block
    bool overtaken = false;         ///< by a write: what was read may be old
    bool reading = true;            ///< the cloud has not answered yet
    IoStatus status = IoStatus::ok;
    WaitQueue ended;
    uint64_t& held_bytes;
  };
  struct Copy;
  struct Race;      // race.h
  struct TierRead;  // read_dispatch.cc
  DispatchIo io_now(IoKind kind, uint64_t blocks) const;
  DispatchTicket begin_io(IoKind kind, uint64_t blocks, Tier tier);
  void end_io(const DispatchTicket& ticket, IoStatus status);
  void note_pool_read(const DispatchIo& io, TimeNs now_ns);
  bool both_have(const Run& local, Run& cloud) const;
  /// A read of blocks that are in the pool, by the tier of the ticket's.
  struct PoolRead {
    DispatchTicket ticket;
    Run cloud;          ///< where the cloud has them, if the ticket names it
    bool race = false;  ///< the cloud is asked, or may be
  };
  PoolRead begin_pool_read(const Run& local);
  Task<IoStatus> read_raced(Run local, PoolRead read, std::span<std::byte> out, Keep keep);
  Task<bool> read_first_tier(Run local, Run cloud, DispatchTicket ticket, std::span<std::byte> out);
  void save_hedge();
  bool may_hedge(uint64_t blocks);
  bool pool_read_fits(uint64_t blocks) const;
  bool only_to_know(const DispatchTicket& ticket) const;
  TimeNs cloud_patience_ns(IoKind kind) const;
  TimeNs pool_patience_ns() const;
  std::shared_ptr<TierRead> start_other_read(std::shared_ptr<Race> race,
                                             const DispatchTicket& first, Run local);
  std::shared_ptr<TierRead> start_tier_read(std::shared_ptr<Race> race, Run run,
                                            DispatchTicket ticket);
  Task<void> run_tier_read(std::shared_ptr<TierRead> read);
  bool take_from(const TierRead& read, const Run& local, std::span<std::byte> out);

  struct Ahead;  // read_ahead.cc
  /// How far a stream has been read ahead, and how far ahead of its reader it is to be.
  struct AheadWindow {
    uint64_t end = 0;
    uint64_t blocks = 0;
  };

  // admission.cc

  /// Several device requests that make up one operation.
  struct IoGroup {
    explicit IoGroup(Reactor& reactor) : ended(reactor) {}
    size_t running = 0;
    IoStatus status = IoStatus::ok;
    WaitQueue ended;
  };

  // requests.cc; disk_stats.cc: stats(), extents()
  bool refuse(IoRequest& request, IoStatus status);
  void finish(IoRequest& request, IoStatus status, TimeNs start_ns);
  Task<void> run_write(IoRequest& request);
  Task<void> run_zero(IoRequest& request);
  Task<void> run_read(IoRequest& request);
  Task<void> run_flush(IoRequest& request);
  Task<IoStatus> flush_disk();

  // life_cycle.cc: these and start(), drain(), stop()
  Task<void> settle();
  Task<void> end_background();
  void wake_all();
  Task<void> forward_room(WaitQueue& freed);
  Task<void> close_local_log();
  void enter(State state, const std::string& reason);
  void on_cloud_status(IoStatus status);

  // hand_over.cc: hand_over(), retire(), and these
  Task<void> run_held(IoRequest& request);
  Task<bool> ship_down_to(uint64_t left_bytes, TimeNs limit_ns);
  Task<Result<void>> give_up_ownership();
  void given_up(const log::CloudSuper& next);
  Task<bool> ask_whether_given_up();
  Task<void> await_owner();

  // resize.cc: resize(), and these
  Error not_resized(Errc code, const std::string& why) const;
  Task<Result<void>> grow(uint64_t size_bytes);
  Task<IoStatus> zero_hidden(uint64_t end_bytes);
  Task<Result<void>> grow_extent(uint64_t size_bytes);
  Task<Result<void>> shrink(uint64_t size_bytes, bool force);
  Task<Result<void>> expect_zeroes(uint64_t from, uint64_t to);
  Task<Result<void>> store_size(uint64_t size_bytes);
  Task<Result<void>> swap_size(uint64_t size_bytes);

  // snapshot.cc
  Error no_snapshot(Errc code, const std::string& snapshot, const std::string& why) const;
  Result<CloudSnapshots*> snapshot_service() const;
  Result<CloudSnapshots*> snapshot_service(const std::string& snapshot) const;
  Task<bool> ship_all_so_far();
  Task<Result<void>> keep_in_cloud(CloudSnapshots& service, std::string snapshot);
  Task<bool> hold_cloud(TimeNs deadline_ns);

  // write_path.cc
  Task<void> acquire(Ticket& ticket);
  bool blocked(const Ticket& ticket) const;
  void make_exclusive(Ticket& ticket);
  void release(Ticket& ticket);
  void take_seq(PendingSeq& pending);
  bool under_way(Lba lba, uint64_t count, bool direct_too) const;
  Task<IoStatus> write_unaligned(uint64_t offset, std::span<const std::byte> data);
  Task<IoStatus> write_blocks(Lba lba, uint64_t count, const std::byte* data, log::EntryKind kind,
                              bool exclusive);
  Task<IoStatus> write_piece(Lba lba, uint64_t count, const std::byte* data, log::EntryKind kind,
                             bool exclusive);
  Task<IoStatus> write_direct(Lba lba, uint64_t count, const std::byte* data, log::EntryKind kind,
                              PendingSeq& pending, bool with_note);
  Task<IoStatus> make_cloud_log_durable();
  Task<void> pace(uint64_t bytes);
  bool urgent(CloudClass io_class) const override;  // CloudUrgency
  /// Clients' requests wait for a moment.
  bool holding() const { return state_ == State::handing_over || state_ == State::resizing; }
  /// Neither fenced nor failed: writes may go on.
  bool going_on() const { return state_ == State::online || holding() || state_ == State::stopped; }
  bool local_usable() const { return !pool_.failed() && !local_->failed(); }
  bool local_room(uint64_t blocks) const;
  bool cloud_room(uint64_t blocks, const PendingSeq* own);
  void on_local_failure(IoStatus status);

  // write_early.cc
  struct EarlyWrite;  // early_write.h
  void finish_early_write(const EarlyWrite& write);
  bool beside_others(const Ticket& own) const;
  bool may_write_early(Lba lba, uint64_t count) const;
  DispatchTicket choose_write_tier(const log::Append& write, const Ticket* own);
  TimeNs entering_since_ns() const;
  bool pool_log_stalls() const;
  uint64_t segments_to_ship() const;
  bool cloud_log_is_newest(Lba lba, uint64_t count) const;
  std::shared_ptr<EarlyWrite> start_early_write(const log::Append& write, DispatchTicket timed);
  Task<void> run_early_write(std::shared_ptr<EarlyWrite> write);
  Task<void> await_early_write(std::shared_ptr<EarlyWrite> write);
  void note_stale_later(Lba lba, uint64_t count, Seq seq);

  // layers.cc
  void install_local(const log::Append& append);
  void install_cloud(Lba lba, uint64_t count, log::BlockAddress address, Seq seq);
  void install_cloud_extent(Lba lba, uint64_t count, ExtentKind kind, Seq seq);
  void forget_local(Lba lba, uint64_t count, Seq up_to);

  // read_path.cc
  Run resolve(Lba lba, uint64_t limit) const;
  Run resolve_cloud(Lba lba, uint64_t limit, bool covered) const;
  Task<IoStatus> read_blocks(Lba lba, std::span<std::byte> out, Keep keep);
  Task<IoStatus> read_run(Run run, std::span<std::byte> out, Keep keep);
  Task<IoStatus> read_local(Run run, std::span<std::byte> out, Keep keep);
  Task<IoStatus> read_cloud(Run run, std::span<std::byte> out);
  Task<void> read_member(IoGroup& group, Run run, std::span<std::byte> out, Keep keep);
  Task<IoStatus> read_in_order(Lba lba, std::span<std::byte> out, Keep keep);
  bool is_shipped(log::BlockAddress local_address) const;

  // read_ahead.cc
  void read_ahead(const policy::StreamDetector::Sighting& seen);
  Task<void> fetch_ahead(std::shared_ptr<Ahead> piece);
  std::shared_ptr<Ahead> piece_at(Lba lba);
  Task<IoStatus> read_piece(std::shared_ptr<Ahead> piece, Run run, std::span<std::byte> out,
                            Keep keep);
  void widen_window(Lba lba);
  void drop_old_pieces();
  void drop_pieces(Lba lba, uint64_t count);

  // admission.cc
  Keep begin_read(const IoRequest& request);
  std::shared_ptr<Fetch> begin_fetch(const Run& run);
  void end_fetch(std::shared_ptr<Fetch> fetch, IoStatus status);
  std::shared_ptr<Fetch> fetch_at(Lba lba);
  Task<IoStatus> read_fetched(std::shared_ptr<Fetch> fetch, Run run, std::span<std::byte> out,
                              Keep keep);
  void forgo(Lba lba, uint64_t count, const std::bitset<Fetch::kMaxBlocks>& worth);
  void queue_for_admission(std::shared_ptr<Fetch> fetch);
  void stage(const Fetch& fetch);
  uint64_t read_staged(const Run& run, std::span<std::byte> out);
  void unstaged(Lba lba, std::span<const std::byte> data, uint32_t reads) override;
  void overtake_fetches(Lba lba, uint64_t count);
  bool copies_welcome() const;
  bool admit_copy(log::Append& append, Lba lba, uint64_t count, const std::byte* data,
                  log::WriteCause cause);
  uint64_t blocks_to_admit() const;
  Task<void> run_admitter();
  Task<void> admit_batch();
  uint64_t admit_fetched(Fetch& fetch, std::deque<Copy>& copies);
  void install_copy(const Copy& copy);

  // shipper.cc
  struct ShipItem;   // ship_batch.h
  struct ShipBatch;  // ship_batch.h
  Task<void> run_shipper();
  Task<void> await_ship_work();
  Task<void> wake_shipper_at(TimeNs due_ns);
  Task<bool> ship_once();
  Task<bool> append_ship_batch(ShipBatch& batch);
  Task<void> wait_for_cloud_room();
  Task<bool> finish_admitted(ShipBatch& batch);
  void note_shipped_before(const ShipBatch& batch);
  void install_shipped(const ShipItem& item);
  void mark_pieces(ShipBatch& batch, size_t index);
  void finish_ship_batch(ShipBatch& batch);
  Seq contiguous_seq() const;
  bool ship_pending() const;
  log::LogPosition shipped_end() const;
  Task<IoStatus> wait_in_cloud(Seq seq);
  TimeNs ship_delay_ns() const;
  void note_written(log::LogPosition end);
  TimeNs oldest_unshipped_ns() const;
  TimeNs lag_ns() const;

  // ship_load.cc
  Task<bool> load_ship_batch(ShipBatch& batch);
  void take_ship_record(ShipBatch& batch, const log::RecordView& record,
                        log::BlockAddress record_address, std::span<const std::byte> data);
  void take_ship_entry(ShipBatch& batch, const log::Entry& entry, log::BlockAddress address,
                       std::span<const std::byte> data, std::span<const uint32_t> crcs);
  void take_gaps(ShipBatch& batch);
  void add_ship_data(ShipBatch& batch, const log::Entry& entry, log::BlockAddress address,
                     std::span<const std::byte> data, std::span<const uint32_t> crcs);
  Task<void> read_lost_again(ShipBatch& batch);

  // ship_damaged.cc
  Task<bool> load_by_table(ShipBatch& batch, log::LogStream::ChainSegment segment,
                           uint32_t record_block, uint32_t limit_block);
  Task<bool> load_damaged(ShipBatch& batch, log::LogStream::ChainSegment segment,
                          uint32_t from_block, uint32_t limit_block);
  void add_unknown(ShipBatch& batch, log::LogPosition end, Seq seq);

  // applier.cc
  /// A block of the segment that is the cloud layer's newest, or of what no take-over can cut off.
  struct ApplyItem {
    Lba lba;
    log::BlockAddress address = 0;
    uint32_t offset_blocks = 0;  // in the segment's bytes
  };
  struct ApplyWork;
  Task<void> run_applier();
  bool apply_wanted() const;
  bool may_apply() const;
  bool seal_wanted() const;
  bool front_appliable() const;
  Task<bool> apply_front();
  Task<void> on_cloud_damage(uint32_t segment);
  ApplyWork gather_apply_work(const log::LogStream::ChainSegment& segment,
                              const log::SegmentContent& content) const;
  Task<bool> apply_data(const log::LogStream::ChainSegment& segment, std::vector<ApplyItem>& items);
  Task<bool> write_runs(const std::vector<ApplyItem>& items, std::span<const std::byte> bytes);
  Task<void> write_member(IoGroup& group, uint64_t offset, std::span<iovec> blocks);
  Task<bool> apply_zeroes(const std::vector<log::Entry>& zeroes);

  // apply_read.cc
  Task<bool> read_for_apply(const log::LogStream::ChainSegment& segment,
                            const std::vector<ApplyItem>& items, std::span<std::byte> bytes);
  Task<void> read_from_pool(const std::vector<ApplyItem>& items, std::span<std::byte> bytes,
                            std::span<uint8_t> good);
  Task<bool> read_missing(const log::LogStream::ChainSegment& segment,
                          const std::vector<ApplyItem>& items, std::span<const uint8_t> good,
                          std::span<std::byte> bytes);

  // cloud_trim.cc
  bool on_its_way_to_cloud(Lba lba, uint64_t count);
  std::deque<log::Append> lost_in(const log::SegmentContent& content) const;
  bool losses_overtaken(const std::deque<log::Append>& lost);
  Task<bool> carry_lost(const log::SegmentContent& content);
  Seq highest_seq_before(uint64_t order) const;
  Task<bool> trim_cloud_log(uint64_t tail_order);
  Task<bool> abandon_pool();

  // recover.cc
  Task<Result<void>> recover_cloud();
  Task<Result<void>> account_for_gaps();
  Task<bool> write_pending_notes();
  Task<bool> write_some_notes();

  // recover_local.cc
  class LocalVisitor;
  Task<Result<void>> recover_local(const std::vector<log::FoundSegment>& pool_segments);
  bool cloud_is_newer(Lba lba, Seq than) const;

  // Reclaimable (local_cache.cc)
  size_t reclaimable_segments() const override;
  Task<void> seal_if_shipped() override;
  Task<void> evacuate_front() override;
  void cut_front(std::vector<uint32_t>& segments) override;
  void pool_failed() override {
    if (state_ != State::recovering) on_local_failure(IoStatus::io_error);  // else start() looks
  }
  using Hot = std::pair<Lba, log::BlockAddress>;
  Task<void> reinsert(std::span<const Hot> hot);
  Task<void> read_hot(IoGroup& group, log::BlockAddress address, std::span<std::byte> out,
                      std::span<uint8_t> good);

  Reactor& reactor_;
  Pool& pool_;
  CloudVolume& cloud_;
  DiskOptions options_;
  Uuid id_;
  uint64_t admission_key_;  // stands for the disk in the pool's names
  log::CloudSuper super_;
  DeviceInfo info_;
  uint64_t block_count_;  // of the extent; clients reach info_.size_bytes of it
  bool resizing_ = false;
  bool snapshotting_ = false;
  bool storing_size_ = false;  // the superblock is being swapped for that
  bool size_unknown_ = false;  // the cloud did not say whether it took a size

  DeviceTraffic base_traffic_;
  DeviceTraffic log_traffic_;
  RetryingDevice base_retry_;
  RetryingDevice log_retry_;
  std::shared_ptr<CloudMeter> meter_;
  MeteredDevice base_;
  MeteredDevice cloud_log_device_;
  std::unique_ptr<log::SegmentSpace> cloud_space_;
  std::unique_ptr<log::LogStream> local_;
  std::unique_ptr<log::LogStream> cloud_stream_;
  log::WriteAccount cloud_account_;

  BlockIndex local_index_;
  ExtentMap local_extents_;
  BlockIndex cloud_index_;
  ExtentMap cloud_extents_;

  PreferLocal policy_;
  uint64_t dispatched_bytes_ = 0;  // held by reads of the cloud of what the pool has
  float hedges_saved_ = 512;       // hedged reads that may be begun now
  uint64_t pool_read_bytes_ = 0;   // and by reads of the pool that may be hedged
  uint32_t guarded_reads_ = 0;     // of the pool that may be, since it was seen to stall
  TimeNs stalled_ns_ = 0;          // the turn in which it was last
  /// Reads of the pool that may be although it was not: 0.3 us of a core each.
  CreditBucket hedgeable_{{32'000, 0, 0}, 0};
  uint64_t early_bytes_ = 0;               // and by early writes
  uint64_t entering_blocks_ = 0;           // of writes on their way into the pool's log
  uint64_t early_written_bytes_ = 0;       // since a batch was shipped
  std::unique_ptr<TierChooser> dispatch_;  // null: the pool has precedence
  WritePacer pacer_;
  DrainCost drain_cost_;

  State state_ = State::recovering;
  std::string reason_;
  WaitQueue state_changed_;
  Seq next_seq_{1};
  IntrusiveList<PendingSeq> pending_seqs_;
  IntrusiveList<Ticket> tickets_;
  std::vector<const Ticket*> exclusive_tickets_;  // few
  size_t waiting_tickets_ = 0;
  uint64_t last_ticket_ = 0;
  size_t active_ = 0;  // client requests under way
  WaitQueue active_ended_;

  log::LogPosition shipped_;      // the cloud log holds the local log up to here
  Seq shipped_seq_;               // highest local seq shipped
  Seq last_local_seq_;            // highest local seq completed
  mutable Seq contiguous_floor_;  // contiguous_seq() never goes below what it once was
  uint64_t dirty_bytes_ = 0;
  std::pmr::unsynchronized_pool_resource ship_memory_;  // of batches, kept from one to the next
  const ShipBatch* shipping_ = nullptr;                 // what run_shipper() is sending
  struct LagSample {
    log::LogPosition end;
    TimeNs time_ns;
  };
  std::vector<LagSample> lag_samples_;  // oldest first from lag_head_ on; see note_written()
  size_t lag_head_ = 0;
  struct EarlyDone {
    Seq seq;
    TimeNs time_ns;
  };
  std::deque<EarlyDone> early_done_;  // early writes; before some the cloud may lack something
  Seq urgent_seq_;                    // somebody waits for this to be in the cloud
  bool cloud_room_wanted_ = false;    // somebody waits for room in the cloud log
  uint64_t carried_order_ = 0;        // front segment whose lost blocks were carried on already
  bool draining_ = false;
  bool background_stop_ = false;
  size_t background_tasks_ = 0;
  WaitQueue ship_work_;  // wakes the shipper
  Timer ship_timer_;
  WaitQueue cloud_progress_;  // contiguous_seq() rose, or the cloud log got room, or failure
  WaitQueue apply_work_;
  policy::StreamDetector streams_;
  std::array<AheadWindow, policy::StreamDetector::kStreams> ahead_windows_;
  std::vector<std::shared_ptr<Ahead>> ahead_;  // what was read ahead, or is being
  uint64_t fetch_bytes_ = 0;                   // held by fetches
  IntrusiveList<Fetch> fetches_;               // under way, queued or being written as copies
  std::deque<std::shared_ptr<Fetch>> admit_queue_;
  WaitQueue admit_work_;          // wakes the admitter
  uint64_t evacuated_order_ = 0;  // segments of the pool up to here are gone, or going
  bool abandoning_ = false;
  bool pool_abandoned_ = false;

  // Left by recovery.
  struct Gap {
    Seq first;
    uint64_t count = 0;
    Seq after;  // the last local seq before it
  };
  std::deque<Gap> gaps_;                   // to be shipped as empty, in order
  std::vector<log::Entry> pending_notes_;  // to be in the pool's log before the cloud log is cut
  SeqSet cut_seqs_;                        // of writes that a take-over dropped
  Seq void_seq_;                           // the pool's copies up to here count for nothing
  SeqSet cloud_seqs_;                      // in the cloud log; only while recovering
  SeqSet known_seqs_;                      // in either log; likewise
  SeqSet dirty_seqs_;                      // in the pool's log, to be shipped; likewise

  DiskStats stats_;
};

}  // namespace latte
