// The images that an RBD cloud volume is made of, and the mark that tells them from others: an
// entry "latte" of the image's own metadata.
//
// Thread rule: blocks; any thread.
#pragma once

#include <rbd/librbd.hpp>
#include <string>

namespace latte {

/// Made, but without a superblock yet: `latte create` may go on with it.
inline constexpr const char* kRbdMaking = "making";
/// A disk's.
inline constexpr const char* kRbdDisk = "disk";

/// Best effort for kRbdDisk: a superblock counts for more. 0 or a negative errno.
int mark_rbd_image(librbd::Image& image, const std::string& mark);

}  // namespace latte
