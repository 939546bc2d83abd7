#include "device/write_buffer_mark.h"

#include <fmt/format.h>

#include <cstring>

#include "base/all_zero.h"
#include "base/buffer.h"
#include "base/crc32c.h"

namespace latte {
namespace {

enum class Copy { none, valid, damaged, other_version };

Copy parse(std::span<const std::byte> bytes, BufferMark& mark) {
  std::memcpy(&mark, bytes.data(), sizeof(mark));
  if (all_zero(bytes.first(sizeof(mark)))) return Copy::none;
  if (mark.magic != kBufferMarkMagic || mark.crc != struct_crc(mark)) return Copy::damaged;
  if (mark.version != kWriteBufferVersion) return Copy::other_version;
  const bool known = mark.state == BufferState::clean || mark.state == BufferState::in_use;
  return known ? Copy::valid : Copy::damaged;
}

}  // namespace

Task<Result<std::optional<BufferMark>>> read_buffer_mark(BlockDevice& device) {
  Buffer blocks(kBufferMarkCopies * kBlockBytes);
  if (!range_within(kBufferMarkOffset, blocks.size(), device.info().size_bytes))
    co_return std::optional<BufferMark>();  // no pool's device
  const std::string& name = device.info().name;
  const IoStatus status = co_await device.read(kBufferMarkOffset, blocks.span());
  if (status != IoStatus::ok)
    co_return Error{Errc::io, fmt::format("{}: reading the write buffer's mark failed: {}", name,
                                          to_string(status))};
  BufferMark marks[kBufferMarkCopies];
  const Copy a = parse(blocks.span().first(kBlockBytes), marks[0]);
  const Copy b = parse(blocks.span().last(kBlockBytes), marks[1]);
  if (a == Copy::other_version || b == Copy::other_version)
    co_return Error{Errc::unsupported,
                    fmt::format("{}: its write buffer is of another version than {}; start the "
                                "build that wrote it once, and stop it",
                                name, kWriteBufferVersion)};
  if (a == Copy::valid && (b != Copy::valid || marks[0].counter >= marks[1].counter))
    co_return std::optional(marks[0]);
  if (b == Copy::valid) co_return std::optional(marks[1]);
  // Before the first mark is written both are zero; one that is torn was never relied on.
  if (a == Copy::damaged && b == Copy::damaged)
    co_return Error{Errc::damaged,
                    fmt::format("{}: both copies of the write buffer's mark are damaged: nobody "
                                "can tell whether all acknowledged writes are there. Replace the "
                                "pool with a new one (latte create) and take its disks over from "
                                "the cloud (latte takeover)",
                                name)};
  co_return std::optional<BufferMark>();
}

Task<Result<void>> write_buffer_mark(BlockDevice& device, BufferMark& mark) {
  mark.magic = kBufferMarkMagic;
  mark.version = kWriteBufferVersion;
  ++mark.counter;
  mark.crc = struct_crc(mark);
  Buffer block(kBlockBytes);
  std::memset(block.data(), 0, block.size());
  std::memcpy(block.data(), &mark, sizeof(mark));
  for (uint64_t copy = 0; copy < kBufferMarkCopies; ++copy) {
    IoStatus status = co_await device.write(kBufferMarkOffset + copy * kBlockBytes, block.span());
    if (status == IoStatus::ok) status = co_await device.flush();
    if (status != IoStatus::ok)
      co_return Error{Errc::io, fmt::format("{}: writing the write buffer's mark failed: {}",
                                            device.info().name, to_string(status))};
  }
  co_return Result<void>();
}

}  // namespace latte
