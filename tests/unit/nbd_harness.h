// What NBD tests and fuzzers share: a reactor with a clock by hand, a transport in memory with the
// client at its other end, a device in memory that can be held up, and the client's messages.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/nbd_connection.h"
#include "frontend/nbd_protocol.h"
#include "frontend/transport.h"
#include "runtime/block_device.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

namespace latte::nbd::test {

using Bytes = std::vector<std::byte>;

class ManualReactor final : public Reactor {
 public:
  ManualReactor() : Reactor(1) {}
  ~ManualReactor() override { destroy_tasks(); }
  TimeNs now() const override { return now_ns_; }
  TimeNs wall_now() const override { return now_ns_; }
  uint64_t boot_id() const override { return 0; }
  /// Runs until nothing is ready.
  void run() {
    while (has_ready()) run_turn(64);
  }
  void advance(TimeNs duration_ns) {
    now_ns_ += duration_ns;
    fire_timers(now_ns_);
    run();
  }

 private:
  TimeNs now_ns_ = kSecond;
};

/// The server's end of a stream in memory; the client's end is the public functions below.
class MemoryTransport final : public Transport {
 public:
  explicit MemoryTransport(Reactor& reactor) : reactor_(reactor), changed_(reactor) {}

  void client_sends(std::span<const std::byte> bytes) {
    input_.insert(input_.end(), bytes.begin(), bytes.end());
    changed_.notify_all();
  }
  void client_ends() {
    input_ended_ = true;
    changed_.notify_all();
  }
  /// A client that takes no replies (true) or does again.
  void set_stuck(bool stuck) {
    stuck_ = stuck;
    changed_.notify_all();
  }
  /// Most bytes one receive() returns.
  void set_receive_limit(size_t bytes) { receive_limit_ = bytes; }
  Bytes take_output() { return std::exchange(output_, {}); }
  size_t unread_input() const { return input_.size() - input_taken_; }
  bool aborted() const { return aborted_; }
  uint64_t sends() const { return sends_; }

  // Both give up the stack once, as a real transport does. (g++ makes no tail calls in sanitized
  // builds: a loop of awaits that never suspend would grow the stack there.)
  Task<int> receive(const iovec* pieces, uint32_t count) override {
    co_await reactor_.yield();
    while (unread_input() == 0 && !input_ended_ && !aborted_) co_await changed_.wait();
    if (aborted_) co_return 0;
    size_t total = 0;
    for (uint32_t i = 0; i < count && total < receive_limit_; ++i) {
      const size_t bytes = std::min({pieces[i].iov_len, unread_input(), receive_limit_ - total});
      if (bytes > 0) std::memcpy(pieces[i].iov_base, input_.data() + input_taken_, bytes);
      input_taken_ += bytes;
      total += bytes;
    }
    if (input_taken_ == input_.size()) {
      input_.clear();
      input_taken_ = 0;
    }
    co_return static_cast<int>(total);
  }
  Task<int> send(iovec* pieces, uint32_t count) override {
    co_await reactor_.yield();
    while (stuck_ && !aborted_) co_await changed_.wait();
    if (aborted_) co_return -EPIPE;
    ++sends_;
    for (uint32_t i = 0; i < count; ++i) {
      const auto* bytes = static_cast<const std::byte*>(pieces[i].iov_base);
      output_.insert(output_.end(), bytes, bytes + pieces[i].iov_len);
    }
    co_return 0;
  }
  void stop_receiving() override { client_ends(); }
  void abort() override {
    aborted_ = true;
    changed_.notify_all();
  }

 private:
  Reactor& reactor_;
  WaitQueue changed_;
  Bytes input_;
  size_t input_taken_ = 0;
  Bytes output_;
  size_t receive_limit_ = SIZE_MAX;
  bool input_ended_ = false;
  bool stuck_ = false;
  bool aborted_ = false;
  uint64_t sends_ = 0;
};

/// A device in memory. Held, it keeps requests until they are released.
class TestDevice final : public BlockDevice {
 public:
  TestDevice(Reactor& reactor, uint64_t size_bytes) : reactor_(reactor), data_(size_bytes) {
    info_.name = "test";
    info_.size_bytes = size_bytes;
    info_.alignment_bytes = 512;
    info_.can_discard = true;
  }

  const DeviceInfo& info() const override { return info_; }
  DeviceInfo& mutable_info() { return info_; }
  Bytes& data() { return data_; }
  void set_held(bool held) {
    held_ = held;
    while (!held_ && !waiting_.empty()) {
      IoRequest& request = waiting_.pop_front();
      execute(request);
      reactor_.schedule(request.waiter);
    }
  }
  void set_status(IoStatus status) { status_ = status; }
  /// Requests that came, by IoOp.
  uint32_t count(IoOp op) const { return counts_[static_cast<size_t>(op)]; }
  uint32_t fua_count() const { return fua_count_; }

