#include "bench_disk.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "runtime/call_on.h"

namespace latte::bench {

void fail(const std::string& what, const std::string& message) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), message.c_str());
  std::exit(1);
}

BenchDisk::BenchDisk(UringReactor& reactor, BlockDevice& pool, Options options)
    : reactor_(reactor), pool_(pool), options_(std::move(options)) {
  disk_options_.name = "bench";
  disk_options_.size_bytes = options_.size_bytes;
  disk_options_.max_lag_ns = kNoLagLimit;
  disk_options_.cloud_limits = options_.cloud_limits;
  disk_options_.dispatch.mode = options_.dispatcher;
}

void BenchDisk::open_cloud() {
  cloud_ = expect("cloud", FileCloudVolume::open(reactor_, options_.cloud_directory, {}));
}

void BenchDisk::create() {
  expect("cloud", FileCloudVolume::create(options_.cloud_directory, options_.size_bytes,
                                          options_.cloud_log_bytes));
  open_cloud();
  expect("cloud", run_task(reactor_, Host::format_cloud(reactor_, *cloud_, disk_options_, {})));
  expect("pool", run_task(reactor_, Host::format_pool(reactor_, pool_, {})));
  Host host(reactor_, pool_);
  expect("pool", run_task(reactor_, host.open_pool()));
  expect("disk", run_task(reactor_, host.adopt_new(disk_options_, *cloud_)));
  cloud_.reset();
}

void BenchDisk::attach() {
  open_cloud();
  host_ = std::make_unique<Host>(reactor_, pool_);
  expect("pool", run_task(reactor_, host_->open_pool()));
  disk_ = expect("disk", run_task(reactor_, host_->attach(disk_options_, *cloud_)));
}

void BenchDisk::stop() { expect("stop", run_task(reactor_, host_->stop())); }

ScratchDirectory::ScratchDirectory(const std::string& parent) {
  path_ = parent + "/latte-bench-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) fail(path_, "no directory can be made there");
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace latte::bench
