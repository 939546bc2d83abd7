#include "frontend/inflight_region.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "frontend/guest_memory_guard.h"
#include "frontend/virtio_blk.h"
#include "frontend/virtqueue.h"

namespace latte::vhost {
namespace {

/// Each queue's part begins on a cache line of its own.
constexpr size_t kQueueAlignment = 64;

Result<void> check(uint16_t queues, uint16_t queue_size) {
  if (queues > 0 && queues <= kMaxQueues && queue_size > 0 && queue_size <= kMaxQueueSize)
    return {};
  return Error{Errc::invalid,
               fmt::format("inflight region for {} queues of {} entries; at most {} of {}", queues,
                           queue_size, kMaxQueues, kMaxQueueSize)};
}

}  // namespace

size_t InflightRegion::queue_bytes(uint16_t queue_size, bool packed) {
  const size_t bytes = packed
                           ? sizeof(InflightPackedHeader) + queue_size * sizeof(InflightPackedEntry)
                           : sizeof(InflightSplitHeader) + queue_size * sizeof(InflightSplitEntry);
  return round_up(bytes, kQueueAlignment);
}

Result<std::shared_ptr<InflightRegion>> InflightRegion::create(uint16_t queues, uint16_t queue_size,
                                                               bool packed) {
  const Result<void> fits = check(queues, queue_size);
  if (!fits) return fits.error();
  std::shared_ptr<InflightRegion> region(new InflightRegion);
  region->packed_ = packed;
  region->description_.mmap_size = queues * queue_bytes(queue_size, packed);
  region->description_.queues = queues;
  region->description_.queue_size = queue_size;
  region->fd_ = UniqueFd(::memfd_create("latte-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!region->fd_.valid() ||
      ::ftruncate(region->fd_.get(), static_cast<off_t>(region->description_.mmap_size)) != 0)
    return Error{Errc::no_space, fmt::format("no memory for an inflight region of {} bytes: {}",
                                             region->description_.mmap_size, std::strerror(errno))};
  // Nobody can shorten it behind our back.
  (void)::fcntl(region->fd_.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  const Result<void> mapped = region->map_fd();
  if (!mapped) return mapped.error();
  return region;
}

Result<std::shared_ptr<InflightRegion>> InflightRegion::map(const InflightDescription& description,
                                                            UniqueFd fd, bool packed) {
  const Result<void> fits = check(description.queues, description.queue_size);
  if (!fits) return fits.error();
  const uint64_t needed = description.queues * queue_bytes(description.queue_size, packed);
  struct stat status {};
  const bool file = ::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode);
  const uint64_t end = description.mmap_offset + description.mmap_size;
  if (!file || description.mmap_size < needed || end < description.mmap_size ||
      status.st_size < 0 || end > static_cast<uint64_t>(status.st_size))
    return Error{Errc::invalid,
                 fmt::format("inflight region of {} bytes at {} for {} queues of {} entries: its "
                             "file is too short, or it is; {} bytes are needed",
                             description.mmap_size, description.mmap_offset, description.queues,
                             description.queue_size, needed)};
  std::shared_ptr<InflightRegion> region(new InflightRegion);
  region->packed_ = packed;
  region->description_ = description;
  region->fd_ = std::move(fd);
  const Result<void> mapped = region->map_fd();
  if (!mapped) return mapped.error();
  return region;
}

Result<void> InflightRegion::map_fd() {
  const uint64_t begin = round_down(description_.mmap_offset, kPageBytes);
  const uint64_t offset = description_.mmap_offset - begin;
  if (offset % alignof(InflightPackedEntry) != 0)
    return Error{Errc::invalid, fmt::format("inflight region at {}: that is no multiple of 8",
                                            description_.mmap_offset)};
  mapping_bytes_ = round_up(offset + description_.mmap_size, kPageBytes);
  void* mapping = ::mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(),
                         static_cast<off_t>(begin));
  if (mapping == MAP_FAILED)
    return Error{Errc::no_space, fmt::format("the inflight region of {} bytes cannot be mapped: {}",
                                             description_.mmap_size, std::strerror(errno))};
  mapping_ = mapping;
  data_ = static_cast<std::byte*>(mapping) + offset;
  if (guard_mapping(mapping_, mapping_bytes_)) return {};
  return Error{Errc::no_space, "the server guards as many mappings as it can already"};
}

InflightRegion::~InflightRegion() {
  if (mapping_ == nullptr) return;
  unguard_mapping(mapping_);
  LATTE_CHECK(::munmap(mapping_, mapping_bytes_) == 0);
}

Result<void> InflightQueue::check_room(uint32_t ring_entries) const {
  if (entries >= ring_entries) return {};
  return Error{Errc::invalid,
               fmt::format("the inflight region has room for {} entries, the ring has {}", entries,
                           ring_entries)};
}

InflightQueue InflightRegion::queue(const std::shared_ptr<InflightRegion>& region, uint32_t index) {
  if (!region || index >= region->description_.queues) return {};
  const uint16_t entries = region->description_.queue_size;
  return {region, region->data_ + index * queue_bytes(entries, region->packed_), entries};
}

}  // namespace latte::vhost
