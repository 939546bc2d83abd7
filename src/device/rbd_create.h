// The images that an RBD cloud volume is made of, and the mark that tells them from others: an
// entry "latte" of the image's own metadata.
//
// Thread rule: blocks; any thread.
#pragma once

#include <rbd/librbd.hpp>
#include <string>

#include "base/result.h"
#include "device/rbd_cluster.h"

namespace latte {

/// Made, but without a superblock yet: `latte create` may go on with it.
inline constexpr const char* kRbdMaking = "making";
/// A clone that is not finished: `latte clone` begins anew.
inline constexpr const char* kRbdCloning = "cloning";
/// A disk's.
inline constexpr const char* kRbdDisk = "disk";

/// Best effort for kRbdDisk: a superblock counts for more. 0 or a negative errno.
int mark_rbd_image(librbd::Image& image, const std::string& mark);

struct FoundRbdImage {
  bool there = false;
  std::string id{};
  std::string mark{};
  uint64_t bytes = 0;
};
/// Errors: io.
Result<FoundRbdImage> find_rbd_image(RbdCluster& cluster, const std::string& name);
/// Makes the log's image, marked as being made. Errors: exists, no_space, io.
Result<void> make_rbd_log_image(RbdCluster& cluster, uint64_t bytes);

}  // namespace latte
