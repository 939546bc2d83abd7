// A vhost-user front-end for tests: shares memory with a server, drives split or packed rings, and
// builds virtio-blk requests. Blocking; on any thread but the server's.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/unique_fd.h"
#include "frontend/ring_access.h"
#include "frontend/vhost_user_protocol.h"
#include "frontend/virtqueue.h"

namespace latte::vhost::test {

inline constexpr uint64_t kGuestBase = 0x4000'0000;
inline constexpr size_t kMemoryBytes = 16u << 20;
inline constexpr int kAnswerMs = 10'000;

/// Memory that the server maps too.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes = kMemoryBytes)
      : fd_(::memfd_create("guest", MFD_CLOEXEC)), bytes_(bytes) {
    EXPECT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(bytes)), 0);
    data_ = static_cast<std::byte*>(
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0));
  }
  ~SharedMemory() { ::munmap(data_, bytes_); }
  int fd() const { return fd_.get(); }
  std::byte* data() const { return data_; }
  RegionDescription description(uint64_t guest = kGuestBase) const {
    return {guest, bytes_, reinterpret_cast<uint64_t>(data_), 0};
  }

 private:
  UniqueFd fd_;
  size_t bytes_;
  std::byte* data_;
};

struct Buffer {
  uint64_t address = 0;  ///< guest
  uint32_t length = 0;
  bool writable = false;
  bool indirect = false;  ///< it is a table of descriptors
};
struct Used {
  uint16_t id = 0;  ///< as add() returned it
  uint32_t length = 0;
};

/// The driver's side of a ring, at `offset` of the memory.
class DriverRing {
 public:
  virtual ~DriverRing() = default;
  /// False: no room.
  virtual std::optional<uint16_t> add(const std::vector<Buffer>& buffers) = 0;
  virtual std::optional<Used> take_used() = 0;
  virtual bool kick_wanted() = 0;
  virtual RingAddresses addresses(uint32_t index) const = 0;
  virtual uint32_t first_base() const = 0;

  DriverRing(SharedMemory& memory, size_t offset, uint16_t size)
      : base_(memory.data() + offset), size_(size) {}

 protected:
  uint64_t user(size_t offset) const { return reinterpret_cast<uint64_t>(base_ + offset); }
  std::byte* const base_;
  const uint16_t size_;
};

class SplitDriver final : public DriverRing {
 public:
  SplitDriver(SharedMemory& memory, size_t offset, uint16_t size)
      : DriverRing(memory, offset, size) {
    for (uint16_t i = 0; i < size; ++i) free_.push_back(i);
  }
  std::optional<uint16_t> add(const std::vector<Buffer>& buffers) override {
    if (free_.size() < buffers.size()) return std::nullopt;
    std::vector<uint16_t> taken;
    for (size_t i = 0; i < buffers.size(); ++i) {
      taken.push_back(free_.front());
      free_.pop_front();
    }
    for (size_t i = 0; i < buffers.size(); ++i) {
      Descriptor& descriptor = descriptors()[taken[i]];
      const bool more = i + 1 < buffers.size();
      descriptor = {buffers[i].address, buffers[i].length,
                    static_cast<uint16_t>((buffers[i].writable ? VRING_DESC_F_WRITE : 0) |
                                          (buffers[i].indirect ? VRING_DESC_F_INDIRECT : 0) |
                                          (more ? VRING_DESC_F_NEXT : 0)),
                    more ? taken[i + 1] : uint16_t{0}};
    }
    offer(taken[0]);
    const uint16_t head = taken[0];
    chains_[head] = std::move(taken);
    return head;
  }
  /// Makes a descriptor number available, whatever it is.
  void offer(uint16_t head) {
    available()[2 + next_ % size_] = head;
    ++next_;
    store_release(available() + 1, next_);
  }
  std::optional<Used> take_used() override {
    if (load_acquire(used() + 1) == seen_) return std::nullopt;
    uint32_t element[2];
    std::memcpy(element, used() + 2 + seen_ % size_ * 4, sizeof(element));
    ++seen_;
    const auto head = static_cast<uint16_t>(element[0]);
    EXPECT_TRUE(chains_.contains(head)) << "given back what is not under way: " << head;
    for (const uint16_t one : chains_[head]) free_.push_back(one);
    chains_.erase(head);
    return Used{head, element[1]};
  }
  bool kick_wanted() override {
    full_fence();
    return (load_once(used()) & VRING_USED_F_NO_NOTIFY) == 0;
  }
  RingAddresses addresses(uint32_t index) const override {
    return {index, 0, user(0), user(used_offset()), user(available_offset()), 0};
  }
  uint32_t first_base() const override { return 0; }
  /// What qemu says after the server died: where the used ring is.
  uint32_t base_after_crash() const { return load_once(used() + 1); }

  Descriptor* descriptors() const { return reinterpret_cast<Descriptor*>(base_); }
  uint16_t* available() const { return reinterpret_cast<uint16_t*>(base_ + available_offset()); }
  uint16_t* used() const { return reinterpret_cast<uint16_t*>(base_ + used_offset()); }

