// HybridDisk, the applier: takes the oldest segment of the cloud log to the base, newest versions
// only, and gives the segment back. Lazy: it works when the log is half full, or when asked to
// drain.
//
// Invariants: 1. Nothing above contiguous_seq() is applied: a take-over may still cut it off, and
//                what it replaced would be the newest. So that is applied.
//             2. A segment is given back only when the base has its blocks durably, the pool's log
//                is flushed (HybridDisk's invariant 4), and the log's superblock says so durably.
// Limits: one segment in memory; kApplyDepth base writes under way.
#include <algorithm>
#include <unordered_map>

#include "base/buffer.h"
#include "base/logging.h"
#include "base/planted.h"
#include "disk/cloud_super.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

constexpr size_t kApplyDepth = 16;
/// Largest write to the base, in blocks (1 MiB).
constexpr size_t kApplyRunBlocks = 256;
/// Longest discard of the base in one request.
constexpr uint64_t kDiscardBytes = 1ull << 30;
/// For how long a cloud that is away is asked whose the log is in which there is damage.
constexpr TimeNs kOwnerAskNs = 30 * kSecond;
constexpr TimeNs kOwnerAskAgainNs = 200 * kMillisecond;

}  // namespace

// What applying a segment means, gathered at one instant.
struct HybridDisk::ApplyWork {
  std::vector<ApplyItem> items;    // blocks to write to the base
  std::vector<log::Entry> zeroes;  // ranges to zero in it
};

/// The front segment is closed, and no take-over can cut anything of it.
bool HybridDisk::front_appliable() const {
  const auto& chain = cloud_stream_->chain();
  if (chain.empty()) return false;
  const bool closed = chain.size() > 1 || !cloud_stream_->open();
  if (planted(Planted::apply_unshipped)) return closed;
  return closed && Seq(chain.front().max_seq) <= contiguous_seq();
}

bool HybridDisk::apply_wanted() const {
  if (draining_) return !cloud_stream_->chain().empty();
  const uint64_t used = cloud_space_->segment_count() - cloud_space_->free_segments();
  return (cloud_room_wanted_ || used * 2 > cloud_space_->segment_count()) && front_appliable();
}

/// Should the open segment be closed, so that it can be applied and cut off?
bool HybridDisk::seal_wanted() const {
  if (!cloud_stream_->open() || cloud_stream_->failed() || !cloud_stream_->idle()) return false;
  if (draining_) return !ship_pending() && pending_seqs_.empty();
  return cloud_room_wanted_ && cloud_stream_->chain().size() == 1 &&
         cloud_space_->free_segments() <= 1;
}

/// A disk that is handed over has clients who wait until applying has ended here: what is left is
/// the next owner's. Unless its last writes wait for the room that applying makes.
bool HybridDisk::may_apply() const {
  return !background_stop_ && going_on() && (state_ != State::handing_over || cloud_room_wanted_);
}

Task<void> HybridDisk::run_applier() {
  while (!background_stop_ && going_on()) {
    bool progress = false;
    const uint64_t notified = apply_work_.notified();
    // As late as possible: only when all is shipped, or the cloud log must be cut to go on.
    const bool must_abandon = (!ship_pending() && pending_seqs_.empty()) || apply_wanted();
    if (abandoning_ && !pool_abandoned_ && must_abandon)
      progress = co_await abandon_pool();
    else if (may_apply() && apply_wanted() && front_appliable())
      progress = co_await apply_front();
    else if (seal_wanted())
      progress = co_await cloud_stream_->seal_open_segment() == IoStatus::ok;
    const bool missed = apply_work_.notified() != notified;
    if (!progress && !missed && !background_stop_) co_await apply_work_.wait();
  }
  --background_tasks_;
  active_ended_.notify_all();
}

Task<bool> HybridDisk::apply_front() {
  // A failed pool can't be flushed; until its content is declared void nothing may be cut (see
  // abandon_pool()).
  if (abandoning_ && !pool_abandoned_) co_return false;
  const TimeNs start_ns = reactor_.now();
  const log::LogStream::ChainSegment segment = cloud_stream_->chain().front();
  const log::FoundSegment found =
      co_await log::find_footer(*cloud_space_, segment.segment, segment.salt);
  const log::SegmentContent content =
      co_await log::load_segment(*cloud_space_, found, segment.used_blocks);
  if (!may_apply()) co_return false;
  if (content.unreadable || content.gap_inside || content.end_block < segment.used_blocks) {
    co_await on_cloud_damage(segment.segment);
    co_return false;
  }
  if (losses_overtaken(lost_in(content))) co_return false;
  ApplyWork work = gather_apply_work(segment, content);
  const bool data_done = co_await apply_data(segment, work.items);
  if (!data_done) co_return false;
  const bool zeroes_done = co_await apply_zeroes(work.zeroes);
  if (!zeroes_done) co_return false;
  if (carried_order_ != segment.order) {
    const bool carried = co_await carry_lost(content);
    if (!carried) co_return false;
    carried_order_ = segment.order;
  }
  const bool trimmed = co_await trim_cloud_log(segment.order + 1);
  if (trimmed)
    pacer_.on_applied(content.crcs.size() * kBlockBytes,
                      uint64_t{cloud_space_->segment_blocks()} * kBlockBytes,
                      reactor_.now() - start_ns);
  co_return trimmed;
}

