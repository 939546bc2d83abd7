// libnbd's handles, set up for an address.
#pragma once

#include <libnbd.h>

#include <string>

#include "device/nbd_address.h"

namespace latte {

/// Names the export and says how TLS is to be done; connecting may follow. False: libnbd refused
/// (nbd_get_error() says why).
bool set_up_nbd_handle(nbd_handle* handle, const NbdAddress& address,
                       const std::string& export_name);

}  // namespace latte
