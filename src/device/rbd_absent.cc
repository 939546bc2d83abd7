// RBD in a build without librbd: an error that says which packages it takes.
#include "device/rbd_clone.h"
#include "device/rbd_cloud_volume.h"

namespace latte {
namespace {

Error absent(const RbdAddress& address) {
  return Error{Errc::unsupported,
               address.to_string() +
                   ": this latte was built without RBD; install librbd-dev and libradospp-dev "
                   "(Debian) and build it again"};
}

}  // namespace

Result<VolumeFound> create_rbd_volume(const RbdAddress& address, uint64_t, uint64_t) {
  return absent(address);
}

Result<std::unique_ptr<CloudVolume>> open_rbd_volume(UringReactor&, const RbdAddress& address,
                                                     RbdOptions) {
  return absent(address);
}

Result<SuperBytes> begin_rbd_clone(const RbdAddress& from, const std::string&, const RbdAddress&,
                                   const AcceptSuper&) {
  return absent(from);
}

Result<void> end_rbd_clone(const RbdAddress& to, uint64_t) { return absent(to); }

bool rbd_volume_exists(const RbdAddress&) { return false; }

bool rbd_left_hanging() { return false; }

}  // namespace latte
