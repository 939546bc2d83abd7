#include "device/file_device.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "device/file_error.h"
#include "device/file_lock.h"

namespace latte {
namespace {

/// The kernel's limit of vectors in one operation (UIO_MAXIOV).
constexpr uint32_t kMaxVectors = 1024;
/// EAGAIN and EINTR in a row before a request fails.
constexpr uint32_t kMaxPassingErrors = 64;
/// Where O_DIRECT works but the kernel does not say with which alignment (before 6.1).
constexpr uint32_t kSafeAlignmentBytes = 4096;

alignas(4096) std::byte zero_piece[FileDevice::kZeroPieceBytes];

struct Opened {
  UniqueFd fd;
  bool direct = false;
  uint32_t alignment_bytes = 1;
};

uint32_t direct_alignment(int fd, bool is_block_device) {
  if (is_block_device) {
    int sector_bytes = 0;
    if (::ioctl(fd, BLKSSZGET, &sector_bytes) == 0 && sector_bytes > 0)
      return static_cast<uint32_t>(sector_bytes);
    return kSafeAlignmentBytes;
  }
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) != 0 ||
      (info.stx_mask & STATX_DIOALIGN) == 0)
    return kSafeAlignmentBytes;
  return std::max(info.stx_dio_mem_align, info.stx_dio_offset_align);  // 0: no direct I/O here
}

Result<Opened> open_file(const FileDevice::Options& options, bool is_block_device) {
  const int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
  if (options.direct) {
    UniqueFd fd(::open(options.path.c_str(), flags | O_DIRECT));
    if (fd.valid()) {
      const uint32_t alignment = direct_alignment(fd.get(), is_block_device);
      if (alignment > 0) return Opened{std::move(fd), true, alignment};
    } else if (errno != EINVAL) {
      return file_error("open", options.path, errno);
    }
  }
  UniqueFd fd(::open(options.path.c_str(), flags));
  if (!fd.valid()) return file_error("open", options.path, errno);
  return Opened{std::move(fd), false, 1};
}

Result<uint64_t> size_of(int fd, const std::string& path, bool is_block_device) {
  uint64_t size_bytes = 0;
  if (is_block_device) {
    if (::ioctl(fd, BLKGETSIZE64, &size_bytes) != 0) return file_error("size", path, errno);
  } else {
    struct stat info {};
    if (::fstat(fd, &info) != 0) return file_error("size", path, errno);
    size_bytes = static_cast<uint64_t>(info.st_size);
  }
  return size_bytes;
}

bool can_discard(int fd, const struct stat& info, uint64_t size_bytes, bool read_only) {
  if (read_only) return false;
  if (S_ISREG(info.st_mode))  // beyond the end: tells whether it works and changes nothing
    return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(size_bytes), kBlockBytes) == 0;
  const std::string device =
      fmt::format("/sys/dev/block/{}:{}/", major(info.st_rdev), minor(info.st_rdev));
  for (const char* queue : {"queue/", "../queue/"}) {  // the second for partitions
    std::ifstream file(device + queue + "discard_max_bytes");
    uint64_t bytes = 0;
    if (file >> bytes) return bytes > 0;
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<FileDevice>> FileDevice::open(UringReactor& reactor, Options options) {
  const std::string& path = options.path;
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return file_error("open", path, errno);
  const bool is_block_device = S_ISBLK(info.st_mode);
  if (!is_block_device && !S_ISREG(info.st_mode))
    return Error{Errc::invalid,
                 fmt::format("{} is neither a file nor a block device; name one", path)};
  Result<Opened> opened = open_file(options, is_block_device);
  if (!opened) return opened.error();
  Opened file = opened.take();
  Result<uint64_t> size = size_of(file.fd.get(), path, is_block_device);
  if (!size) return size.error();
  const uint64_t size_bytes = size.value();
  if (options.expected_size_bytes != 0 && size_bytes != options.expected_size_bytes)
    return Error{Errc::invalid,
                 fmt::format("{} has {} bytes, expected are {}; restore the file, or "
                             "correct the size in the configuration",
                             path, size_bytes, options.expected_size_bytes)};
  const uint32_t unit_bytes = std::max(kSectorBytes, file.alignment_bytes);
  if (size_bytes == 0 || size_bytes % unit_bytes != 0)
    return Error{Errc::invalid,
                 fmt::format("{} has {} bytes, which is no multiple of {}; use another size", path,
                             size_bytes, unit_bytes)};
  DeviceInfo device_info;
  device_info.name = "file:" + path;
  device_info.size_bytes = size_bytes;
  device_info.alignment_bytes = file.alignment_bytes;
  device_info.can_fua = true;
  device_info.can_discard = can_discard(file.fd.get(), info, size_bytes, options.read_only);
  device_info.volatile_cache = true;
  return std::unique_ptr<FileDevice>(new FileDevice(reactor, std::move(file.fd), file.direct,
                                                    options.read_only, std::move(device_info)));
}

FileDevice::FileDevice(UringReactor& reactor, UniqueFd fd, bool direct, bool read_only,
                       DeviceInfo info)
    : reactor_(reactor),
      fd_(std::move(fd)),
      direct_(direct),
      read_only_(read_only),
      info_(std::move(info)) {}

FileDevice::~FileDevice() {
  for (const Slot& slot : slots_) LATTE_CHECK(!slot.under_way);
}

Result<void> FileDevice::grow(uint64_t size_bytes) {
  if (size_bytes <= info_.size_bytes) return {};
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return file_error("look at", info_.name, errno);
  if (!S_ISREG(info.st_mode))
    return Error{Errc::unsupported,
                 fmt::format("{}: a block device can't be made larger from here", info_.name)};
  if (::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) != 0)
    return file_error("grow", info_.name, errno);
  if (::fsync(fd_.get()) != 0) return file_error("sync", info_.name, errno);
  info_.size_bytes = size_bytes;
  return {};
}

