#include "device/rbd_cloud_volume.h"

#include <fmt/core.h>

#include <atomic>
#include <utility>

#include "base/logging.h"
#include "device/rbd_answer.h"
#include "device/rbd_images.h"
#include "device/rbd_snapshots.h"
#include "device/start_aside.h"

namespace latte {
namespace {

/// Closing waits for what is under way; longer than this it hangs with the cluster.
constexpr TimeNs kCloseNs = 10 * kSecond;

std::atomic<bool> left_hanging{false};

class RbdCloudVolume final : public CloudVolume {
 public:
  RbdCloudVolume(UringReactor& reactor, const RbdAddress& address, const RbdOptions& options)
      : reactor_(reactor),
        address_(address),
        name_(address.to_string()),
        options_(options),
        images_(std::make_shared<RbdImages>(reactor, address)),
        snapshots_(reactor, address, images_) {}
  ~RbdCloudVolume() override;

  Result<void> open();
  const std::string& name() const override { return name_; }
  BlockDevice& base() override { return images_->base(); }
  BlockDevice& log() override { return images_->log(); }
  Task<Result<SuperBytes>> read_super() override;
  Task<Result<void>> swap_super(uint64_t expected_generation, uint64_t next_generation,
                                const SuperBytes& next) override;
  Task<Result<void>> grow_base(uint64_t size_bytes) override;
  Task<Result<void>> release() override;
  CloudSnapshots* snapshots() override { return &snapshots_; }

 private:
  UringReactor& reactor_;
  const RbdAddress address_;
  const std::string name_;
  const RbdOptions options_;
  std::shared_ptr<RbdImages> images_;  // also of the calls that are still waiting
  RbdSnapshots snapshots_;
};

Result<void> RbdCloudVolume::open() {
  const auto opened = wait_aside(
      [images = images_, read_only = options_.read_only] { return images->open(read_only); },
      kRbdAnswerNs);
  if (!opened) return rbd_no_answer(address_);
  return *opened;
}

RbdCloudVolume::~RbdCloudVolume() {
  images_->base().detach();
  images_->log().detach();
  snapshots_.close();
  const std::weak_ptr<RbdImages> watched = images_;
  const auto closed = wait_aside(
      [images = std::move(images_)]() mutable {
        images.reset();
        return true;
      },
      kCloseNs);
  // A call that still waits for the cluster keeps them, too.
  if (closed && watched.expired()) return;
  left_hanging = true;
  log_warning("{}: the cluster does not answer; its connection was left as it is", name_);
}

Task<Result<SuperBytes>> RbdCloudVolume::read_super() {
  auto call = [images = images_] { return images->read_super(); };
  const auto read = co_await rbd_answer(reactor_, address_, std::move(call));
  if (!read) co_return read.error();
  co_return read.value().bytes;
}

Task<Result<void>> RbdCloudVolume::swap_super(uint64_t expected_generation,
                                              uint64_t next_generation, const SuperBytes& next) {
  LATTE_CHECK(next_generation >= expected_generation);
  const StoredSuper super{next_generation, next};
  if (options_.read_only)
    co_return Error{Errc::invalid, fmt::format("{} was opened for reading only", name_)};
  auto call = [images = images_, expected_generation, super] {
    return images->swap_super(expected_generation, super);
  };
  co_return co_await rbd_answer(reactor_, address_, std::move(call));
}

Task<Result<void>> RbdCloudVolume::grow_base(uint64_t size_bytes) {
  auto call = [images = images_, size_bytes] { return images->grow_base(size_bytes); };
  const auto grown = co_await rbd_answer(reactor_, address_, std::move(call));
  if (!grown) co_return grown;
  const int error = images_->base().opened();
  if (error < 0 || images_->base().info().size_bytes < size_bytes)
    co_return Error{Errc::io,
                    fmt::format("{}: the image was grown, but does not show it; try again", name_)};
  co_return Result<void>();
}

Task<Result<void>> RbdCloudVolume::release() {
  auto call = [images = images_] { return images->unlock(); };
  co_return co_await rbd_answer(reactor_, address_, std::move(call));
}

}  // namespace

Result<std::unique_ptr<CloudVolume>> open_rbd_volume(UringReactor& reactor,
                                                     const RbdAddress& address,
                                                     RbdOptions options) {
  auto volume = std::make_unique<RbdCloudVolume>(reactor, address, options);
  const Result<void> opened = volume->open();
  if (!opened) return opened.error();
  return std::unique_ptr<CloudVolume>(std::move(volume));
}

bool rbd_left_hanging() { return left_hanging; }

}  // namespace latte
