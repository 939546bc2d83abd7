// Admission: which blocks that a read had to fetch from the cloud are worth a copy in the pool, and
// how much may be written for that.
//
// Modes:
//   none    nothing; the pool holds what clients write
//   all     every block
//   s3fifo  S3-FIFO's rule, as the paper has it: a block's first miss leaves its name, a second one
//           while the name is kept is worth a copy. Names are kept for half as many blocks as the
//           pool has.
//   adaptive  what is missed first stays in memory for a while (disk/staging.h): read twice there,
//           it is worth a copy, else it leaves its name. Names are kept for nine tenths as many
//           blocks as the pool has. Of all stretches one in kLottery is worth a copy as it comes:
//           of a loop longer than pool and names together, else never known, a part gets in.
// What happens to copies later is the reclaimer's part: blocks that were read again get another
// round (disk/local_cache.cc), once is enough, or as often as RoundTuner finds best in `adaptive`.
// The budget is for both.
// Thread rule: the host's reactor. Memory: 1.1 bytes a block of the pool for names, 1.9 and
// RoundTuner's in `adaptive`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/units.h"
#include "policy/ghost_names.h"
#include "policy/round_tuner.h"
#include "policy/write_budget.h"

namespace latte::policy {

enum class AdmissionMode : uint8_t { none, all, s3fifo, adaptive };
/// The mode of that name, if there is one.
std::optional<AdmissionMode> admission_mode(std::string_view name);
std::string_view name_of(AdmissionMode mode);
/// For messages: "none", "all", "s3fifo" or "adaptive", with the quotes.
std::string admission_mode_names();

/// Least budget: an hour's part of it holds a few of the largest copies.
inline constexpr uint64_t kMinWriteBudgetBytes = 64u << 20;

/// Memory for blocks that were missed first: a part of the pool, so much at most.
inline constexpr uint64_t kStagingBytes = 64u << 20;
inline constexpr uint64_t kMaxStagingBytes = 64ull << 30;

struct AdmissionOptions {
  AdmissionMode mode = AdmissionMode::adaptive;
  /// Most bytes to write within 24 hours for copies of cloud blocks and for blocks that get another
  /// round; 0: no limit. Never for what clients write.
  uint64_t write_budget_bytes = 0;
  /// Most memory for blocks that were missed first (`adaptive`); 0: none.
  uint64_t staging_bytes = kStagingBytes;
};

class Admission {
 public:
  Admission(AdmissionOptions options, uint64_t pool_blocks);

  AdmissionMode mode() const { return mode_; }
  bool streams_pass_by() const {
    return mode_ == AdmissionMode::s3fifo || mode_ == AdmissionMode::adaptive;
  }
  /// Blocks that memory is to hold before they are worth a copy.
  uint64_t staging_blocks() const { return staging_blocks_; }
  /// A read missed the block `lba` of the disk that `disk_key` stands for (any number of its own).
  /// Is it worth a copy? Where there is no staging, one that is not leaves its name.
  bool worth(uint64_t disk_key, Lba lba);
  /// Is a read's whole stretch worth a copy whatever is known of its blocks?
  bool draw_lot() { return mode_ == AdmissionMode::adaptive && lots_.chance(1, kLottery); }
  /// Its time in memory is over, and it is not worth a copy: it leaves its name.
  void remember(uint64_t disk_key, Lba lba) { names_.keep(disk_key + lba.value); }
  /// A client reads or writes blocks, wherever they are. Not for streams that pass by.
  void saw_read(uint64_t disk_key, Lba lba, uint64_t count);
  void saw_write(uint64_t disk_key, Lba lba, uint64_t count);
  /// Reads since it was written that earn a block another round in the pool, at least 1.
  uint8_t reads_for_another_round() const { return tuner_ ? tuner_->bar() : uint8_t{1}; }
  /// May `bytes` be written for the cache's sake now? Then they count as written.
  bool afford(uint64_t bytes, TimeNs now_ns) { return budget_.take(bytes, now_ns); }
  uint64_t memory_bytes() const {
    return names_.memory_bytes() + (tuner_ ? tuner_->memory_bytes() : 0);
  }

 private:
  static constexpr uint64_t kLottery = 64;

  AdmissionMode mode_;
  uint64_t staging_blocks_ = 0;
  GhostNames names_;
  std::unique_ptr<RoundTuner> tuner_;  // null: once is enough
  Random lots_{1};
  WriteBudget budget_;
};

}  // namespace latte::policy
