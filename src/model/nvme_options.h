// What a modelled NVMe drive is made of, and presets. Sources: docs/internals/device-models.md.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace latte::model {

/// Rates in bytes a second, times in ns.
struct NvmeOptions {
  const char* name = "nvme";
  // Front: host interface and controller.
  TimeNs read_overhead_ns = 9 * kMicrosecond;   ///< of a read beside flash and transfers
  TimeNs write_overhead_ns = 9 * kMicrosecond;  ///< of a write that finds room in the buffer
  TimeNs flush_ns = 10 * kMicrosecond;          ///< the buffer survives power loss
  TimeNs command_ns = 1000;                     ///< controller time a command: caps IOPS
  double read_link_rate = 6.9e9;
  double write_link_rate = 4.1e9;
  // Flash.
  uint32_t channels = 16;
  uint32_t dies = 128;
  double channel_rate = 1.2e9;
  uint32_t page_bytes = 16384;              ///< what one sensing reads
  uint32_t program_bytes = 32768;           ///< what one program writes (two planes)
  uint32_t block_programs = 768;            ///< programs between two erases of a block
  TimeNs read_fast_ns = 52 * kMicrosecond;  ///< sensing: lower, middle and upper pages differ
  TimeNs read_middle_ns = 60 * kMicrosecond;
  TimeNs read_slow_ns = 72 * kMicrosecond;
  TimeNs program_ns = 700 * kMicrosecond;
  TimeNs erase_ns = 3'500 * kMicrosecond;
  TimeNs suspend_ns = 80 * kMicrosecond;  ///< until a program or erase lets a read pass
  uint32_t suspends_per_program = 4;      ///< then reads wait for its end
  // Write buffer, space and collection.
  uint64_t buffer_bytes = 32u << 20;
  double over_provision = 0.0725;  ///< spare over user capacity
  /// Free space above the mark where collection begins, at the start. A drive in steady state has
  /// none.
  uint64_t free_bytes_at_start = 0;
  uint64_t collect_window_bytes = 256u << 20;  ///< collects until so much is free above the mark
  uint64_t reserve_bytes = 64u << 20;  ///< below the mark; when gone, writes pay for every byte
};

/// The paper's drive: 1,000 K / 180 K IOPS, 6.9 / 4.1 GB/s, 75 us.
NvmeOptions nvme_gen4();
/// PCIe 3: 3.2 / 2.0 GB/s, 640 K / 100 K IOPS, 85 us.
NvmeOptions nvme_gen3();

}  // namespace latte::model
