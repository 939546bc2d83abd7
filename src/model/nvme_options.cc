#include "model/nvme_options.h"

namespace latte::model {

NvmeOptions nvme_gen4() {
  NvmeOptions options;
  options.name = "nvme-gen4";
  return options;
}

NvmeOptions nvme_gen3() {
  NvmeOptions options;
  options.name = "nvme-gen3";
  options.read_overhead_ns = 15 * kMicrosecond;
  options.write_overhead_ns = 14 * kMicrosecond;
  options.command_ns = 1562;  // 640 K
  options.read_link_rate = 3.2e9;
  options.write_link_rate = 2.0e9;
  options.channels = 8;
  options.dies = 64;
  options.channel_rate = 0.8e9;
  return options;
}

}  // namespace latte::model
