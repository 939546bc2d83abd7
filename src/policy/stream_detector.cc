#include "policy/stream_detector.h"

#include <algorithm>

namespace latte::policy {

StreamDetector::Sighting StreamDetector::sighting(const Stream& stream) const {
  return {stream.blocks >= least_blocks_, static_cast<size_t>(&stream - streams_.data()),
          Lba(stream.next)};
}

StreamDetector::Sighting StreamDetector::observe(Lba lba, uint64_t count) {
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
    return sighting(stream);
  }
  *oldest = Stream{end, count, reads_};
  return sighting(*oldest);
}

}  // namespace latte::policy
