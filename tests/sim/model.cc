#include "model.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace latte::simtest {

Model::Model(uint32_t disk, uint64_t sectors) : disk_(disk), histories_(sectors) {
  LATTE_CHECK(sectors > 0 && sectors % kBlockSectors == 0);
  Write initial;
  initial.count = sectors;
  initial.zero = initial.acked = initial.flushed = true;
  initial.ended = initial.visible = 0;
  writes_.push_back(initial);
}

WriteId Model::submit_write(uint64_t first, uint64_t count, bool zero, uint32_t session,
                            bool foreign, TimeNs now_ns) {
  LATTE_CHECK(count > 0 && first + count <= histories_.size());
  const WriteId id = writes_.size();
  Write write;
  write.first = first;
  write.count = count;
  write.zero = zero;
  write.foreign = foreign;
  write.session = session;
  write.submitted = ++tick_;
  write.submit_ns = now_ns;
  writes_.push_back(write);
  if (!foreign)
    for (uint64_t s = first; s < first + count; ++s) histories_[s].writes.push_back(id);
  return id;
}

void Model::complete_write(WriteId id, IoStatus status, bool fua, TimeNs now_ns) {
  Write& write = writes_[id];
  const bool current = write.session == session_ && write.ended == UINT64_MAX;
  ++tick_;
  if (current) write.ended = tick_;
  if (status != IoStatus::ok) {
    write.failed = true;
    return;
  }
  write.acked = true;
  write.adopted = false;
  write.acked_at = tick_;
  write.ack_ns = now_ns;
  if (current) write.visible = tick_;
  if (fua)
    write.flushed = true;
  else
    unflushed_.push_back(id);
}

std::string Model::complete_flush(uint64_t begun, uint32_t session, bool to_cloud) {
  ++tick_;
  std::string lie;
  std::erase_if(unflushed_, [&](WriteId id) {
    Write& write = writes_[id];
    const bool other_session = write.session != session && session != session_;
    // What the next host's read-back showed says nothing of what the old host's client was told.
    const bool untold = write.adopted && session != session_;
    if (write.acked_at >= begun || other_session || untold) return false;
    if (to_cloud && (write.foreign || write.rolled_back) && write.session == session)
      lie = fmt::format("flush was acknowledged, but the cloud does not hold {}", describe(id));
    write.flushed = true;
    return true;
  });
  return lie;
}

std::string Model::describe(WriteId id) const {
  if (id == kUnreadable) return "an unreadable sector";
  if (id == 0) return "the initial zeroes";
  if (id >= writes_.size()) return fmt::format("unknown write {}", id);
  const Write& write = writes_[id];
  return fmt::format(
      "write {} ({} sectors {}+{}, session {}, submitted {:.3f} ms, {}{}{}{})", id,
      write.zero ? "zero" : "data", write.first, write.count, write.session,
      static_cast<double>(write.submit_ns) / 1e6,
      write.adopted ? "not acknowledged but shown by a read-back"
      : write.acked ? fmt::format("acknowledged {:.3f} ms", static_cast<double>(write.ack_ns) / 1e6)
      : write.failed ? "failed"
                     : "not acknowledged",
      write.flushed ? ", flushed" : "", write.rolled_back ? ", rolled back" : "",
      write.foreign ? ", on a fenced host" : "");
}

std::string Model::identify_all(uint64_t first, std::span<const std::byte> data,
                                std::vector<WriteId>& out) const {
  for (uint64_t i = 0; i < data.size() / kSectorBytes; ++i) {
    const uint64_t sector = first + i;
    const auto stamp = identify(data.subspan(i * kSectorBytes, kSectorBytes));
    if (!stamp.has_value()) return fmt::format("sector {} holds garbage", sector);
    out[sector] = stamp->write;
    if (stamp->write == 0) continue;
    if (stamp->disk != disk_)
      return fmt::format("sector {} holds data of disk {}", sector, stamp->disk);
    if (stamp->sector != sector)
      return fmt::format("sector {} holds sector {} of {}", sector, stamp->sector,
                         describe(stamp->write));
    if (stamp->write >= writes_.size())
      return fmt::format("sector {} holds unknown write {}", sector, stamp->write);
    if (writes_[stamp->write].foreign)
      return fmt::format("sector {} holds {}", sector, describe(stamp->write));
  }
  return "";
}

std::string Model::check_own(uint64_t first, std::span<const std::byte> data) const {
  for (uint64_t i = 0; i < data.size() / kSectorBytes; ++i) {
    const auto stamp = identify(data.subspan(i * kSectorBytes, kSectorBytes));
    if (!stamp.has_value()) return fmt::format("sector {} holds garbage", first + i);
    if (stamp->write != 0 && (stamp->disk != disk_ || stamp->sector != first + i))
      return fmt::format("sector {} holds sector {} of disk {}", first + i, stamp->sector,
                         stamp->disk);
  }
  return "";
}

std::string Model::check_read(uint64_t first, std::span<const std::byte> data, uint64_t begun) {
  const uint64_t now = ++tick_;
  std::vector<WriteId> seen(histories_.size());
  std::string garbage = identify_all(first, data, seen);
  if (!garbage.empty()) return garbage;
  for (uint64_t s = first; s < first + data.size() / kSectorBytes; ++s) {
    History& history = histories_[s];
    const auto& writes = history.writes;
    std::string why = fmt::format("sector {} shows {}", s, describe(seen[s]));
    bool allowed = false;
    for (uint32_t i = static_cast<uint32_t>(writes.size()); i-- > 0 && !allowed;) {
      const Write& shown = writes_[writes[i]];
      if (shown.zero ? seen[s] != 0 : seen[s] != writes[i]) continue;
      if (i < history.settled && history.uncertain_from == 0) continue;
      allowed = true;
      for (uint32_t j = std::max(i + 1, history.uncertain_from); j < writes.size(); ++j) {
        const bool shown_before = writes[j] == history.seen && history.seen_at < begun;
        if (!before(writes[i], writes[j])) continue;
        if (writes_[writes[j]].visible >= begun && !shown_before) continue;
        allowed = false;
        why += ", but " + describe(writes[j]) + " had overwritten it";
        break;
      }
      if (allowed && i >= history.settled) {
        if (!shown.zero && shown.visible == UINT64_MAX && history.seen != writes[i]) {
          history.seen = writes[i];
          history.seen_at = now;
        }
      }
    }
    if (!allowed) return why;
  }
  return "";
}

}  // namespace latte::simtest
