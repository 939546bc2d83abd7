// Planted bugs: mistakes the engine can be told to make, so that the crash simulation proves it
// would find them. A hook reads `if (planted(Planted::skip_local_flush)) ...`; without
// LATTE_PLANTED_BUGS, and production is built without it, that is a constant false and the compiler
// drops it.
//
// Thread rule: the bug is chosen once, before any reactor runs. At most one at a time.
#pragma once

#include <array>
#include <string_view>
#include <utility>

namespace latte {

enum class Planted {
  none,
  skip_local_flush,
  skip_cloud_flush,
  ack_before_write,
  reclaim_before_ship,
  reorder_ship,
  drop_sequence_check,
  forget_fencing,
  skip_crc_check,
  trim_before_apply,
  lost_invalidation,
  reuse_before_durable_tail,
  skip_inflight_order,
  rmw_without_lock,
  recovery_ignores_order,
  stale_epoch_accepted,
  apply_unshipped,
  forget_lost_blocks,
  skip_buffer_replay,
  buffer_flush_skips_memory,
  stale_buffer_read,
  blocklist_skipped,
  lease_not_checked,
  replay_out_of_order,
  admit_stale_fetch,
  dispatch_unchecked,
  snapshot_without_hold,
  roll_back_unmarked,
  stale_read_ahead,
  stale_staging,
  early_over_unshipped,
  apply_only_newest,
};

/// Names as `latte-sim --plant` takes them.
inline constexpr std::array kPlantedNames = {
    std::pair{Planted::none, std::string_view("none")},
    std::pair{Planted::skip_local_flush, std::string_view("skip_local_flush")},
    std::pair{Planted::skip_cloud_flush, std::string_view("skip_cloud_flush")},
    std::pair{Planted::ack_before_write, std::string_view("ack_before_write")},
    std::pair{Planted::reclaim_before_ship, std::string_view("reclaim_before_ship")},
    std::pair{Planted::reorder_ship, std::string_view("reorder_ship")},
    std::pair{Planted::drop_sequence_check, std::string_view("drop_sequence_check")},
    std::pair{Planted::forget_fencing, std::string_view("forget_fencing")},
    std::pair{Planted::skip_crc_check, std::string_view("skip_crc_check")},
    std::pair{Planted::trim_before_apply, std::string_view("trim_before_apply")},
    std::pair{Planted::lost_invalidation, std::string_view("lost_invalidation")},
    std::pair{Planted::reuse_before_durable_tail, std::string_view("reuse_before_durable_tail")},
    std::pair{Planted::skip_inflight_order, std::string_view("skip_inflight_order")},
    std::pair{Planted::rmw_without_lock, std::string_view("rmw_without_lock")},
    std::pair{Planted::recovery_ignores_order, std::string_view("recovery_ignores_order")},
    std::pair{Planted::stale_epoch_accepted, std::string_view("stale_epoch_accepted")},
    std::pair{Planted::apply_unshipped, std::string_view("apply_unshipped")},
    std::pair{Planted::forget_lost_blocks, std::string_view("forget_lost_blocks")},
    std::pair{Planted::skip_buffer_replay, std::string_view("skip_buffer_replay")},
    std::pair{Planted::buffer_flush_skips_memory, std::string_view("buffer_flush_skips_memory")},
    std::pair{Planted::stale_buffer_read, std::string_view("stale_buffer_read")},
    std::pair{Planted::blocklist_skipped, std::string_view("blocklist_skipped")},
    std::pair{Planted::lease_not_checked, std::string_view("lease_not_checked")},
    std::pair{Planted::replay_out_of_order, std::string_view("replay_out_of_order")},
    std::pair{Planted::admit_stale_fetch, std::string_view("admit_stale_fetch")},
    std::pair{Planted::dispatch_unchecked, std::string_view("dispatch_unchecked")},
    std::pair{Planted::snapshot_without_hold, std::string_view("snapshot_without_hold")},
    std::pair{Planted::roll_back_unmarked, std::string_view("roll_back_unmarked")},
    std::pair{Planted::stale_read_ahead, std::string_view("stale_read_ahead")},
    std::pair{Planted::stale_staging, std::string_view("stale_staging")},
    std::pair{Planted::early_over_unshipped, std::string_view("early_over_unshipped")},
    std::pair{Planted::apply_only_newest, std::string_view("apply_only_newest")},
};

#ifdef LATTE_PLANTED_BUGS
/// The bug in force. Set it with plant().
inline Planted planted_bug = Planted::none;
inline void plant(Planted bug) { planted_bug = bug; }
inline bool planted(Planted bug) { return planted_bug == bug; }
#else
constexpr bool planted(Planted) { return false; }
#endif

}  // namespace latte
