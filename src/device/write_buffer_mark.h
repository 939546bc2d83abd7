// The mark of a write buffer on its device: reading and changing both copies.
#pragma once

#include <optional>

#include "base/result.h"
#include "device/write_buffer_format.h"
#include "runtime/block_device.h"
#include "runtime/task.h"

namespace latte {

/// The mark that counts; none where no buffer was ever used. Errors: io, damaged (both copies),
/// unsupported.
Task<Result<std::optional<BufferMark>>> read_buffer_mark(BlockDevice& device);
/// Makes `mark` durable in both copies, one after the other, with the next counter.
Task<Result<void>> write_buffer_mark(BlockDevice& device, BufferMark& mark);

}  // namespace latte
