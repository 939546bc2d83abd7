// Looking for data in exports that are to become a disk; once, before there is a reactor.
#include <fmt/core.h>
#include <libnbd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "base/buffer.h"
#include "device/nbd_cloud_volume.h"
#include "device/nbd_handle.h"

namespace latte {
namespace {

constexpr uint64_t kStatusBytes = 1u << 30;  // asked about at a time
constexpr uint64_t kReadBytes = 4u << 20;    // read at a time
constexpr uint32_t kZero = 2;                // NBD_STATE_ZERO of base:allocation

struct Closer {
  void operator()(nbd_handle* handle) const { nbd_close(handle); }
};
using Handle = std::unique_ptr<nbd_handle, Closer>;

struct Export {
  Handle handle;
  std::string name;  // for messages
  uint64_t size_bytes = 0;
};

Error nbd_error(const Export& from, const char* what) {
  return Error{Errc::io, fmt::format("{}: {}: {}", from.name, what, nbd_get_error())};
}

Result<Export> connect(const NbdAddress& address, const std::string& export_name) {
  Export out{Handle(nbd_create()), address.describe(export_name), 0};
  nbd_handle* h = out.handle.get();
  bool ok = h != nullptr && set_up_nbd_handle(h, address, export_name) &&
            nbd_add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0;
  if (ok)
    ok = address.socket.empty()
             ? nbd_connect_tcp(h, address.host.c_str(), std::to_string(address.port).c_str()) == 0
             : nbd_connect_unix(h, address.socket.c_str()) == 0;
  if (!ok) return nbd_error(out, "cannot connect");
  const int64_t size = nbd_get_size(h);
  if (size < 0) return nbd_error(out, "cannot get its size");
  out.size_bytes = static_cast<uint64_t>(size);
  return out;
}

struct Extents {
  uint64_t known = 0;  // bytes from the start of the question
  std::optional<uint64_t> data_at;
  uint64_t data_bytes = 0;
};

int on_extents(void* user, const char*, uint64_t, uint32_t* entries, size_t count, int*) {
  auto& out = *static_cast<Extents*>(user);
  for (size_t i = 0; i + 1 < count && !out.data_at; i += 2) {
    if ((entries[i + 1] & kZero) == 0) {
      out.data_at = out.known;
      out.data_bytes = entries[i];
    }
    out.known += entries[i];
  }
  return 0;
}

/// The next range from `offset` that may hold something else than zeroes; empty range: none.
Result<std::pair<uint64_t, uint64_t>> next_data(const Export& from, uint64_t offset) {
  nbd_handle* h = from.handle.get();
  const bool tells = nbd_can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
  while (offset < from.size_bytes) {
    if (!tells) return std::pair{offset, from.size_bytes - offset};
    Extents found;
    const uint64_t asked = std::min(kStatusBytes, from.size_bytes - offset);
    const nbd_extent_callback callback{&on_extents, &found, nullptr};
    if (nbd_block_status(h, asked, offset, callback, 0) != 0)
      return nbd_error(from, "cannot ask for allocated ranges");
    if (found.data_at)
      return std::pair{offset + *found.data_at,
                       std::min(found.data_bytes, from.size_bytes - offset - *found.data_at)};
    if (found.known == 0) return std::pair{offset, from.size_bytes - offset};
    offset += found.known;
  }
  return std::pair{from.size_bytes, uint64_t{0}};
}

Result<void> expect_zeroes(const Export& from, uint64_t begin_at) {
  Buffer bytes(kReadBytes);
  for (uint64_t at = begin_at; at < from.size_bytes;) {
    const auto range = next_data(from, at);
    if (!range) return range.error();
    const auto [begin, length] = range.value();
    if (length == 0) return {};
    for (uint64_t done = 0; done < length;) {
      const uint64_t n = std::min(kReadBytes, length - done);
      if (nbd_pread(from.handle.get(), bytes.data(), n, begin + done, 0) != 0)
        return nbd_error(from, "cannot be read");
      const auto* data = bytes.data();
      const bool zero = data[0] == std::byte{0} && std::memcmp(data, data + 1, n - 1) == 0;
      if (!zero)
        return Error{Errc::exists,
                     fmt::format("{}: holds data (near byte {}) that is not a Latte disk's; it was "
                                 "left alone. Name an export of the disk's own, or clear it",
                                 from.name, begin + done)};
      done += n;
    }
    at = begin + length;
  }
  return {};
}

/// `head_bytes` of it are not looked at.
Result<void> expect_vacant(const NbdAddress& address, const std::string& name, uint64_t bytes,
                           uint64_t head_bytes) {
  const auto found = connect(address, name);
  if (!found) return found.error();
  if (found.value().size_bytes < bytes)
    return Error{Errc::invalid,
                 fmt::format("{}: has {} bytes, at least {} are needed; make the export larger, or "
                             "correct the configuration",
                             found.value().name, found.value().size_bytes, bytes)};
  return expect_zeroes(found.value(), head_bytes);
}

}  // namespace

Result<bool> nbd_volume_exists(const NbdAddress& address) {
  const auto log = connect(address, address.log_export);
  if (!log) return log.error();
  if (log.value().size_bytes < kLeasedHeadBytes) return false;
  auto head = std::make_unique<HeadBytes>();
  if (nbd_pread(log.value().handle.get(), head->data(), head->size(), 0, 0) != 0)
    return nbd_error(log.value(), "cannot be read");
  const auto super = parse_head_super(*head, log.value().name);
  if (super) return true;
  if (super.error().code == Errc::not_found) return false;
  return super.error();
}

Result<void> expect_vacant_nbd(const NbdAddress& address, uint64_t base_bytes, uint64_t log_bytes) {
  const Result<void> log =
      expect_vacant(address, address.log_export, log_bytes + kLeasedHeadBytes, kLeasedHeadBytes);
  if (!log) return log;
  return expect_vacant(address, address.base_export, base_bytes, 0);
}

}  // namespace latte
