// Model, after a restart: is what was read back allowed? See the head of model.h for the reasoning.
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "model.h"

namespace latte::simtest {

/// True if `other` certainly comes after `shown` in the sector's order.
bool Model::is_out(const History& history, uint32_t shown, uint32_t other) const {
  if (shown < history.settled && other >= history.settled) return true;
  return other > shown && before(history.writes[shown], history.writes[other]);
}

Model::Interval Model::interval(const History& history, uint32_t shown) const {
  Interval result;
  result.index = shown;
  result.low = writes_[history.writes[shown]].submitted;
  result.low_write = history.writes[shown];
  for (uint32_t j = 0; j < history.writes.size(); ++j) {
    const Write& other = writes_[history.writes[j]];
    if (!other.acked || !is_out(history, shown, j) || other.ended >= result.high) continue;
    result.high = other.ended;
    result.high_write = history.writes[j];
  }
  return result;
}

WriteId Model::lost_required(const History& history, uint32_t shown, bool from_settled,
                             const std::function<bool(const Write&)>& required) const {
  for (uint32_t j = static_cast<uint32_t>(history.writes.size()); j-- > 0;) {
    if (!is_out(history, shown, j)) continue;
    const Write& other = writes_[history.writes[j]];
    const bool was_shown = from_settled && j == history.settled;
    if (was_shown || (other.acked && required(other))) return history.writes[j];
  }
  return 0;
}

std::vector<uint32_t> Model::candidates(uint64_t sector, WriteId seen) const {
  const auto& writes = histories_[sector].writes;
  std::vector<uint32_t> found;
  for (uint32_t i = 0; i < writes.size(); ++i) {
    const bool match = seen == 0 ? writes_[writes[i]].zero : writes[i] == seen;
    if (match) found.push_back(i);
  }
  return found;
}

std::string Model::narrow(Cut& cut, uint64_t sector, WriteId seen, Loss loss,
                          const std::function<bool(const Write&)>& required) const {
  if (seen == kUnreadable) return "";
  const History& history = histories_[sector];
  const auto found = candidates(sector, seen);
  if (found.empty())
    return fmt::format("sector {} shows {}, which had been rolled back or never happened there",
                       sector, describe(seen));
  const bool from_settled = loss == Loss::process || loss == Loss::none;
  WriteId lost = 0;
  uint32_t valid = 0, last = 0;
  for (const uint32_t i : found) {
    const WriteId missing = lost_required(history, i, from_settled, required);
    if (missing == 0) {
      ++valid;
      last = i;
    } else {
      lost = missing;
    }
  }
  if (valid == 0)
    return fmt::format("sector {} shows {}; {} is lost", sector, describe(seen), describe(lost));
  if (valid > 1) {
    cut.ambiguous.push_back(sector);
    return "";
  }
  const Interval bounds = interval(history, last);
  if (bounds.low > cut.low) {
    cut.low = bounds.low;
    cut.low_write = bounds.low_write;
  }
  if (bounds.high < cut.high) {
    cut.high = bounds.high;
    cut.high_write = bounds.high_write;
  }
  if (cut.low > cut.high)
    return fmt::format("not a prefix: {} is there, but {}, which had ended before it began, is not",
                       describe(cut.low_write), describe(cut.high_write));
  return "";
}

/// Looks for one T that suits the ambiguous sectors, too.
std::string Model::resolve(const Cut& cut, const std::vector<WriteId>& seen, Loss loss,
                           const std::function<bool(const Write&)>& required) const {
  const bool from_settled = loss == Loss::process || loss == Loss::none;
  std::vector<std::pair<uint64_t, uint64_t>> open{{cut.low, cut.high}}, next;
  for (const uint64_t sector : cut.ambiguous) {
    const History& history = histories_[sector];
    next.clear();
    for (const uint32_t i : candidates(sector, seen[sector])) {
      if (lost_required(history, i, from_settled, required) != 0) continue;
      const Interval bounds = interval(history, i);
      for (const auto& [low, high] : open)
        if (std::max(low, bounds.low) <= std::min(high, bounds.high))
          next.emplace_back(std::max(low, bounds.low), std::min(high, bounds.high));
    }
    if (next.empty())
      return fmt::format("not a prefix: no cut suits sector {}, which shows zeroes", sector);
    std::sort(next.begin(), next.end());
    open.clear();
    for (const auto& part : next) {
      if (!open.empty() && part.first <= open.back().second)
        open.back().second = std::max(open.back().second, part.second);
      else
        open.push_back(part);
    }
  }
  return "";
}

/// A write seen in one sector of a block must not be missing in another.
std::string Model::check_tears(uint64_t first, const std::vector<WriteId>& seen) const {
  bool uniform = true;
  for (uint64_t s = first + 1; s < first + kBlockSectors; ++s) uniform &= seen[s] == seen[first];
  if (uniform) return "";
  for (uint64_t s = first; s < first + kBlockSectors; ++s) {
    const WriteId id = seen[s];
    if (id == 0 || id == kUnreadable) continue;
    const Write& write = writes_[id];
    for (uint64_t o = first; o < first + kBlockSectors; ++o) {
      if (o < write.first || o >= write.first + write.count) continue;
      if (seen[o] == id || seen[o] == kUnreadable) continue;
      const History& history = histories_[o];
      if (std::find(history.writes.begin(), history.writes.end(), id) == history.writes.end())
        continue;
      bool missing = true;
      for (const uint32_t i : candidates(o, seen[o])) missing &= before(history.writes[i], id);
      if (missing)
        return fmt::format("torn block: sector {} shows {}, sector {} shows {}", s, describe(id), o,
                           describe(seen[o]));
    }
  }
  return "";
}

std::string Model::check_recovered(Loss loss, const std::vector<WriteId>& seen,
                                   const std::function<bool(const Write&)>& required, bool lax) {
  LATTE_CHECK(seen.size() == histories_.size());
  ++tick_;
  const auto none = [](const Write&) { return false; };
  const std::function<bool(const Write&)>& needed = lax ? none : required;
  const Loss rule = lax ? Loss::power : loss;
  Cut disk_cut;
  std::string wrong;
  for (uint64_t first = 0; first < seen.size() && wrong.empty(); first += kBlockSectors) {
    Cut block_cut;
    Cut& cut = rule == Loss::host ? disk_cut : block_cut;
    for (uint64_t s = first; s < first + kBlockSectors && wrong.empty(); ++s) {
      wrong = narrow(cut, s, seen[s], rule, needed);
      if (lax && !wrong.empty() && !candidates(s, seen[s]).empty()) wrong.clear();
    }
    if (wrong.empty() && !lax) wrong = check_tears(first, seen);
    if (wrong.empty() && !lax && rule != Loss::host) wrong = resolve(cut, seen, rule, needed);
  }
  if (wrong.empty() && rule == Loss::host) wrong = resolve(disk_cut, seen, rule, needed);
  if (!wrong.empty()) return wrong;
  Merged merged;
  for (uint64_t s = 0; s < seen.size(); ++s) adopt(s, seen[s], loss, needed, merged);
  return "";
}

/// The version that a read-back showed. Zeroes may come from several writes, and which came last
/// can't be told: then it is one that stands for all of them, so that no later check builds on a
/// guess.
WriteId Model::shown_version(const std::vector<WriteId>& alternatives, Merged& merged) {
  if (alternatives.size() == 1) return alternatives.front();
  const auto known = merged.find(alternatives);
  if (known != merged.end()) return known->second;
  Write any = writes_[alternatives.front()];
  for (const WriteId id : alternatives) {
    const Write& one = writes_[id];
    any.flushed &= one.flushed;
    any.submitted = std::min(any.submitted, one.submitted);
    any.ended = std::max(any.ended, one.ended);
    any.submit_ns = std::min(any.submit_ns, one.submit_ns);
    any.ack_ns = std::max(any.ack_ns, one.ack_ns);
    any.acked &= one.acked;
    any.acked_at = std::max(any.acked_at, one.acked_at);
  }
  any.failed = any.rolled_back = false;
  const WriteId id = writes_.size();
  writes_.push_back(any);
  if (any.acked && !any.flushed) unflushed_.push_back(id);
  merged.emplace(alternatives, id);
  return id;
}

/// From now on `seen` is what the sector holds; what it rules out is gone for good.
void Model::adopt(uint64_t sector, WriteId seen, Loss loss,
                  const std::function<bool(const Write&)>& required, Merged& merged) {
  History& history = histories_[sector];
  if (seen == kUnreadable) {
    history.uncertain_from = static_cast<uint32_t>(history.writes.size());
    return;
  }
  const bool from_settled = loss == Loss::process || loss == Loss::none;
  const std::vector<uint32_t> found = candidates(sector, seen);
  std::vector<uint32_t> shown;
  for (const uint32_t i : found)
    if (lost_required(history, i, from_settled, required) == 0) shown.push_back(i);
  if (shown.empty()) shown.push_back(found.back());
  std::vector<WriteId> alternatives;
  for (const uint32_t i : shown) alternatives.push_back(history.writes[i]);
  std::vector<WriteId> kept;
  for (uint32_t j = 0; j < history.writes.size(); ++j) {
    if (std::find(shown.begin(), shown.end(), j) != shown.end()) continue;
    const WriteId other = history.writes[j];
    if (std::all_of(shown.begin(), shown.end(), [&](uint32_t i) { return is_out(history, i, j); }))
      writes_[other].rolled_back = true;
    else if (loss != Loss::host)
      kept.push_back(other);
  }
  const WriteId id = shown_version(alternatives, merged);
  // Older versions can come back only if a later loss of the host cuts there; a flushed or shipped
  // state rules that out, but the model does not know what was shipped.
  history.settled = static_cast<uint32_t>(kept.size());
  kept.push_back(id);
  history.writes = std::move(kept);
  history.uncertain_from = 0;
  history.seen = 0;
  history.seen_at = UINT64_MAX;
  Write& write = writes_[id];
  if (write.ended == UINT64_MAX) write.ended = tick_;
  if (!write.acked) {
    write.acked = write.adopted = true;
    write.acked_at = tick_;
    unflushed_.push_back(id);
  }
  write.visible = std::min(write.visible, tick_);
}

void Model::roll_back(const Model& then, uint64_t known) {
  for (WriteId id = known; id < writes_.size(); ++id) writes_[id].rolled_back = true;
  // Those that the read-back made to stand for several get numbers of their own here.
  const uint64_t shift = writes_.size() - known;
  for (WriteId id = known; id < then.writes_.size(); ++id) writes_.push_back(then.writes_[id]);
  std::copy_n(then.writes_.begin(), known, writes_.begin());
  histories_ = then.histories_;
  for (History& history : histories_)
    for (WriteId& id : history.writes)
      if (id >= known) id += shift;
  unflushed_.clear();
}

}  // namespace latte::simtest