 private:
  size_t available_offset() const { return size_ * sizeof(Descriptor); }
  size_t used_offset() const { return (available_offset() + 2 * (3u + size_) + 63) / 64 * 64; }
  std::deque<uint16_t> free_;
  std::map<uint16_t, std::vector<uint16_t>> chains_;
  uint16_t next_ = 0;
  uint16_t seen_ = 0;
};

class PackedDriver final : public DriverRing {
 public:
  PackedDriver(SharedMemory& memory, size_t offset, uint16_t size)
      : DriverRing(memory, offset, size), room_(size) {
    for (uint16_t i = 0; i < size; ++i) ids_.push_back(i);
  }
  std::optional<uint16_t> add(const std::vector<Buffer>& buffers) override {
    if (room_ < buffers.size() || ids_.empty()) return std::nullopt;
    const uint16_t id = ids_.front();
    ids_.pop_front();
    const uint16_t head = next_;
    uint16_t head_flags = 0;
    for (size_t i = 0; i < buffers.size(); ++i) {
      uint16_t flags = static_cast<uint16_t>(wrap_ ? 1u << 7 : 1u << 15);
      if (buffers[i].writable) flags |= VRING_DESC_F_WRITE;
      if (buffers[i].indirect) flags |= VRING_DESC_F_INDIRECT;
      if (i + 1 < buffers.size()) flags |= VRING_DESC_F_NEXT;
      vring_packed_desc& descriptor = descriptors()[next_];
      descriptor.addr = buffers[i].address;
      descriptor.len = buffers[i].length;
      descriptor.id = id;
      if (i == 0)
        head_flags = flags;
      else
        descriptor.flags = flags;
      if (++next_ == size_) {
        next_ = 0;
        wrap_ = !wrap_;
      }
    }
    store_release(&descriptors()[head].flags, head_flags);
    room_ -= static_cast<uint16_t>(buffers.size());
    lengths_[id] = static_cast<uint16_t>(buffers.size());
    return id;
  }
  std::optional<Used> take_used() override {
    const uint16_t flags = load_acquire(&descriptors()[seen_].flags);
    if (((flags >> 7 & 1) != 0) != seen_wrap_ || ((flags >> 15 & 1) != 0) != seen_wrap_)
      return std::nullopt;
    const Used used{descriptors()[seen_].id, descriptors()[seen_].len};
    EXPECT_TRUE(lengths_.contains(used.id)) << "given back what is not under way: " << used.id;
    const uint16_t length = lengths_[used.id];
    lengths_.erase(used.id);
    ids_.push_back(used.id);
    room_ = static_cast<uint16_t>(room_ + length);
    seen_ = static_cast<uint16_t>(seen_ + length);
    if (seen_ >= size_) {
      seen_ = static_cast<uint16_t>(seen_ - size_);
      seen_wrap_ = !seen_wrap_;
    }
    return used;
  }
  bool kick_wanted() override {
    full_fence();
    const auto* event = reinterpret_cast<const uint16_t*>(base_ + device_offset());
    return load_once(event + 1) != VRING_PACKED_EVENT_FLAG_DISABLE;
  }
  RingAddresses addresses(uint32_t index) const override {
    return {index, 0, user(0), user(device_offset()), user(device_offset() + 64), 0};
  }
  uint32_t first_base() const override { return 0x8000'8000; }
  // The kernel's own structure, not the server's.
  vring_packed_desc* descriptors() const { return reinterpret_cast<vring_packed_desc*>(base_); }

 private:
  size_t device_offset() const { return (size_ * sizeof(vring_packed_desc) + 63) / 64 * 64; }
  uint16_t room_;
  std::deque<uint16_t> ids_;
  std::map<uint16_t, uint16_t> lengths_;
  uint16_t next_ = 0;
  bool wrap_ = true;
  uint16_t seen_ = 0;
  bool seen_wrap_ = true;
};

class FrontEnd {
 public:
  explicit FrontEnd(std::string path) : path_(std::move(path)) {}

  /// Tries for a while: the server may be starting.
  bool connect() {
    for (int tries = 0; tries < 500; ++tries) {
      fd_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
      if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0)
        return true;
      ::usleep(10'000);
    }
    return false;
  }
  void disconnect() { fd_ = UniqueFd(); }
  int fd() const { return fd_.get(); }

