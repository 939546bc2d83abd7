#include "policy/stream_detector.h"

#include <algorithm>

namespace latte::policy {

bool StreamDetector::observe(Lba lba, uint64_t count) {
  ++reads_;
  const uint64_t end = lba.value + count;
  Stream* oldest = &streams_.front();
  for (Stream& stream : streams_) {
    if (stream.used < oldest->used) oldest = &stream;
    const bool near =
        lba.value + kSlackBlocks >= stream.next && lba.value <= stream.next + kSlackBlocks;
    if (stream.blocks == 0 || !near) continue;
    if (end > stream.next) {
      stream.blocks += std::min(count, end - stream.next);
      stream.next = end;
    }
    stream.used = reads_;
    return stream.blocks >= kLeastBlocks;
  }
  *oldest = Stream{end, count, reads_};
  return count >= kLeastBlocks;
}

}  // namespace latte::policy
