// DeviceModel: how long a device takes, as a pure function of the requests it was given so far. No
// data, no events, no threads: submit() says at once when the request will complete. Replays,
// policy studies and the simulator's devices (sim/) stand on it.
//
// Invariants:
//  1. Same options, same seed, same requests: same answers.
//  2. peek() answers what submit() would answer now, and changes nothing: the counterfactual "how
//     long would it have taken on this device, in the state it is in" is exact.
//  3. A later request never changes when an earlier one completes.
// Thread rule: none shared; a model belongs to its user.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/units.h"

namespace latte::model {

enum class ModelOp : uint8_t { read, write, flush };

struct ModelIo {
  TimeNs time_ns = 0;  ///< of submission; never decreases from one submit() to the next
  ModelOp op = ModelOp::read;
  uint64_t offset = 0;        ///< bytes
  uint32_t length_bytes = 0;  ///< 1..kMaxLengthBytes; 0 for a flush
};

/// Longest request a model takes.
inline constexpr uint32_t kMaxLengthBytes = 32u << 20;

/// Whatever takes requests and says when they complete.
class TimedDevice {
 public:
  virtual ~TimedDevice() = default;
  /// When `io` completes (after io.time_ns); the device is then busy with it.
  virtual TimeNs submit(const ModelIo& io) = 0;
};

class DeviceModel : public TimedDevice {
 public:
  virtual std::string_view name() const = 0;
  /// When `io` would complete if it were submitted now. submit() of the same io gives the same.
  virtual TimeNs peek(const ModelIo& io) = 0;
};

}  // namespace latte::model
