#include "frontend/guest_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/units.h"
#include "frontend/guest_memory_guard.h"

namespace latte::vhost {
namespace {

/// Mappings of hugetlbfs files are whole huge pages; the largest there are.
constexpr uint64_t kMaxHugePageBytes = 1ull << 30;

bool wraps(uint64_t begin, uint64_t size) { return begin + size < begin; }

Error bad_region(const RegionDescription& region, std::string_view what) {
  return {Errc::invalid, fmt::format("memory region of {} bytes at guest address {:#x}: {}",
                                     region.size, region.guest_address, what)};
}

/// The unit in which this file is mapped.
uint64_t mapping_unit(const struct stat& status) {
  const auto unit = static_cast<uint64_t>(status.st_blksize);
  return std::has_single_bit(unit) ? std::clamp(unit, kPageBytes, kMaxHugePageBytes) : kPageBytes;
}

}  // namespace

Result<std::shared_ptr<const GuestRegion>> GuestRegion::map(const RegionDescription& description,
                                                            int fd) {
  const uint64_t offset = description.mmap_offset;
  if (description.size == 0) return bad_region(description, "it is empty");
  if (description.size > kMaxGuestBytes)
    return bad_region(description, fmt::format("a guest has at most {} bytes", kMaxGuestBytes));
  if (wraps(description.guest_address, description.size) ||
      wraps(description.user_address, description.size) || wraps(offset, description.size))
    return bad_region(description, "an address runs over the end of 64 bits");
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
    return bad_region(description, "its descriptor is no file; share memory of a memfd or a file");
  // Beyond the file's end every access would be a bus error.
  if (status.st_size < 0 || offset + description.size > static_cast<uint64_t>(status.st_size))
    return bad_region(description, fmt::format("its file has {} bytes, and {} are needed",
                                               status.st_size, offset + description.size));
  const uint64_t unit = mapping_unit(status);
  const uint64_t begin = round_down(offset, unit);
  const uint64_t bytes = round_up(offset + description.size - begin, unit);
  void* mapping = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                         static_cast<off_t>(begin));
  if (mapping == MAP_FAILED)
    return Error{
        Errc::no_space,
        bad_region(description, fmt::format("cannot be mapped: {}", std::strerror(errno))).message};
  std::shared_ptr<GuestRegion> region(new GuestRegion);
  region->description_ = description;
  region->mapping_ = mapping;
  region->mapping_bytes_ = bytes;
  region->data_ = static_cast<std::byte*>(mapping) + (offset - begin);
  // A fork would share what the guest writes; a core dump has no business with guests' memory.
  (void)::madvise(mapping, bytes, MADV_DONTDUMP);
  if (!guard_mapping(mapping, bytes))
    return bad_region(description, "the server guards as many mappings as it can already");
  return std::shared_ptr<const GuestRegion>(std::move(region));
}

std::shared_ptr<const GuestRegion> GuestRegion::borrow(const RegionDescription& description,
                                                       std::byte* memory) {
  std::shared_ptr<GuestRegion> region(new GuestRegion);
  LATTE_CHECK(!wraps(description.guest_address, description.size));
  region->description_ = description;
  region->data_ = memory;
  return region;
}

GuestRegion::~GuestRegion() {
  if (mapping_ == nullptr) return;
  unguard_mapping(mapping_);
  LATTE_CHECK(::munmap(mapping_, mapping_bytes_) == 0);
}

Result<GuestMemory*> GuestMemory::make(Regions regions) {
  if (regions.size() > kMaxRegions)
    return Error{Errc::invalid, fmt::format("{} memory regions; a device has at most {}",
                                            regions.size(), kMaxRegions)};
  uint64_t bytes = 0;
  for (const auto& region : regions) bytes += region->size();
  if (bytes > kMaxGuestBytes)
    return Error{Errc::invalid, fmt::format("memory regions of {} bytes; a guest has at most {}",
                                            bytes, kMaxGuestBytes)};
  std::sort(regions.begin(), regions.end(),
            [](const auto& a, const auto& b) { return a->guest_begin() < b->guest_begin(); });
  for (size_t i = 1; i < regions.size(); ++i)
    if (regions[i - 1]->guest_end() > regions[i]->guest_begin())
      return bad_region(regions[i]->description(), "it overlaps another one");
  return new GuestMemory(std::move(regions));
}

const GuestRegion* GuestMemory::find_slowly(uint64_t guest_address) const {
  for (const auto& region : regions_)
    if (guest_address >= region->guest_begin() && guest_address < region->guest_end())
      return last_found_ = region.get();
  return nullptr;
}

std::byte* GuestMemory::translate_user(uint64_t user_address, uint64_t length) const {
  for (const auto& region : regions_) {
    const uint64_t begin = region->description().user_address;
    if (user_address < begin || user_address - begin >= region->size()) continue;
    const uint64_t offset = user_address - begin;
    return length <= region->size() - offset ? region->data() + offset : nullptr;
  }
  return nullptr;
}

bool GuestMemory::append_pieces(uint64_t guest_address, uint64_t length, size_t limit,
                                std::vector<iovec>& out) const {
  LATTE_CHECK(length > 0);
  while (length > 0) {
    const GuestRegion* region = find(guest_address);
    if (region == nullptr || out.size() >= limit) return false;
    const uint64_t piece = std::min(length, region->guest_end() - guest_address);
    out.push_back({region->data() + (guest_address - region->guest_begin()), piece});
    guest_address += piece;  // may wrap to 0: then no region follows, or one does at 0
    length -= piece;
    if (length > 0 && guest_address == 0) return false;
  }
  return true;
}

}  // namespace latte::vhost
