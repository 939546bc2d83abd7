#include "control/node.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>
#include <utility>

#include "base/check.h"

namespace latte {
namespace {
constexpr auto kLockPause = std::chrono::milliseconds(50);
}

Result<std::unique_ptr<Node>> Node::open(const Config& config, Options options) {
  std::unique_ptr<Node> node(new Node(options));
  auto engine = EngineThread::start();
  if (!engine) return engine.error();
  node->engine_ = engine.take();

  FileDevice::Options file;
  file.path = config.pool.path;
  file.read_only = options.access == Access::read_only;
  if (!file.read_only) file.expected_size_bytes = config.pool.size_bytes;
  auto pool = node->engine_->call(
      [&] { return FileDevice::open(node->engine_->reactor(), std::move(file)); });
  if (!pool) {
    Error error = pool.error();
    error.message = "pool: " + error.message;
    if (error.code == Errc::not_found) error.message += "; latte create makes the pool";
    return error;
  }
  node->pool_ = pool.take();
  const Result<void> locked = node->lock_pool();
  if (!locked) return locked.error();
  node->host_ = std::make_unique<Host>(node->engine_->reactor(), *node->pool_);
  if (!options.read_pool) return node;
  const Result<void> read = node->engine_->call([&] { return node->host_->open_pool(); });
  if (!read) return Error{read.error().code, "pool: " + read.error().message};
  node->pool_read_ = true;
  return node;
}

Result<void> Node::lock_pool() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kLockWaitMs);
  for (;;) {
    const Result<void> locked = engine_->call([&] { return pool_->lock_exclusive(); });
    if (locked || locked.error().code != Errc::busy) return locked;
    if (std::chrono::steady_clock::now() >= deadline)
      return Error{Errc::busy, "pool: " + locked.error().message};
    std::this_thread::sleep_for(kLockPause);
  }
}

Result<CloudVolume*> Node::open_cloud(const DiskConfig& disk) {
  FileCloudVolume::Options options;
  options.limits = disk.cloud_limits;
  options.read_only = options_.access == Access::read_only;
  auto cloud = engine_->call(
      [&] { return FileCloudVolume::open(engine_->reactor(), disk.cloud_directory, options); });
  if (!cloud) {
    Error error = cloud.error();
    error.message = fmt::format("disk {}: {}", disk.options.name, error.message);
    if (error.code == Errc::not_found) error.message += "; latte create makes the disk";
    return error;
  }
  clouds_.push_back(cloud.take());
  return static_cast<CloudVolume*>(clouds_.back().get());
}

Result<HybridDisk*> Node::attach(const DiskConfig& disk) {
  LATTE_CHECK(pool_read_);
  const auto cloud = open_cloud(disk);
  if (!cloud) return cloud.error();
  auto attached = engine_->call([&] { return host_->attach(disk.options, *cloud.value()); });
  if (attached) return attached;
  Error error = attached.error();
  if (!error.message.starts_with("disk "))
    error.message = fmt::format("disk {}: {}", disk.options.name, error.message);
  return error;
}

Result<void> Node::stop_host() {
  if (!pool_read_ || std::exchange(host_stopped_, true)) return {};
  return engine_->call([&] { return host_->stop(); });
}

Node::~Node() {
  if (options_.access == Access::read_write) (void)stop_host();
  // Nothing is under way once the thread has ended; then the rest may go, the reactor last.
  if (engine_) engine_->stop();
}

}  // namespace latte