Result<void> FileDevice::lock_exclusive() {
  return latte::lock_exclusive(fd_.get(), info_.name.substr(sizeof("file:") - 1));
}

IoStatus FileDevice::validate(const IoRequest& request) const {
  if (request.op == IoOp::flush) return IoStatus::ok;
  if (read_only_ && request.op != IoOp::read) return IoStatus::invalid;
  if (!range_within(request.offset, request.length, info_.size_bytes)) return IoStatus::invalid;
  uint64_t bits = request.offset | request.length;
  if (request.op == IoOp::read || request.op == IoOp::write) {
    if (request.length > info_.max_request_bytes) return IoStatus::invalid;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < request.iov_count; ++i) {
      sum += request.iov[i].iov_len;
      bits |= request.iov[i].iov_len | reinterpret_cast<uintptr_t>(request.iov[i].iov_base);
    }
    LATTE_CHECK(sum == request.length);
  }
  return bits % info_.alignment_bytes == 0 ? IoStatus::ok : IoStatus::invalid;
}

bool FileDevice::submit(IoRequest& request) {
  request.status = validate(request);
  if (request.status != IoStatus::ok) return false;
  if (request.op != IoOp::flush && request.length == 0) return false;
  Slot& slot = take_slot();
  slot.request = &request;
  slot.done_bytes = 0;
  slot.passing_errors = 0;
  slot.syncing = false;
  if (request.op == IoOp::discard || request.op == IoOp::write_zeroes)
    slot.method = method_for(request.op);
  start(slot);
  return true;
}

FileDevice::Slot& FileDevice::take_slot() {
  if (free_slots_ != nullptr) {
    Slot& slot = *free_slots_;
    free_slots_ = slot.next_free;
    return slot;
  }
  Slot& slot = slots_.emplace_back();
  slot.device = this;
  slot.complete = &on_complete;
  return slot;
}

void FileDevice::start(Slot& slot) {
  if (slot.syncing || slot.request->op == IoOp::flush) {
    start_sync(slot);
  } else if (slot.request->op == IoOp::read || slot.request->op == IoOp::write) {
    start_transfer(slot);
  } else {
    start_zeroing(slot);
  }
}

void FileDevice::start_transfer(Slot& slot) {
  const IoRequest& request = *slot.request;
  const bool is_read = request.op == IoOp::read;
  if (slot.done_bytes == 0 && request.iov_count <= kMaxVectors) {
    submit_vector(slot, is_read, request.iov, request.iov_count, request.fua);
    return;
  }
  slot.rest.clear();
  uint64_t skip = slot.done_bytes;
  for (uint32_t i = 0; i < request.iov_count && slot.rest.size() < kMaxVectors; ++i) {
    const iovec& part = request.iov[i];
    if (skip >= part.iov_len) {
      skip -= part.iov_len;
      continue;
    }
    slot.rest.push_back({static_cast<std::byte*>(part.iov_base) + skip, part.iov_len - skip});
    skip = 0;
  }
  submit_vector(slot, is_read, slot.rest.data(), static_cast<uint32_t>(slot.rest.size()),
                request.fua);
}

