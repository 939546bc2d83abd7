#include "disk/cloud_super.h"

#include <algorithm>
#include <cstring>

#include "disk/host.h"

namespace latte {

void set_name(char (&to)[log::kNameBytes], const std::string& name) {
  static_assert(kMaxDiskNameBytes < log::kNameBytes);
  std::memset(to, 0, sizeof(to));
  std::memcpy(to, name.data(), std::min(name.size(), kMaxDiskNameBytes));
}

SuperBytes bytes_of(const log::CloudSuper& super) {
  static_assert(sizeof(super) == sizeof(SuperBytes));
  SuperBytes bytes;
  std::memcpy(bytes.data(), &super, sizeof(super));
  return bytes;
}

SuperBytes seal_to_bytes(log::CloudSuper& super) {
  log::seal(super);
  return bytes_of(super);
}

Task<CloudOwner> read_owner(CloudVolume& cloud) {
  CloudOwner owner;
  const auto read = co_await cloud.read_super();
  if (!read) co_return owner;
  owner.answered = true;
  const auto parsed = log::parse_cloud_super(read.value(), cloud.name());
  if (parsed) owner.super = parsed.value();
  co_return owner;
}

}  // namespace latte
