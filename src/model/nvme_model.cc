#include "model/nvme_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "model/server.h"

namespace latte::model {
namespace {

/// A share of the past that a byte of new writes replaces: the pattern follows within some 4 MiB.
constexpr double kPatternBytes = 4 << 20;
/// While the drive collects, an idle die copies for this share of the time, and with all of the
/// reserve left the host's programs bring this share of the room they use.
constexpr double kIdleDuty = 0.35;
/// With none left they bring this much: more than they use.
constexpr double kCollectLead = 1.15;
/// A block that collection picks is never quite empty.
constexpr double kLeastLive = 0.02;

}  // namespace

NvmeModel::NvmeModel(const NvmeOptions& options, uint64_t seed)
    : options_(options),
      name_(options.name),
      noise_(seed),
      dies_(options.dies),
      channels_(options.channels) {
  LATTE_CHECK(options.dies > 0 && options.channels > 0 && options.dies % options.channels == 0);
  LATTE_CHECK(options.over_provision > 0 && options.program_bytes % options.page_bytes == 0);
  LATTE_CHECK(options.buffer_bytes >= 4 * uint64_t{options.program_bytes});
  // Every program in flight holds bytes of the buffer, except those of the request that waits.
  const uint64_t programs =
      (options.buffer_bytes + 2 * uint64_t{kMaxLengthBytes}) / options.program_bytes;
  releases_.resize(std::bit_ceil(programs + 2));
  state_.free_bytes = static_cast<double>(options.free_bytes_at_start);
  state_.collecting = options.free_bytes_at_start == 0;
}

TimeNs NvmeModel::submit(const ModelIo& io) {
  LATTE_CHECK(io.time_ns >= state_.last_ns);
  return serve(io);
}

TimeNs NvmeModel::peek(const ModelIo& io) {
  const State before = state_;
  peeking_ = true;
  const TimeNs end_ns = serve(io);
  peeking_ = false;
  // Backwards: the first note of a place is what it held.
  for (auto undo = die_undo_.rbegin(); undo != die_undo_.rend(); ++undo)
    *undo->where = undo->before;
  for (auto undo = channel_undo_.rbegin(); undo != channel_undo_.rend(); ++undo)
    *undo->where = undo->before;
  for (auto undo = release_undo_.rbegin(); undo != release_undo_.rend(); ++undo)
    *undo->where = undo->before;
  die_undo_.clear();
  channel_undo_.clear();
  release_undo_.clear();
  state_ = before;
  return end_ns;
}

NvmeModel::Die& NvmeModel::change(Die& die) {
  if (peeking_) die_undo_.push_back({&die, die});
  return die;
}

TimeNs& NvmeModel::change(TimeNs& channel) {
  if (peeking_) channel_undo_.push_back({&channel, channel});
  return channel;
}

double NvmeModel::write_amplification() const {
  if (state_.host_programs == 0) return 1;
  return static_cast<double>(state_.host_programs + state_.copy_programs) /
         static_cast<double>(state_.host_programs);
}

TimeNs NvmeModel::serve(const ModelIo& io) {
  LATTE_CHECK(io.length_bytes <= kMaxLengthBytes);
  state_.last_ns = io.time_ns;
  const TimeNs start_ns = through(state_.command_free_ns, io.time_ns, options_.command_ns);
  switch (io.op) {
    case ModelOp::read:
      return serve_read(io, start_ns);
    case ModelOp::write:
      return serve_write(io, start_ns);
    case ModelOp::flush:
      break;
  }
  return start_ns + options_.flush_ns;
}

TimeNs NvmeModel::serve_read(const ModelIo& io, TimeNs start_ns) {
  LATTE_CHECK(io.length_bytes > 0);
  const uint64_t first = io.offset / options_.page_bytes;
  const uint64_t last = (io.offset + io.length_bytes - 1) / options_.page_bytes;
  TimeNs end_ns = start_ns;
  for (uint64_t page = first; page <= last; ++page) {
    const uint64_t from = std::max(io.offset, page * options_.page_bytes);
    const uint64_t to = std::min(io.offset + io.length_bytes, (page + 1) * options_.page_bytes);
    const TimeNs sensed_ns = sense(page, start_ns);
    const TimeNs cost_ns = transfer_ns(to - from, options_.channel_rate);
    TimeNs& channel = change(channels_[page % options_.channels]);
    // What the channel owes is counted from when work arrives, so a page that is late holds up no
    // other.
    end_ns = std::max({end_ns, sensed_ns + cost_ns, through(channel, start_ns, cost_ns)});
  }
  const TimeNs cost_ns = transfer_ns(io.length_bytes, options_.read_link_rate);
  const TimeNs link_ns = through(state_.read_link_free_ns, start_ns, cost_ns);
  return std::max(end_ns + cost_ns, link_ns) + options_.read_overhead_ns;
}

/// A page's sensing on its die: when it ends.
TimeNs NvmeModel::sense(uint64_t page, TimeNs start_ns) {
  // Consecutive pages lie on consecutive dies; where a stripe begins is mixed.
  const uint64_t stripe = page / options_.dies;
  Die& die = change(dies_[(page + noise_.bits(stripe)) % options_.dies]);
  catch_up(die, start_ns);
  const TimeNs kinds[] = {options_.read_fast_ns, options_.read_middle_ns, options_.read_slow_ns};
  const TimeNs sense_ns = kinds[noise_.bits(page * 2 + 1) % 3];
  TimeNs at_ns = std::max(start_ns, die.read_free_ns);
  if (at_ns < die.program_free_ns) {
    const TimeNs left_ns = die.program_free_ns - at_ns;
    if (die.suspends < options_.suspends_per_program) {
      ++die.suspends;
      at_ns += std::min(options_.suspend_ns, left_ns);
      if (left_ns > options_.suspend_ns) die.program_free_ns += options_.suspend_ns + sense_ns;
    } else {
      // To the end of the operation under way; which of those given to the die it is in is drawn.
      die.suspends = 0;
      const double part = draw();
      at_ns += std::min(left_ns, static_cast<TimeNs>(part * static_cast<double>(copy_ns())));
      die.program_free_ns += sense_ns;
    }
  }
  die.read_free_ns = at_ns + sense_ns;
  return die.read_free_ns;
}

TimeNs NvmeModel::serve_write(const ModelIo& io, TimeNs start_ns) {
  LATTE_CHECK(io.length_bytes > 0);
  note_pattern(io);
  const TimeNs cost_ns = transfer_ns(io.length_bytes, options_.write_link_rate);
  TimeNs admitted_ns = through(state_.write_link_free_ns, start_ns, cost_ns);
  for (uint64_t left = io.length_bytes; left > 0;) {
    const uint64_t part = std::min(left, options_.program_bytes - state_.filling_bytes);
    admitted_ns = wait_for_room(part, admitted_ns);
    state_.buffered_bytes += part;
    state_.filling_bytes += part;
    left -= part;
    if (state_.filling_bytes == options_.program_bytes) program(admitted_ns);
  }
  return admitted_ns + options_.write_overhead_ns;
}

void NvmeModel::note_pattern(const ModelIo& io) {
  const double weight = std::min(1.0, io.length_bytes / kPatternBytes);
  const double random = io.offset == state_.next_offset ? 0 : 1;
  state_.random_share += (random - state_.random_share) * weight;
  state_.next_offset = io.offset + io.length_bytes;
}

/// When the buffer has room for `bytes` more that ask at `now_ns`; takes what is given back.
TimeNs NvmeModel::wait_for_room(uint64_t bytes, TimeNs now_ns) {
  const uint64_t mask = releases_.size() - 1;
  while (state_.release_head != state_.release_tail) {
    const Release& oldest = releases_[state_.release_head & mask];
    const bool full = state_.buffered_bytes + bytes > options_.buffer_bytes;
    if (oldest.time_ns > now_ns && !full) break;
    state_.room_from_ns = std::max(state_.room_from_ns, oldest.time_ns);
    state_.buffered_bytes -= oldest.bytes;
    ++state_.release_head;
  }
  // Who comes later uses what is left of the same room: not before it is there.
  return std::max(now_ns, state_.room_from_ns);
}

/// The gathered unit goes to the next die.
void NvmeModel::program(TimeNs now_ns) {
  // The next in turn, or the one after if that is free sooner.
  Die* const candidates[] = {&dies_[state_.next_die % options_.dies],
                             &dies_[(state_.next_die + 1) % options_.dies]};
  const bool second = candidates[1]->program_free_ns < candidates[0]->program_free_ns;
  Die& die = change(*candidates[second]);
  state_.next_die += second ? 2 : 1;
  catch_up(die, now_ns);
  const TimeNs unit_ns = transfer_ns(options_.program_bytes, options_.write_link_rate);
  const TimeNs drained_ns = through(state_.drain_free_ns, now_ns, unit_ns);
  TimeNs end_ns = std::max(drained_ns, die.program_free_ns) + options_.program_ns;
  die.suspends = 0;
  ++state_.host_programs;
  state_.free_bytes -= options_.program_bytes;
  if (state_.free_bytes <= 0) state_.collecting = true;
  if (state_.collecting) {
    const double live = live_share();
    const double reserve = static_cast<double>(options_.reserve_bytes);
    // The less is left, the more of its own room every program must bring.
    const double need = std::clamp(-state_.free_bytes / reserve, 0.0, 1.0);
    end_ns += collect((kIdleDuty + need * (kCollectLead - kIdleDuty)) * live / (1 - live));
  }
  die.program_free_ns = end_ns;
  state_.last_release_ns = std::max(state_.last_release_ns, end_ns);
  const uint64_t mask = releases_.size() - 1;
  LATTE_CHECK(state_.release_tail - state_.release_head < releases_.size());
  Release& release = releases_[state_.release_tail++ & mask];
  if (peeking_) release_undo_.push_back({&release, release});
  release = {state_.last_release_ns, options_.program_bytes};
  state_.filling_bytes = 0;
}

/// Live pages in a block that collection picks: uniform random writes leave 1 - 2a / (1 + a) with
/// spare a (greedy collection, full drive), sequential ones next to none.
double NvmeModel::live_share() const {
  const double spare = options_.over_provision;
  const double random = 1 - 2 * spare / (1 + spare);
  return std::max(kLeastLive, random * state_.random_share);
}

/// Copies `copies` programs' worth of live pages; returns the time it keeps a die busy, erases that
/// have become due included.
TimeNs NvmeModel::collect(double copies) {
  const double live = live_share();
  const double freed = copies * (1 - live) / live;  // in programs
  auto busy_ns = static_cast<TimeNs>(copies * static_cast<double>(copy_ns()));
  state_.copy_programs += static_cast<uint64_t>(copies);
  if (draw() < copies - std::floor(copies)) ++state_.copy_programs;
  state_.free_bytes += freed * options_.program_bytes;
  state_.erase_owed += (copies + freed) / options_.block_programs;
  if (state_.erase_owed >= 1) {
    state_.erase_owed -= 1;
    busy_ns += options_.erase_ns;
  }
  const auto window = static_cast<double>(options_.collect_window_bytes);
  if (state_.free_bytes >= window) {
    state_.free_bytes = window;
    state_.collecting = false;
  }
  return busy_ns;
}

/// What an idle die did since it became so: while the drive collects, it copies now and then, and
/// may be at it.
void NvmeModel::catch_up(Die& die, TimeNs now_ns) {
  if (!state_.collecting || die.program_free_ns >= now_ns) return;
  const TimeNs idle_ns = now_ns - std::max<TimeNs>(die.program_free_ns, 0);
  const double copies = kIdleDuty * static_cast<double>(idle_ns) / static_cast<double>(copy_ns());
  const TimeNs busy_ns = collect(copies);
  const bool at_it = draw() < kIdleDuty;
  const bool erasing = busy_ns > idle_ns;
  const TimeNs operation_ns = erasing ? options_.erase_ns : copy_ns();
  die.suspends = 0;
  die.program_free_ns = now_ns;
  if (at_it || erasing)
    die.program_free_ns += static_cast<TimeNs>(draw() * static_cast<double>(operation_ns));
}

}  // namespace latte::model
