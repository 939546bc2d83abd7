// FileCloudVolume: a cloud volume in a directory of plain files, on a local or a shared file
// system:
//
//   base        the base image, sparse          log         the cloud log, sparse
//   super       the superblock, in an envelope (super_envelope.h); replaced whole by rename
//   fence       generation, 8 bytes little-endian; only goes up (file_fence.h)
//   owner.lock  flock: one process at a time replaces the superblock
//
// swap_super(): lock owner.lock; compare the generation; raise the fence; wait until the writes of
// lower generations are out of the way (fenced_file_device.h); replace the superblock. If it fails
// after the fence was raised, nobody may write until a swap succeeds, and any number of tries may
// follow.
//
// Thread rule: one reactor. Destroy it only when nothing is under way (or after
// UringReactor::shutdown()). Limits: waits at most kSwapWaitNs for each lock. The file system must
// have working flocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "device/cloud_volume.h"
#include "device/fenced_file_device.h"
#include "device/file_device.h"
#include "device/file_fence.h"
#include "runtime/uring_reactor.h"

namespace latte {

class FileCloudVolume final : public CloudVolume {
 public:
  static constexpr TimeNs kSwapWaitNs = 10 * kSecond;

  struct Options {
    uint64_t base_bytes = 0;  ///< refuse a base of another size; 0 = any
    uint64_t log_bytes = 0;   ///< likewise
    bool read_only = false;   ///< for offline checks: writes and swaps are refused
    bool direct = true;       ///< try O_DIRECT
    TimeNs swap_wait_ns = kSwapWaitNs;
  };

  /// Makes the directory and the files that are missing (all but `super`) and leaves what exists
  /// alone. Blocks. Errors: exists (there is a superblock), invalid (a file has another size), io,
  /// no_space.
  static Result<void> create(const std::string& directory, uint64_t base_bytes, uint64_t log_bytes);
  /// Opens what create() made. Blocks. Errors: not_found, invalid (sizes, not a directory),
  /// damaged, io.
  static Result<std::unique_ptr<FileCloudVolume>> open(UringReactor& reactor,
                                                       const std::string& directory,
                                                       Options options);

  const std::string& name() const override { return name_; }
  BlockDevice& base() override { return *base_.fenced; }
  BlockDevice& log() override { return *log_.fenced; }
  Task<Result<SuperBytes>> read_super() override;
  Task<Result<void>> swap_super(uint64_t expected_generation, uint64_t next_generation,
                                const SuperBytes& next) override;
  Task<Result<void>> grow_base(uint64_t size_bytes) override;

  /// The generation this volume writes as; 0 until swap_super() succeeded.
  uint64_t generation() const { return fence_->own_generation(); }

 private:
  /// One data file and the filter over it.
  struct DataFile {
    std::string path;
    std::unique_ptr<FileDevice> file;
    std::unique_ptr<FencedFileDevice> fenced;
  };

  FileCloudVolume(UringReactor& reactor, std::string directory, Options options);
  Result<void> take_up_unfinished();
  Result<void> open_data(DataFile& data, const char* file_name, uint64_t expected_bytes);
  Result<void> check_swap(uint64_t expected_generation, uint64_t next_generation) const;
  Task<Result<void>> wait_for_lock(const UniqueFd* fd, const std::string* path, TimeNs deadline_ns);
  Task<Result<void>> drain_writers(DataFile* data, uint64_t next_generation);
  Task<Result<void>> raise_fence(uint64_t next_generation);
  std::string path_of(const char* file_name) const { return directory_ + "/" + file_name; }

  UringReactor& reactor_;
  const std::string directory_;
  const std::string name_;
  const Options options_;
  std::unique_ptr<FileFence> fence_;
  DataFile base_;
  DataFile log_;
};

}  // namespace latte
