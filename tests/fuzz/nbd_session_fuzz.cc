// Fuzzes a whole NBD session: the input is what a client sends, cut into steps, with a device that
// answers at once, late, or with errors, and a client that stops reading or hangs up. What must
// hold: no crash, no request outside the device, and when the client is gone nothing of its
// connection is left.
//
// Input: byte 0: 1 = start with a complete handshake, 2 = with structured replies too, 4 = few
// slots, 8 = receive in pieces. Then steps: a byte that says what to do, with operands from what
// follows.
#include <spdlog/spdlog.h>

#include <cstddef>
#include <cstdint>

#include "../unit/nbd_harness.h"
#include "base/check.h"
#include "frontend/nbd_connection.h"

namespace latte::nbd::test {
namespace {

class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<uint8_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return value;
  }
  std::span<const std::byte> take(size_t count) {
    const auto front = bytes_.first(std::min(count, bytes_.size()));
    bytes_ = bytes_.subspan(front.size());
    return front;
  }

 private:
  std::span<const std::byte> bytes_;
};

// A request whose fields are mostly sensible: the fuzzer need not guess the magic each time.
void send_request(Input& input, MemoryTransport& transport) {
  const uint16_t type = input.byte() % 9;
  const uint16_t flags = input.byte() & 0x3f;
  const uint64_t offset = uint64_t{input.byte()} * 4096 + input.byte() % 2 * 512;
  const uint32_t length =
      static_cast<uint32_t>(input.byte()) * 512 + input.byte() % 2 * (64u << 10);
  Bytes wire;
  append_request(wire, type, input.byte(), offset, length, flags);
  if (type == NBD_CMD_WRITE) wire.resize(wire.size() + length);
  transport.client_sends(wire);
}

void run_session(Input input) {
  ManualReactor reactor;
  TestDevice device(reactor, 1u << 20);
  ExportTable exports;
  LATTE_CHECK(exports.add("disk", "a disk", device).ok());
  MemoryTransport transport(reactor);
  Limits limits;
  const uint8_t mode = input.byte();
  if ((mode & 4) != 0) {
    limits.requests = 3;
    limits.data_bytes = 128u << 10;
  }
  if ((mode & 8) != 0) transport.set_receive_limit(61);
  Connection connection(reactor, exports, limits, transport, "fuzz");
  reactor.spawn(connection.serve());
  if ((mode & 3) != 0) transport.client_sends(handshake((mode & 2) != 0));

  while (!input.empty()) {
    const uint8_t step = input.byte();
    switch (step % 12) {
      case 0:
        transport.client_sends(input.take(input.byte()));
        break;
      case 1:
        transport.client_sends(input.take(SIZE_MAX));
        break;
      case 2:
        device.set_held(true);
        break;
      case 3:
        device.set_held(false);
        break;
      case 4:
        transport.set_stuck(true);
        break;
      case 5:
        transport.set_stuck(false);
        break;
      case 6:
        device.set_status(static_cast<IoStatus>(input.byte() % 8));
        break;
      case 7:
        reactor.advance(kSecond * input.byte());
        break;
      case 8:
        connection.begin_stop();
        break;
      case 9:
        transport.client_ends();
        break;
      case 10:
        transport.abort();
        break;
      default:
        send_request(input, transport);
        break;
    }
    if ((step & 0x80) == 0) reactor.run();
    (void)transport.take_output();
  }
  // However it went: the client goes, politely or not, the device answers, and all is over. (A
  // client that neither reads nor goes may stay for ever, with what its limits allow.)
  transport.set_stuck((mode & 16) != 0);
  transport.client_ends();
  if ((mode & 16) != 0) transport.abort();
  device.set_held(false);
  reactor.run();
  reactor.advance(limits.linger_ns + limits.negotiation_ns);
  LATTE_CHECK(reactor.task_count() == 0);
}

}  // namespace
}  // namespace latte::nbd::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = [] {
    spdlog::set_level(spdlog::level::off);
    return true;
  }();
  (void)quiet;
  latte::nbd::test::run_session(latte::nbd::test::Input(std::as_bytes(std::span(data, size))));
  return 0;
}
