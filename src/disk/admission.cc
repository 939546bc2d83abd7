// HybridDisk, admission: blocks that reads had to fetch from the cloud become copies in the pool.
//
// A fetch reads into memory of its own. The client gets its data at once; the blocks that are worth
// it (policy/admission.h) wait for company, go to the log's head in one record, and into the index.
// The others may stay in memory (disk/staging.h), and be found worth it when they leave that.
// Client data go first everywhere: a copy takes no segment that writes need, and none is made while
// half of the disk's share holds what the cloud lacks.
//
// Never older data (promise 6): from the instant a fetch begins, every write that gets a seq marks
// the fetches it overlaps as overtaken. Such a fetch is not written any more; if it is on its way
// to the log it precedes the write there, and it does not go into the index. So a copy's place in
// the log and its seq - the last one given out - say truly that it is current there. What the write
// overlaps in memory is dropped at the same instant.
//
// Limits: kMaxFetchBytes of memory; kBatchBlocks a record or two.
#include <algorithm>
#include <cstring>

#include "base/planted.h"
#include "disk/hybrid_disk.h"

namespace latte {
namespace {

/// Memory of a disk's fetches, under way or waiting to be written.
constexpr uint64_t kMaxFetchBytes = 8u << 20;
/// Blocks written at a time, and how long fewer wait for company: a record's header is a block, so
/// a block alone would cost twice its size. Who reads them meanwhile gets them from memory.
constexpr uint64_t kBatchBlocks = 64;
constexpr TimeNs kGatherNs = 100 * kMillisecond;
constexpr TimeNs kGatherStepNs = 5 * kMillisecond;
/// A block that clients came back for so often while it was in memory is worth a copy.
constexpr uint32_t kWorthReads = 2;

}  // namespace

// A stretch of a fetch on its way to the log.
struct HybridDisk::Copy {
  Fetch* fetch = nullptr;
  log::Append append;
};

/// A client's read begins. May what it misses become copies? Streams pass by, and so does what no
/// policy asks for; what a stream is about to read is fetched.
HybridDisk::Keep HybridDisk::begin_read(const IoRequest& request) {
  policy::Admission& admission = pool_.admission();
  const bool none = admission.mode() == policy::AdmissionMode::none;
  if (!none && !admission.streams_pass_by()) return Keep::if_worth;
  const uint64_t first = request.offset / kBlockBytes;
  const uint64_t end = (request.offset + request.length + kBlockBytes - 1) / kBlockBytes;
  const auto seen = streams_.observe(Lba(first), end - first);
  if (seen.stream) read_ahead(seen);
  if (none) return Keep::no;
  if (seen.stream) return Keep::pass_by;
  admission.saw_read(admission_key_, Lba(first), end - first);
  return Keep::if_worth;
}

/// Is there room and time for copies, or do clients' data need both?
bool HybridDisk::copies_welcome() const {
  return state_ == State::online && !background_stop_ && local_usable() && !pool_.starving() &&
         dirty_bytes_ * 2 <= pool_.share_bytes();
}

/// The read of `run` is about to begin. Null if nothing of it is to be kept.
std::shared_ptr<HybridDisk::Fetch> HybridDisk::begin_fetch(const Run& run) {
  // Before the first write there is nothing but zeroes, and no seq to bind a copy to.
  if (!copies_welcome() || run.count > Fetch::kMaxBlocks || next_seq_ == Seq(1)) return nullptr;
  policy::Admission& admission = pool_.admission();
  std::bitset<Fetch::kMaxBlocks> worth;
  const bool lucky = admission.draw_lot();
  for (uint64_t i = 0; i < run.count; ++i)
    worth[i] = admission.worth(admission_key_, run.lba + i) || lucky;
  if (worth.none() && !pool_.staging().on()) return nullptr;
  bool others = under_way(run.lba, run.count, true);
  fetches_.for_each(
      [&](Fetch& other) { others |= overlap(other.lba, other.count, run.lba, run.count); });
  const bool full = fetch_bytes_ + run.count * kBlockBytes > kMaxFetchBytes;
  if (others || full) {
    // Written right now, or somebody else's fetch has them; else the next miss is to know them.
    if (!others) forgo(run.lba, run.count, worth);
    stats_.unadmitted_blocks += worth.count();
    return nullptr;
  }
  auto fetch = std::make_shared<Fetch>(reactor_, run.lba, run.count, fetch_bytes_);
  fetch->worth = worth;
  fetches_.push_back(*fetch);
  return fetch;
}

/// No room or time for what was read, or is about to be: its names are kept.
void HybridDisk::forgo(Lba lba, uint64_t count, const std::bitset<Fetch::kMaxBlocks>& worth) {
  policy::Admission& admission = pool_.admission();
  for (uint64_t i = 0; i < count; ++i)
    if (worth[i] || pool_.staging().on()) admission.remember(admission_key_, lba + i);
}

/// The read has ended: its blocks wait for the admitter, or in memory.
void HybridDisk::end_fetch(std::shared_ptr<Fetch> fetch, IoStatus status) {
  fetch->reading = false;
  fetch->status = status;
  fetch->ended.notify_all();
  if (status != IoStatus::ok) return;
  const bool stale = fetch->overtaken || !copies_welcome();
  if (stale) {
    if (!fetch->overtaken) forgo(fetch->lba, fetch->count, fetch->worth);
    stats_.unadmitted_blocks += fetch->worth.count();
    return;
  }
  if (pool_.staging().on()) stage(*fetch);
  if (fetch->worth.any()) queue_for_admission(std::move(fetch));
}

void HybridDisk::queue_for_admission(std::shared_ptr<Fetch> fetch) {
  admit_queue_.push_back(std::move(fetch));
  admit_work_.notify_all();
}

/// What is not worth a copy by now stays in memory for a while.
void HybridDisk::stage(const Fetch& fetch) {
  for (uint64_t i = 0; i < fetch.count; ++i) {
    if (fetch.worth[i]) continue;
    const auto block = fetch.data.span().subspan(i * kBlockBytes, kBlockBytes);
    pool_.staging().put(*this, fetch.lba + i, block);
  }
}

std::shared_ptr<HybridDisk::Fetch> HybridDisk::fetch_at(Lba lba) {
  Fetch* found = nullptr;
  fetches_.for_each([&](Fetch& fetch) {
    if (!fetch.overtaken && overlap(fetch.lba, fetch.count, lba, 1)) found = &fetch;
  });
  return found == nullptr ? nullptr : found->shared_from_this();
}

/// Reads `run` as far as `fetch` has it, and the rest as if it were a read of its own.
Task<IoStatus> HybridDisk::read_fetched(std::shared_ptr<Fetch> fetch, Run run,
                                        std::span<std::byte> out, Keep keep) {
  while (fetch->reading) co_await fetch->ended.wait();
  // Another's error is not ours: it may be of other blocks, and it has waited longer.
  if (fetch->status != IoStatus::ok) co_return co_await read_in_order(run.lba, out, Keep::alone);
  if (fetch->overtaken) co_return co_await read_in_order(run.lba, out, keep);
  const uint64_t from = run.lba - fetch->lba;
  const uint64_t count = std::min(run.count, fetch->count - from);
  const size_t bytes = count * kBlockBytes;
  std::memcpy(out.data(), fetch->data.data() + from * kBlockBytes, bytes);
  stats_.memory_served_blocks += count;
  co_return co_await read_in_order(run.lba + count, out.subspan(bytes), keep);
}

/// Reads from memory what it has of the beginning of `run`. Returns the number of blocks.
uint64_t HybridDisk::read_staged(const Run& run, std::span<std::byte> out) {
  uint64_t count = 0;
  for (; count < run.count; ++count) {
    const std::byte* block = pool_.staging().read(*this, run.lba + count);
    if (block == nullptr) break;
    std::memcpy(out.data() + count * kBlockBytes, block, kBlockBytes);
  }
  stats_.memory_served_blocks += count;
  return count;
}

void HybridDisk::unstaged(Lba lba, std::span<const std::byte> data, uint32_t reads) {
  const bool room = fetch_bytes_ + kBlockBytes <= kMaxFetchBytes;
  if (reads < kWorthReads || !room || !copies_welcome()) {
    pool_.admission().remember(admission_key_, lba);
    if (reads >= kWorthReads) ++stats_.unadmitted_blocks;
    return;
  }
  auto fetch = std::make_shared<Fetch>(reactor_, lba, 1, fetch_bytes_);
  fetch->reading = false;
  std::memcpy(fetch->data.data(), data.data(), kBlockBytes);
  fetch->worth.set(0);
  fetches_.push_back(*fetch);
  queue_for_admission(std::move(fetch));
}

/// Something is written to these blocks, or they go: what was fetched of them is old.
void HybridDisk::overtake_fetches(Lba lba, uint64_t count) {
  if (!planted(Planted::admit_stale_fetch))
    fetches_.for_each(
        [&](Fetch& fetch) { fetch.overtaken |= overlap(fetch.lba, fetch.count, lba, count); });
  if (!planted(Planted::stale_staging)) pool_.staging().drop(*this, lba, count);
  drop_pieces(lba, count);
}

/// Puts a copy at the log's head, as current now; the caller knows that it is. False if clients'
/// data or the budget do not allow it.
bool HybridDisk::admit_copy(log::Append& append, Lba lba, uint64_t count, const std::byte* data,
                            log::WriteCause cause) {
  if (!copies_welcome()) return false;
  // What gets another round is taken from a segment that is about to be free.
  const uint64_t reserve = cause == log::WriteCause::reinsertion ? pool_.reserve_segments() + 1
                                                                 : pool_.copy_reserve_segments();
  if (!local_->has_room(static_cast<uint32_t>(count), reserve)) return false;
  if (!pool_.admission().afford(count * kBlockBytes, reactor_.now())) return false;
  append.entry.seq = (next_seq_ - 1).value;
  append.entry.lba = lba.value;
  append.entry.count = count;
  append.entry.kind = log::EntryKind::copy;
  append.data = data;
  append.cause = cause;
  const bool admitted = local_->admit(append, reserve);
  LATTE_CHECK(admitted);
  return true;
}

uint64_t HybridDisk::blocks_to_admit() const {
  uint64_t blocks = 0;
  for (const auto& fetch : admit_queue_) blocks += fetch->worth.count();
  return blocks;
}

Task<void> HybridDisk::run_admitter() {
  while (!background_stop_ && going_on()) {
    if (admit_queue_.empty()) {
      co_await admit_work_.wait();
      continue;
    }
    const TimeNs until_ns = reactor_.now() + kGatherNs;
    while (blocks_to_admit() < kBatchBlocks && reactor_.now() < until_ns && !background_stop_)
      co_await reactor_.sleep(kGatherStepNs);
    co_await admit_batch();
    if (pool_.low()) pool_.poke();
  }
  admit_queue_.clear();
  --background_tasks_;
  active_ended_.notify_all();
}

/// Writes the blocks that have waited longest.
Task<void> HybridDisk::admit_batch() {
  std::vector<std::shared_ptr<Fetch>> batch;
  std::deque<Copy> copies;  // stable addresses
  uint64_t blocks = 0;
  while (!admit_queue_.empty() && blocks < kBatchBlocks) {
    batch.push_back(std::move(admit_queue_.front()));
    admit_queue_.pop_front();
    blocks += admit_fetched(*batch.back(), copies);
  }
  for (Copy& copy : copies) co_await local_->completed(copy.append);
  for (const Copy& copy : copies) install_copy(copy);
}

/// Queues what is worth a copy for the log. Returns the number of blocks.
uint64_t HybridDisk::admit_fetched(Fetch& fetch, std::deque<Copy>& copies) {
  uint64_t queued = 0;
  const uint64_t most = local_->max_append_blocks();
  for (uint64_t at = 0; at < fetch.count;) {
    const auto wanted = [&](uint64_t i) {
      return i < fetch.count && fetch.worth[i] &&
             local_index_.find(fetch.lba + i) == BlockIndex::kNone;
    };
    uint64_t count = 0;
    while (count < most && wanted(at + count)) ++count;
    if (count == 0) {
      ++at;
      continue;
    }
    Copy& copy = copies.emplace_back();
    copy.fetch = &fetch;
    const std::byte* data = fetch.data.data() + at * kBlockBytes;
    if (!fetch.overtaken &&
        admit_copy(copy.append, fetch.lba + at, count, data, log::WriteCause::admission)) {
      queued += count;
    } else {
      copies.pop_back();
      stats_.unadmitted_blocks += count;
    }
    at += count;
  }
  return queued;
}

/// The copy is in the log. It counts unless a write came meanwhile, or its segment is gone already.
void HybridDisk::install_copy(const Copy& copy) {
  const log::Append& append = copy.append;
  if (append.status != IoStatus::ok) {
    on_local_failure(append.status);
    return;
  }
  const bool gone = append.position.order <= evacuated_order_ || state_ == State::fenced;
  if (gone || copy.fetch->overtaken) return;
  for (uint64_t i = 0; i < append.entry.count; ++i) {
    const Lba lba(append.entry.lba + i);
    if (local_index_.find(lba) != BlockIndex::kNone && !planted(Planted::admit_stale_fetch))
      continue;
    local_index_.set(lba, append.address + i);
    ++stats_.admitted_blocks;
  }
}

}  // namespace latte