  bool submit(IoRequest& request) override {
    ++counts_[static_cast<size_t>(request.op)];
    if (request.fua) ++fua_count_;
    if (held_) {
      waiting_.push_back(request);
      return true;
    }
    execute(request);
    return false;
  }
  size_t extents(uint64_t offset, uint64_t length, std::span<Extent> out) override {
    // Alternating pages: data, hole, data, ...
    size_t count = 0;
    while (length > 0 && count < out.size()) {
      const uint64_t part = std::min<uint64_t>(length, kBlockBytes - offset % kBlockBytes);
      const bool hole = offset / kBlockBytes % 2 == 1;
      out[count++] = Extent{part, hole, hole};
      offset += part;
      length -= part;
    }
    return count;
  }

 private:
  void execute(IoRequest& request) {
    request.status = status_;
    if (status_ != IoStatus::ok) return;
    // What the front end lets through is inside and aligned; that is its promise.
    LATTE_CHECK(range_within(request.offset, request.length, info_.size_bytes));
    LATTE_CHECK(request.offset % info_.alignment_bytes == 0);
    LATTE_CHECK(request.length % info_.alignment_bytes == 0);
    std::byte* at = data_.data() + request.offset;
    switch (request.op) {
      case IoOp::read:
        std::memcpy(request.iov->iov_base, at, request.length);
        break;
      case IoOp::write:
        LATTE_CHECK(request.iov_count == 1 && request.iov->iov_len == request.length);
        LATTE_CHECK(reinterpret_cast<uintptr_t>(request.iov->iov_base) % kBlockBytes == 0);
        std::memcpy(at, request.iov->iov_base, request.length);
        break;
      case IoOp::flush:
        break;
      case IoOp::discard:
      case IoOp::write_zeroes:
        std::memset(at, 0, request.length);
        break;
    }
  }

  Reactor& reactor_;
  DeviceInfo info_;
  Bytes data_;
  bool held_ = false;
  IoStatus status_ = IoStatus::ok;
  IntrusiveList<IoRequest> waiting_;
  std::array<uint32_t, 5> counts_{};
  uint32_t fua_count_ = 0;
};

template <typename Wire>
void append(Bytes& out, const Wire& wire) {
  static_assert(alignof(Wire) == 1);
  const auto* bytes = reinterpret_cast<const std::byte*>(&wire);
  out.insert(out.end(), bytes, bytes + sizeof(Wire));
}
inline void append_text(Bytes& out, std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  out.insert(out.end(), bytes, bytes + text.size());
}
inline void append_string(Bytes& out, std::string_view text) {
  append(out, Be32(static_cast<uint32_t>(text.size())));
  append_text(out, text);
}
inline void append_option(Bytes& out, uint32_t code, std::span<const std::byte> data = {}) {
  append(out, OptionHeader{IHAVEOPT, code, static_cast<uint32_t>(data.size())});
  out.insert(out.end(), data.begin(), data.end());
}
inline Bytes info_data(std::string_view name, std::vector<uint16_t> wanted = {}) {
  Bytes data;
  append_string(data, name);
  append(data, Be16(static_cast<uint16_t>(wanted.size())));
  for (uint16_t type : wanted) append(data, Be16(type));
  return data;
}
inline Bytes meta_data(std::string_view name, std::vector<std::string_view> queries) {
  Bytes data;
  append_string(data, name);
  append(data, Be32(static_cast<uint32_t>(queries.size())));
  for (std::string_view query : queries) append_string(data, query);
  return data;
}
inline void append_client_flags(Bytes& out) {
  append(out, Be32(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES));
}
inline void append_request(Bytes& out, uint16_t type, uint64_t cookie, uint64_t offset,
                           uint32_t length, uint16_t flags = 0) {
  append(out, RequestHeader{NBD_REQUEST_MAGIC, flags, type, cookie, offset, length});
}
/// The shortest way into the transmission phase, with or without all that can be agreed on.
inline Bytes handshake(bool structured, std::string_view name = "disk") {
  Bytes out;
  append_client_flags(out);
  if (structured) {
    append_option(out, NBD_OPT_STRUCTURED_REPLY);
    append_option(out, NBD_OPT_SET_META_CONTEXT, meta_data(name, {"base:allocation"}));
  }
  append_option(out, NBD_OPT_GO, info_data(name));
  return out;
}

}  // namespace latte::nbd::test
