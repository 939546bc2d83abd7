#include "device/nbd_handle.h"

namespace latte {

bool set_up_nbd_handle(nbd_handle* handle, const NbdAddress& address,
                       const std::string& export_name) {
  if (nbd_set_export_name(handle, export_name.c_str()) != 0) return false;
  if (!address.tls) return true;
  bool set =
      nbd_set_tls(handle, LIBNBD_TLS_REQUIRE) == 0 && nbd_set_tls_verify_peer(handle, true) == 0;
  if (!address.tls_certificates.empty())
    set = set && nbd_set_tls_certificates(handle, address.tls_certificates.c_str()) == 0;
  if (!address.tls_psk_file.empty())
    set = set && nbd_set_tls_psk_file(handle, address.tls_psk_file.c_str()) == 0;
  if (!address.tls_username.empty())
    set = set && nbd_set_tls_username(handle, address.tls_username.c_str()) == 0;
  return set;
}

}  // namespace latte
