// Admission: which blocks that a read had to fetch from the cloud are worth a copy in the pool, and
// how much may be written for that.
//
// Modes:
//   none    nothing; the pool holds what clients write
//   all     every block
//   s3fifo  S3-FIFO's rule: a block's first miss leaves its name, a second one while the name is
//           kept is worth a copy. Names are kept for half as many blocks as the pool has.
// What happens to copies later is the reclaimer's part: blocks that were read again get another
// round (disk/local_cache.cc). The budget is for both.
// Thread rule: the host's reactor. Memory: 1.1 bytes a block of the pool for names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/units.h"
#include "policy/ghost_names.h"
#include "policy/write_budget.h"

namespace latte::policy {

enum class AdmissionMode : uint8_t { none, all, s3fifo };
/// The mode of that name, if there is one.
std::optional<AdmissionMode> admission_mode(std::string_view name);
std::string_view name_of(AdmissionMode mode);
/// For messages: "none", "all" or "s3fifo", with the quotes.
std::string admission_mode_names();

/// Least budget: an hour's part of it holds a few of the largest copies.
inline constexpr uint64_t kMinWriteBudgetBytes = 64u << 20;

struct AdmissionOptions {
  AdmissionMode mode = AdmissionMode::s3fifo;
  /// Most bytes to write within 24 hours for copies of cloud blocks and for blocks that get another
  /// round; 0: no limit. Never for what clients write.
  uint64_t write_budget_bytes = 0;
};

class Admission {
 public:
  Admission(AdmissionOptions options, uint64_t pool_blocks);

  AdmissionMode mode() const { return mode_; }
  bool streams_pass_by() const { return mode_ == AdmissionMode::s3fifo; }
  /// A read missed the block `lba` of the disk that `disk_key` stands for (any number of its own).
  /// Is it worth a copy?
  bool worth(uint64_t disk_key, Lba lba);
  /// May `bytes` be written for the cache's sake now? Then they count as written.
  bool afford(uint64_t bytes, TimeNs now_ns) { return budget_.take(bytes, now_ns); }
  uint64_t memory_bytes() const { return names_.memory_bytes(); }

 private:
  AdmissionMode mode_;
  GhostNames names_;
  WriteBudget budget_;
};

}  // namespace latte::policy
