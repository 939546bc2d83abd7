#include "model/depth_driver.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace latte::model {

DepthResult drive_at_depth(TimedDevice& device, const DepthLoad& load, TimeNs start_ns) {
  LATTE_CHECK(load.depth > 0 && load.length_bytes > 0 && load.span_bytes >= load.length_bytes);
  LATTE_CHECK(load.requests > 0);
  Random random(load.seed);
  const uint64_t places = load.span_bytes / load.length_bytes;
  // When each of the requests under way ends, the earliest first.
  std::vector<TimeNs> ends(load.depth, start_ns);
  DepthResult result;
  TimeNs counted_from_ns = start_ns;
  for (uint64_t i = 0; i < load.warm_up + load.requests; ++i) {
    std::pop_heap(ends.begin(), ends.end(), std::greater<>());
    ModelIo io;
    io.time_ns = ends.back();
    io.length_bytes = load.length_bytes;
    io.op = random.uniform() < load.read_share ? ModelOp::read : ModelOp::write;
    io.offset = (load.sequential ? i % places : random.below(places)) * load.length_bytes;
    const TimeNs end_ns = device.submit(io);
    LATTE_CHECK(end_ns > io.time_ns);
    if (i == load.warm_up) counted_from_ns = io.time_ns;
    if (i >= load.warm_up)
      (io.op == ModelOp::read ? result.reads : result.writes).record(end_ns - io.time_ns);
    ends.back() = end_ns;
    std::push_heap(ends.begin(), ends.end(), std::greater<>());
    result.end_ns = std::max(result.end_ns, end_ns);
  }
  // Up to when the next one would have started: what is then under way counts as done, as what was
  // under way at the beginning did not.
  result.seconds = static_cast<double>(std::max<TimeNs>(1, ends.front() - counted_from_ns)) / 1e9;
  result.iops = static_cast<double>(load.requests) / result.seconds;
  result.bytes_per_second = result.iops * load.length_bytes;
  return result;
}

}  // namespace latte::model