/// A segment that can't be read may be damaged, or another host's by now: it may reuse what this
/// one still counts as its own.
Task<void> HybridDisk::on_cloud_damage(uint32_t segment) {
  const TimeNs deadline_ns = reactor_.now() + kOwnerAskNs;
  CloudOwner owner = co_await read_owner(cloud_);
  while (!owner.answered && going_on() && !background_stop_ && reactor_.now() < deadline_ns) {
    co_await reactor_.sleep(kOwnerAskAgainNs);
    owner = co_await read_owner(cloud_);
  }
  if (background_stop_ || !going_on()) co_return;
  if (owner.super && !owner.is(super_.owner_pool_id)) {
    on_cloud_status(IoStatus::fenced);
    co_return;
  }
  log_error("disk {}: cloud log segment {} is damaged; it stays, and is not applied", name(),
            segment);
  on_cloud_status(IoStatus::checksum);
}

HybridDisk::ApplyWork HybridDisk::gather_apply_work(const log::LogStream::ChainSegment& segment,
                                                    const log::SegmentContent& content) const {
  ApplyWork work;
  const Seq certain = contiguous_seq();
  std::unordered_map<uint64_t, size_t> replaced;  // by what may be cut off; where in the items
  for (const log::TableEntry& item : content.entries) {
    const log::Entry& entry = item.entry;
    if (!range_within(entry.lba, entry.count, block_count_)) continue;
    if (cut_seqs_.contains(Seq(entry.seq))) continue;
    const log::BlockAddress address = cloud_space_->address(segment.segment, item.data_block);
    if (entry.kind == log::EntryKind::data) {
      for (uint64_t i = 0; i < entry.count; ++i) {
        const ApplyItem block{Lba(entry.lba + i), address + i,
                              static_cast<uint32_t>(item.data_block + i)};
        if (cloud_index_.find(block.lba) == block.address) {
          work.items.push_back(block);
        } else if (cloud_is_newer(block.lba, certain) && !planted(Planted::apply_only_newest)) {
          const auto [at, first] = replaced.emplace(block.lba.value, work.items.size());
          if (first)
            work.items.push_back(block);
          else
            work.items[at->second] = block;
        }
      }
    } else if (entry.kind == log::EntryKind::zero) {
      cloud_extents_.for_each_in(
          Lba(entry.lba), entry.count, [&](Lba lba, uint64_t count, const ExtentMap::Range& range) {
            if (range.kind != ExtentKind::zero || range.seq.value != entry.seq) return;
            log::Entry zero = entry;
            zero.lba = lba.value;
            zero.count = count;
            work.zeroes.push_back(zero);
          });
    }
  }
  return work;
}

Task<bool> HybridDisk::apply_data(const log::LogStream::ChainSegment& segment,
                                  std::vector<ApplyItem>& items) {
  if (items.empty()) co_return true;
  Buffer bytes(size_t{cloud_space_->segment_blocks()} * kBlockBytes);
  const bool read = co_await read_for_apply(segment, items, bytes.span());
  if (!read) co_return false;
  std::sort(items.begin(), items.end(),
            [](const ApplyItem& a, const ApplyItem& b) { return a.lba < b.lba; });
  const bool written = co_await write_runs(items, bytes.span());
  if (!written) co_return false;
  // From here on these blocks are read from the base; a newer version keeps its place.
  for (const ApplyItem& item : items) cloud_index_.erase_if(item.lba, item.address);
  co_return true;
}

/// False if the base failed or there was no time for all of it; what is there of it does no harm,
/// the log still has it.
Task<bool> HybridDisk::write_runs(const std::vector<ApplyItem>& items,
                                  std::span<const std::byte> bytes) {
  IoGroup group(reactor_);
  std::vector<iovec> iov(items.size());
  size_t i = 0;
  while (i < items.size() && may_apply()) {
    size_t run = 0;
    while (i + run < items.size() && run < kApplyRunBlocks &&
           items[i + run].lba == items[i].lba + run) {
      const auto block =
          bytes.subspan(size_t{items[i + run].offset_blocks} * kBlockBytes, kBlockBytes);
      iov[i + run] = {const_cast<std::byte*>(block.data()), kBlockBytes};
      ++run;
    }
    ++group.running;
    reactor_.spawn(write_member(group, items[i].lba.value * kBlockBytes, {&iov[i], run}));
    i += run;
    while (group.running >= kApplyDepth) co_await group.ended.wait();
  }
  while (group.running > 0) co_await group.ended.wait();
  if (group.status == IoStatus::ok) co_return i == items.size();
  on_cloud_status(group.status);
  co_return false;
}

Task<void> HybridDisk::write_member(IoGroup& group, uint64_t offset, std::span<iovec> blocks) {
  IoRequest request;
  request.op = IoOp::write;
  request.offset = offset;
  request.length = blocks.size() * kBlockBytes;
  request.iov = blocks.data();
  request.iov_count = static_cast<uint32_t>(blocks.size());
  const IoStatus status = co_await base_.io(request);
  if (status != IoStatus::ok) group.status = status;
  --group.running;
  group.ended.notify_all();
}

Task<bool> HybridDisk::apply_zeroes(const std::vector<log::Entry>& zeroes) {
  for (const log::Entry& zero : zeroes) {
    const uint64_t bytes = zero.count * kBlockBytes;
    for (uint64_t at = 0; at < bytes; at += kDiscardBytes) {
      if (!may_apply()) co_return false;
      const uint64_t length = std::min(kDiscardBytes, bytes - at);
      const IoStatus status = co_await base_.discard(zero.lba * kBlockBytes + at, length);
      if (status == IoStatus::ok) continue;
      on_cloud_status(status);
      co_return false;
    }
    cloud_extents_.erase_up_to(Lba(zero.lba), zero.count, Seq(zero.seq));
  }
  co_return true;
}

}  // namespace latte