void FileDevice::submit_vector(Slot& slot, bool is_read, const iovec* iov, uint32_t count,
                               bool fua) {
  LATTE_CHECK(count > 0);
  const uint64_t offset = slot.request->offset + slot.done_bytes;
  reactor_.submit(slot, [&](io_uring_sqe* sqe) {
    const auto length = static_cast<unsigned>(iov->iov_len);
    if (count == 1 && is_read) {
      io_uring_prep_read(sqe, fd_.get(), iov->iov_base, length, offset);
    } else if (count == 1) {
      io_uring_prep_write(sqe, fd_.get(), iov->iov_base, length, offset);
    } else if (is_read) {
      io_uring_prep_readv(sqe, fd_.get(), iov, count, offset);
    } else {
      io_uring_prep_writev(sqe, fd_.get(), iov, count, offset);
    }
    if (fua) sqe->rw_flags = RWF_DSYNC;
  });
}

FileDevice::ZeroMethod FileDevice::method_for(IoOp op) const {
  // A discard gives space back if it can; zeroes keep it if they can.
  if (op == IoOp::discard && can_punch_) return ZeroMethod::punch_hole;
  if (can_zero_range_) return ZeroMethod::zero_range;
  return can_punch_ ? ZeroMethod::punch_hole : ZeroMethod::write;
}

void FileDevice::start_zeroing(Slot& slot) {
  const IoRequest& request = *slot.request;
  if (slot.method == ZeroMethod::write) {
    slot.zeroes = {zero_piece, static_cast<size_t>(std::min<uint64_t>(
                                   sizeof(zero_piece), request.length - slot.done_bytes))};
    submit_vector(slot, false, &slot.zeroes, 1, request.fua);
    return;
  }
  const int mode =
      FALLOC_FL_KEEP_SIZE |
      (slot.method == ZeroMethod::punch_hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
  reactor_.submit(slot, [&](io_uring_sqe* sqe) {
    io_uring_prep_fallocate(sqe, fd_.get(), mode, static_cast<off_t>(request.offset),
                            static_cast<off_t>(request.length));
  });
}

void FileDevice::start_sync(Slot& slot) {
  reactor_.submit(slot, [this](io_uring_sqe* sqe) {
    io_uring_prep_fsync(sqe, fd_.get(), IORING_FSYNC_DATASYNC);
  });
}

void FileDevice::on_complete(UringOp* op, int result) {
  Slot& slot = *static_cast<Slot*>(op);
  FileDevice& device = *slot.device;
  if (result < 0) {
    device.handle_error(slot, result);
    return;
  }
  slot.passing_errors = 0;
  device.advance(slot, static_cast<uint64_t>(result));
}

void FileDevice::advance(Slot& slot, uint64_t bytes) {
  const IoRequest& request = *slot.request;
  if (slot.syncing || request.op == IoOp::flush) {
    finish(slot, IoStatus::ok);
    return;
  }
  const bool zeroing = request.op == IoOp::discard || request.op == IoOp::write_zeroes;
  if (zeroing && slot.method != ZeroMethod::write) {
    if (!request.fua) {
      finish(slot, IoStatus::ok);
      return;
    }
    slot.syncing = true;
    start_sync(slot);
    return;
  }
  // No progress: the file was made shorter behind our back, or the device is full.
  if (bytes == 0) {
    finish(slot, IoStatus::io_error);
    return;
  }
  slot.done_bytes += bytes;
  LATTE_CHECK(slot.done_bytes <= request.length);
  if (slot.done_bytes == request.length) {
    finish(slot, IoStatus::ok);
  } else {
    start(slot);
  }
}

void FileDevice::handle_error(Slot& slot, int result) {
  if ((result == -EAGAIN || result == -EINTR) && ++slot.passing_errors <= kMaxPassingErrors) {
    start(slot);
    return;
  }
  const IoOp op = slot.request->op;
  const bool zeroing = op == IoOp::discard || op == IoOp::write_zeroes;
  if (result == -EOPNOTSUPP && zeroing && !slot.syncing && slot.method != ZeroMethod::write) {
    (slot.method == ZeroMethod::punch_hole ? can_punch_ : can_zero_range_) = false;
    slot.method = method_for(op);
    start(slot);
    return;
  }
  IoStatus status = io_status_from_errno(result);
  // The request was checked, so "invalid" would put the blame on the wrong side.
  if (status == IoStatus::invalid) status = IoStatus::io_error;
  finish(slot, status);
}

void FileDevice::finish(Slot& slot, IoStatus status) {
  IoRequest& request = *slot.request;
  slot.request = nullptr;
  slot.next_free = free_slots_;
  free_slots_ = &slot;
  request.status = status;
  reactor_.schedule(request.waiter);
}

}  // namespace latte
