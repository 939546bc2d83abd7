// Fuzzes the control socket's requests: any line is a request that can be served, or an error.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "control/control_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const auto request = latte::parse_control_request(line);
  if (!request) {
    LATTE_CHECK(!request.error().message.empty());
    return 0;
  }
  using Command = latte::ControlRequest::Command;
  const Command command = request.value().command;
  const bool of_disk = command == Command::drain || command == Command::takeover ||
                       command == Command::handover || command == Command::resize;
  LATTE_CHECK(of_disk == !request.value().disk.empty());
  return 0;
}