  bool send(uint32_t request, const void* payload, size_t size, std::vector<int> fds = {},
            uint32_t flags = kFlagVersion) {
    std::vector<std::byte> bytes(sizeof(Header) + size);
    const Header header{request, flags, static_cast<uint32_t>(size)};
    std::memcpy(bytes.data(), &header, sizeof(header));
    if (size > 0) std::memcpy(bytes.data() + sizeof(header), payload, size);
    iovec piece{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {};
    if (!fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* part = CMSG_FIRSTHDR(&message);
      part->cmsg_level = SOL_SOCKET;
      part->cmsg_type = SCM_RIGHTS;
      part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
    }
    return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  bool send(Request request, uint64_t number) {
    return send(static_cast<uint32_t>(request), &number, sizeof(number));
  }
  bool send_ring(Request request, uint32_t index, uint32_t value) {
    const uint32_t state[2] = {index, value};
    return send(static_cast<uint32_t>(request), state, sizeof(state));
  }
  /// The payload of the server's next answer; nothing if it hung up.
  std::optional<std::vector<std::byte>> receive(UniqueFd* fd = nullptr) {
    Header header;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    iovec piece{&header, sizeof(header)};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    pollfd ready{fd_.get(), POLLIN, 0};
    if (::poll(&ready, 1, kAnswerMs) != 1) return std::nullopt;
    if (::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC | MSG_WAITALL) != sizeof(header))
      return std::nullopt;
    if (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr && fd != nullptr) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(part), sizeof(int));
      *fd = UniqueFd(received);
    }
    std::vector<std::byte> payload(header.size);
    if (header.size > 0 && ::recv(fd_.get(), payload.data(), payload.size(), MSG_WAITALL) !=
                               static_cast<ssize_t>(payload.size()))
      return std::nullopt;
    return payload;
  }
  std::optional<uint64_t> ask(Request request) {
    if (!send(static_cast<uint32_t>(request), nullptr, 0)) return std::nullopt;
    const auto answer = receive();
    if (!answer || answer->size() != sizeof(uint64_t)) return std::nullopt;
    uint64_t number = 0;
    std::memcpy(&number, answer->data(), sizeof(number));
    return number;
  }
  /// GET_VRING_BASE.
  std::optional<uint32_t> stop_ring(uint32_t index) {
    if (!send_ring(Request::get_vring_base, index, 0)) return std::nullopt;
    const auto answer = receive();
    if (!answer || answer->size() != 8) return std::nullopt;
    uint32_t state[2];
    std::memcpy(state, answer->data(), sizeof(state));
    return state[1];
  }
  bool hung_up() {
    pollfd ready{fd_.get(), POLLIN, 0};
    char byte;
    return ::poll(&ready, 1, kAnswerMs) == 1 && ::recv(fd_.get(), &byte, 1, 0) <= 0;
  }

  bool set_memory(const SharedMemory& memory) {
    struct {
      uint32_t count = 1;
      uint32_t padding = 0;
      RegionDescription region;
    } table;
    table.region = memory.description();
    return send(static_cast<uint32_t>(Request::set_mem_table), &table, sizeof(table),
                {memory.fd()});
  }
  bool send_fd(Request request, uint64_t index, int fd) {
    return send(static_cast<uint32_t>(request), &index, sizeof(index), {fd});
  }
  bool negotiate(uint64_t features) {
    return ask(Request::get_features).has_value() &&
           ask(Request::get_protocol_features).has_value() &&
           send(Request::set_protocol_features, kProtocolOffered) &&
           send(static_cast<uint32_t>(Request::set_owner), nullptr, 0) &&
           send(Request::set_features, features);
  }
  bool start_ring(uint32_t index, const DriverRing& ring, uint32_t size, uint32_t base, int kick,
                  int call) {
    const RingAddresses addresses = ring.addresses(index);
    return send_ring(Request::set_vring_num, index, size) &&
           send_ring(Request::set_vring_base, index, base) &&
           send(static_cast<uint32_t>(Request::set_vring_addr), &addresses, sizeof(addresses)) &&
           send_fd(Request::set_vring_call, index, call) &&
           send_fd(Request::set_vring_kick, index, kick) &&
           send_ring(Request::set_vring_enable, index, 1);
  }

 private:
  const std::string path_;
  UniqueFd fd_;
};

inline uint64_t guest_address(const SharedMemory& memory, const void* pointer) {
  return kGuestBase + static_cast<uint64_t>(static_cast<const std::byte*>(pointer) - memory.data());
}

/// One request's place in guest memory: header, status, data.
struct RequestSlot {
  RequestSlot(SharedMemory& shared, size_t offset)
      : memory(&shared), header(shared.data() + offset), data(shared.data() + offset + 4096) {}
  SharedMemory* memory;
  std::byte* header;  ///< 16 bytes, and the status behind them
  std::byte* data;

  uint8_t status() const { return std::to_integer<uint8_t>(header[16]); }
  std::vector<Buffer> prepare(uint32_t type, uint64_t sector, uint32_t data_bytes) {
    const uint64_t fields[2] = {type, sector};
    std::memcpy(header, fields, sizeof(fields));
    header[16] = std::byte{0xee};
    std::vector<Buffer> buffers{{guest_address(*memory, header), 16, false}};
    const bool to_guest = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
    if (data_bytes > 0) buffers.push_back({guest_address(*memory, data), data_bytes, to_guest});
    buffers.push_back({guest_address(*memory, header + 16), 1, true});
    return buffers;
  }
};

}  // namespace latte::vhost::test
