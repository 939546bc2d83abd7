// BenchDisk: one hybrid disk in this process, its cloud volume in a directory, for benchmarks.
//
// Thread rule: made, used and destroyed by the thread that runs the reactor.
#pragma once

#include <memory>
#include <string>

#include "device/file_cloud_volume.h"
#include "disk/host.h"
#include "disk/hybrid_disk.h"
#include "runtime/uring_reactor.h"

namespace latte::bench {

/// Ends the process with the error's text; a benchmark has nobody to report to.
[[noreturn]] void fail(const std::string& what, const std::string& message);

/// The value, or the end of the process.
template <typename T>
T expect(const char* what, Result<T> result) {
  if (!result) fail(what, result.error().message);
  if constexpr (!std::is_void_v<T>) return result.take();
}

class BenchDisk {
 public:
  struct Options {
    std::string cloud_directory{};
    uint64_t size_bytes = 0;
    uint64_t cloud_log_bytes = 0;
    CloudLimits cloud_limits{};
    DispatchMode dispatcher = DispatchMode::local;
  };

  /// `pool` outlives the disk.
  BenchDisk(UringReactor& reactor, BlockDevice& pool, Options options);

  /// Formats pool and cloud and makes the pool the disk's owner.
  void create();
  /// What a server does between its start and the first request. Call it once, after create() or in
  /// a process of its own.
  void attach();
  void stop();

  HybridDisk& disk() { return *disk_; }
  Host& host() { return *host_; }

 private:
  void open_cloud();

  UringReactor& reactor_;
  BlockDevice& pool_;
  const Options options_;
  DiskOptions disk_options_;
  std::unique_ptr<FileCloudVolume> cloud_;
  std::unique_ptr<Host> host_;
  HybridDisk* disk_ = nullptr;
};

/// A directory that is removed with everything in it.
class ScratchDirectory {
 public:
  /// In `parent`, which must exist.
  explicit ScratchDirectory(const std::string& parent);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace latte::bench
