#include "device/nbd_cloud_volume.h"

#include "device/nbd_link.h"

namespace latte {
namespace {

std::unique_ptr<SessionDevice> make_device(UringReactor& reactor, const NbdAddress& address,
                                           const std::string& export_name,
                                           SessionDevice::Options options) {
  options.name = address.describe(export_name);
  options.landing_ns = address.lease_ns / 2;
  std::vector<std::unique_ptr<Session>> links;
  for (uint32_t i = 0; i < address.connections; ++i)
    links.push_back(std::make_unique<NbdLink>(reactor, address, export_name));
  return std::make_unique<SessionDevice>(reactor, std::move(options), std::move(links));
}

}  // namespace

Task<Result<std::unique_ptr<LeasedVolume>>> open_nbd_volume(UringReactor& reactor,
                                                            const NbdAddress& address,
                                                            NbdVolumeOptions options) {
  SessionDevice::Options base;
  base.expected_bytes = options.base_bytes;
  base.read_only = options.read_only;
  SessionDevice::Options log;
  log.head_bytes = kLeasedHeadBytes;
  log.read_only = options.read_only;
  LeasedVolume::Options volume;
  volume.name = address.to_string();
  volume.lease_ns = address.lease_ns;
  volume.holder = options.holder;
  volume.force_unfenced = options.force_unfenced;
  volume.read_only = options.read_only;
  auto base_device = make_device(reactor, address, address.base_export, std::move(base));
  auto log_device = make_device(reactor, address, address.log_export, std::move(log));
  auto made = std::make_unique<LeasedVolume>(reactor, std::move(volume), std::move(base_device),
                                             std::move(log_device));
  const Result<void> opened = co_await made->open();
  if (opened) co_return made;
  co_await made->close();
  co_return opened.error();
}

}  // namespace latte
