// A vhost-user-blk front-end without a virtual machine, under verified load on every queue, while
// the real `latte serve` behind it is killed (SIGKILL), or replaced by a newer one (`serve
// --replace`), again and again. Each case makes its own pool and disk; rings of both kinds; one and
// two threads.
//
//   vhost_restart --latte PATH [--kills N] [--replaces N] [--case WORD] [--directory DIR]
//
// What must hold: every request is answered once, with success, and every read returns what was
// last written. The first kills of a case find nothing under way and an empty used ring; the next
// ones the request at ring index 0 alone. Prints, for each case, how long no request was answered.
// Exit: 0 all held, 1 something did not, 2 wrong use.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../unit/vhost_front_end.h"
#include "base/random.h"
#include "base/units.h"

namespace latte::vhost::test {
namespace {

constexpr uint16_t kRingSize = 64;
constexpr uint32_t kQueues = 2;
constexpr size_t kSlots = 12;
constexpr uint64_t kBlocksOfSlot = 64;
constexpr uint64_t kMostBlocks = 8;
constexpr size_t kSlotBytes = 64u << 10;
constexpr size_t kQueueBytes = 2u << 20;
constexpr int kReadyMs = 30'000;
constexpr int kLastAnswersMs = 20'000;

struct Options {
  std::string latte;
  std::string directory;
  std::string only;
  int kills = 10;
  int replaces = 3;
};

struct Case {
  std::string name;
  bool local = false;
  bool thin = false;
  bool packed = false;
  int threads = 1;
};

int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

/// What each block holds.
struct Tag {
  uint64_t block = 0;
  uint64_t version = 0;
};

/// One queue's driver. Works on a thread of its own, whether a server is there or not.
class Driver {
 public:
  Driver(SharedMemory& memory, uint32_t index, bool packed)
      : index_(index), random_(77 + index), versions_(kSlots * kBlocksOfSlot) {
    const size_t offset = index * kQueueBytes;
    if (packed)
      ring = std::make_unique<PackedDriver>(memory, offset, kRingSize);
    else
      ring = std::make_unique<SplitDriver>(memory, offset, kRingSize);
    for (size_t i = 0; i < kSlots; ++i)
      slots_.emplace_back(memory, offset + kSlotBytes + i * kSlotBytes);
  }

  /// How many requests to keep under way.
  std::atomic<size_t> depth{0};
  std::atomic<bool> stop{false};
  std::atomic<int64_t> last_answer_ns{0};
  std::atomic<int64_t> longest_gap_ns{0};  ///< between two answers; may be set back to 0
  std::atomic<uint64_t> answered{0};
  std::atomic<uint64_t> submitted{0};
  std::unique_ptr<DriverRing> ring;
  UniqueFd kick_fd{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  UniqueFd call_fd{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};

  void run() {
    const auto failed = [] {
      return testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed();
    };
    while (!stop.load() && !failed()) {
      for (size_t i = 0; i < depth.load(); ++i)
        if (!under_way_[i].busy) begin(i);
      const uint64_t one = 1;
      (void)!::write(kick_fd.get(), &one, sizeof(one));
      take_all();
    }
    for (const int64_t end = now_ns() + kLastAnswersMs * kMillisecond; busy() && now_ns() < end;)
      take_all();
    EXPECT_FALSE(busy()) << "queue " << index_ << " lost requests";
  }

 private:
  struct Request {
    bool busy = false;
    bool write = false;
    bool flush = false;
    uint64_t first = 0;  ///< of the queue's own blocks
    uint64_t blocks = 0;
    uint16_t id = 0;
  };
  /// Queues take turns on the disk, so that their blocks lie side by side.
  uint64_t disk_block(uint64_t own) const {
    return (own / kMostBlocks * kQueues + index_) * kMostBlocks + own % kMostBlocks;
  }

  void begin(size_t index) {
    Request& request = under_way_[index];
    RequestSlot& slot = slots_[index];
    request.flush = random_.chance(1, 30);
    request.write = random_.chance(1, 2);
    request.blocks = random_.between(1, kMostBlocks);
    const uint64_t groups = kBlocksOfSlot / kMostBlocks;
    request.first = index * kBlocksOfSlot + random_.below(groups) * kMostBlocks +
                    random_.below(kMostBlocks - request.blocks + 1);
    const uint32_t type = request.flush   ? VIRTIO_BLK_T_FLUSH
                          : request.write ? VIRTIO_BLK_T_OUT
                                          : VIRTIO_BLK_T_IN;
    if (request.flush) request.write = false;
    const auto bytes = static_cast<uint32_t>(request.flush ? 0 : request.blocks * kBlockBytes);
    std::memset(slot.data, 0xee, kMostBlocks * kBlockBytes);
    const auto buffers = slot.prepare(type, disk_block(request.first) * 8, bytes);
    if (request.write) {
      ++version_;
      for (uint64_t i = 0; i < request.blocks; ++i) {
        const Tag tag{disk_block(request.first + i), version_};
        fill(slot.data + i * kBlockBytes, tag);
        versions_[request.first + i] = version_;
      }
    }
    const auto id = ring->add(buffers);
    ASSERT_TRUE(id.has_value());
    request.id = *id;
    request.busy = true;
    ++submitted;
  }
  static void fill(std::byte* block, const Tag& tag) {
    for (size_t at = 0; at < kBlockBytes; at += sizeof(tag))
      std::memcpy(block + at, &tag, sizeof(tag));
  }
  void take_all() {
    pollfd ready{call_fd.get(), POLLIN, 0};
    (void)::poll(&ready, 1, 20);
    uint64_t count = 0;
    (void)!::read(call_fd.get(), &count, sizeof(count));
    while (const auto used = ring->take_used()) {
      size_t index = 0;
      while (index < kSlots && !(under_way_[index].busy && under_way_[index].id == used->id))
        ++index;
      ASSERT_LT(index, kSlots) << "answered twice: " << used->id;
      check(index, used->length);
      const int64_t time_ns = now_ns();
      longest_gap_ns = std::max(longest_gap_ns.load(), time_ns - last_answer_ns.exchange(time_ns));
      ++answered;
    }
  }
  void check(size_t index, uint32_t length) {
    Request& request = under_way_[index];
    request.busy = false;
    ASSERT_EQ(slots_[index].status(), VIRTIO_BLK_S_OK) << (request.write ? "write" : "read/flush");
    if (request.write || request.flush) return;
    ASSERT_EQ(length, request.blocks * kBlockBytes + 1);
    std::array<std::byte, kBlockBytes> wanted;
    for (uint64_t i = 0; i < request.blocks; ++i) {
      const uint64_t version = versions_[request.first + i];
      fill(wanted.data(), version == 0 ? Tag{} : Tag{disk_block(request.first + i), version});
      ASSERT_EQ(std::memcmp(slots_[index].data + i * kBlockBytes, wanted.data(), kBlockBytes), 0)
          << "queue " << index_ << ": block " << disk_block(request.first + i) << " is not version "
          << version;
    }
  }
  bool busy() const {
    return std::any_of(under_way_.begin(), under_way_.end(),
                       [](const Request& request) { return request.busy; });
  }

  const uint32_t index_;
  Random random_;
  std::vector<RequestSlot> slots_;
  std::array<Request, kSlots> under_way_;
  std::vector<uint64_t> versions_;
  uint64_t version_ = 0;
};

/// `latte serve` as a child.
class Latte {
 public:
  Latte(const Options& options, std::string config)
      : latte_(options.latte), config_(std::move(config)) {}
  ~Latte() {
    if (child_ > 0) kill(SIGKILL);
  }
  bool start(bool replace) {
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) return false;
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(pipe[1], STDOUT_FILENO);
      ::execl(latte_.c_str(), "latte", "serve", "-c", config_.c_str(),
              replace ? "--replace" : nullptr, nullptr);
      ::_exit(127);
    }
    const UniqueFd out(pipe[0]);
    ::close(pipe[1]);
    former_ = std::exchange(child_, child);
    pollfd ready{out.get(), POLLIN, 0};
    char text[6] = {};
    const bool said = ::poll(&ready, 1, kReadyMs) == 1 && ::read(out.get(), text, 5) == 5 &&
                      std::string_view(text) == "ready";
    EXPECT_TRUE(said) << "latte serve does not come up";
    return said;
  }
  void kill(int signal) {
    ::kill(child_, signal);
    int status = 0;
    ::waitpid(child_, &status, 0);
    EXPECT_TRUE(signal != SIGKILL || WIFSIGNALED(status)) << "the server had ended by itself";
    EXPECT_TRUE(signal == SIGKILL || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    child_ = -1;
  }
  /// The one that was replaced has ended in order.
  void join_former() {
    int status = 0;
    EXPECT_EQ(::waitpid(former_, &status, 0), former_);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
  pid_t child() const { return child_; }

 private:
  const std::string latte_;
  const std::string config_;
  pid_t child_ = -1;
  pid_t former_ = -1;
};

class Run {
 public:
  Run(const Options& options, Case what)
      : options_(options),
        case_(std::move(what)),
        directory_(options.directory + "/" + case_.name),
        front_(directory_ + "/disk.vhost"),
        latte_(options, directory_ + "/run.toml") {
    std::filesystem::create_directories(directory_);
    std::ofstream(directory_ + "/run.toml") << config();
    for (uint32_t i = 0; i < kQueues; ++i)
      drivers_.push_back(std::make_unique<Driver>(memory_, i, case_.packed));
    for (uint32_t i = 0; i < kQueues; ++i) bases_[i] = drivers_[i]->ring->first_base();
  }
  ~Run() { std::filesystem::remove_all(directory_); }

  void go() {
    const std::string create =
        fmt::format("{} create -c {}/run.toml >/dev/null 2>&1", options_.latte, directory_);
    ASSERT_EQ(std::system(create.c_str()), 0);
    for (auto& driver : drivers_) threads_.emplace_back([&driver] { driver->run(); });
    kill_again_and_again();
    const size_t killed = pauses_ns_.size();
    if (!failed()) replace_again_and_again();
    for (auto& driver : drivers_) driver->stop = true;
    for (std::thread& thread : threads_) thread.join();
    if (!failed()) latte_.kill(SIGTERM);
    report(killed);
  }

 private:
  static bool failed() { return testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed(); }

  std::string config() const {
    std::string text = fmt::format(
        "[pool]\npath = \"pool.img\"\nsize = \"{}\"\n{}\n[control]\nsocket = \"control.sock\"\n"
        "log_level = \"warning\"\n[reactor]\nthreads = {}\n\n[[disk]]\nname = \"disk\"\n"
        "size = \"24MiB\"\nvhost = \"unix:disk.vhost\"\nvhost_queues = {}\n",
        case_.local ? "12MiB" : "96MiB", case_.local ? "volumes = \"40MiB\"\n" : "", case_.threads,
        kQueues);
    if (case_.local)
      text += fmt::format("kind = \"local\"\nthin = {}\n", case_.thin);
    else
      text += "cloud = \"file:cloud\"\n";
    return text;
  }

  /// As QEMU does: where a ring stands is what the used index says when the hang-up is seen.
  void see_hang_up() {
    EXPECT_TRUE(front_.hung_up());
    for (uint32_t i = 0; i < kQueues; ++i)
      if (!case_.packed)
        bases_[i] = static_cast<SplitDriver&>(*drivers_[i]->ring).base_after_crash();
  }
  void connect() {
    const uint64_t features = kFeatureProtocol | 1ull << VIRTIO_F_VERSION_1 |
                              1ull << VIRTIO_BLK_F_FLUSH |
                              (case_.packed ? 1ull << VIRTIO_F_RING_PACKED : 0);
    bool agreed = false;
    for (int tries = 0; !agreed && tries < 2000; ++tries) {
      agreed = front_.connect() && front_.negotiate(features);
      if (!agreed) ::usleep(1000);
    }
    ASSERT_TRUE(agreed);
    if (!inflight_fd_.valid()) {
      const InflightDescription wanted{0, 0, kQueues, kRingSize};
      ASSERT_TRUE(
          front_.send(static_cast<uint32_t>(Request::get_inflight_fd), &wanted, sizeof(wanted)));
      const auto answer = front_.receive(&inflight_fd_);
      ASSERT_TRUE(answer && answer->size() == sizeof(inflight_) && inflight_fd_.valid());
      std::memcpy(&inflight_, answer->data(), sizeof(inflight_));
    }
    ASSERT_TRUE(front_.set_memory(memory_));
    ASSERT_TRUE(front_.send(static_cast<uint32_t>(Request::set_inflight_fd), &inflight_,
                            sizeof(inflight_), {inflight_fd_.get()}));
    for (uint32_t i = 0; i < kQueues; ++i) {
      Driver& driver = *drivers_[i];
      ASSERT_TRUE(front_.start_ring(i, *driver.ring, kRingSize, bases_[i], driver.kick_fd.get(),
                                    driver.call_fd.get()));
    }
  }
  int64_t last_answer_ns() const {
    int64_t last = 0;
    for (const auto& driver : drivers_) last = std::max(last, driver->last_answer_ns.load());
    return last;
  }
  void wait_for_answer(int64_t since_ns, const Driver& driver) {
    const int64_t end = now_ns() + kLastAnswersMs * kMillisecond;
    while (driver.last_answer_ns <= since_ns && now_ns() < end && !failed()) ::usleep(200);
    ASSERT_GT(driver.last_answer_ns.load(), since_ns) << "a queue is answered no more";
  }
  /// Until something was answered after `since_ns`.
  void wait_for_answer(int64_t since_ns) {
    const int64_t end = now_ns() + kLastAnswersMs * kMillisecond;
    while (last_answer_ns() <= since_ns && now_ns() < end && !failed()) ::usleep(200);
    ASSERT_GT(last_answer_ns(), since_ns) << "no request is answered any more";
  }
  void set_depth(size_t depth) {
    for (auto& driver : drivers_) driver->depth = depth;
  }
  void kill_again_and_again() {
    constexpr int kIdleKills = 2;
    constexpr int kFirstKills = 2;
    for (int kills = 0; kills <= options_.kills && !failed(); ++kills) {
      const int64_t last_ns = last_answer_ns();
      if (!latte_.start(false)) return;
      ASSERT_NO_FATAL_FAILURE(connect());
      // Nothing at first; then one request a queue, at ring index 0 when it is the first; then all.
      set_depth(kills < kIdleKills ? 0 : kills < kIdleKills + kFirstKills ? 1 : kSlots);
      if (last_ns != 0) {
        ASSERT_NO_FATAL_FAILURE(wait_for_answer(last_ns));
        pauses_ns_.push_back(last_answer_ns() - last_ns);
      }
      if (kills == options_.kills) return;
      if (kills == kIdleKills)
        while (drivers_[0]->submitted == 0) ::sched_yield();  // and kill at once
      else
        ::usleep(static_cast<useconds_t>(random_.below(60'000)));
      for (auto& driver : drivers_)
        found_under_way_ += driver->submitted > driver->answered ? 1 : 0;
      latte_.kill(SIGKILL);
      see_hang_up();
    }
  }
  void replace_again_and_again() {
    for (int i = 0; i < options_.replaces && !failed(); ++i) {
      ::usleep(50'000 + static_cast<useconds_t>(random_.below(50'000)));
      for (auto& driver : drivers_) driver->longest_gap_ns = 0;
      std::thread newer([this] { latte_.start(true); });
      see_hang_up();
      connect();
      newer.join();
      latte_.join_former();
      if (failed()) return;
      // The old one is gone: whatever is answered from now on is the new one's.
      for (auto& driver : drivers_) ASSERT_NO_FATAL_FAILURE(wait_for_answer(now_ns(), *driver));
      int64_t pause_ns = 0;
      for (auto& driver : drivers_) pause_ns = std::max(pause_ns, driver->longest_gap_ns.load());
      pauses_ns_.push_back(pause_ns);
    }
  }
  void report(size_t killed) {
    const auto median_ms = [](auto begin, auto end) {
      if (begin == end) return 0.0;
      std::sort(begin, end);
      return static_cast<double>(*(begin + (end - begin) / 2)) / kMillisecond;
    };
    const auto middle = pauses_ns_.begin() + static_cast<ptrdiff_t>(killed);
    const double kill_ms = median_ms(pauses_ns_.begin(), middle);
    const double replace_ms = median_ms(middle, pauses_ns_.end());
    uint64_t answered = 0;
    for (const auto& driver : drivers_) {
      answered += driver->answered;
      EXPECT_EQ(driver->submitted.load(), driver->answered.load());
    }
    fmt::print(
        "{}: {} kills ({} queues found with requests under way, pause {:.0f} ms), {} "
        "replaced (pause {:.0f} ms, most {:.0f} ms), {} requests, {}\n",
        case_.name, options_.kills, found_under_way_, kill_ms, options_.replaces, replace_ms,
        middle == pauses_ns_.end() ? 0.0 : static_cast<double>(pauses_ns_.back()) / kMillisecond,
        answered, failed() ? "FAILED" : "all right");
    std::fflush(stdout);
  }

  const Options& options_;
  const Case case_;
  const std::string directory_;
  Random random_{20261125};
  SharedMemory memory_;
  FrontEnd front_;
  Latte latte_;
  UniqueFd inflight_fd_;
  InflightDescription inflight_;
  std::vector<std::unique_ptr<Driver>> drivers_;
  std::array<uint32_t, kQueues> bases_{};
  std::vector<std::thread> threads_;
  std::vector<int64_t> pauses_ns_;
  uint64_t found_under_way_ = 0;
};

int main_program(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  Options options;
  options.directory = "/tmp/latte-restart-" + std::to_string(::getpid());
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--latte") options.latte = std::filesystem::absolute(argv[i + 1]);
    if (name == "--kills") options.kills = std::atoi(argv[i + 1]);
    if (name == "--replaces") options.replaces = std::atoi(argv[i + 1]);
    if (name == "--case") options.only = argv[i + 1];
    if (name == "--directory") options.directory = argv[i + 1];
  }
  if (options.latte.empty() || argc % 2 == 0) {
    fmt::print(stderr, "vhost_restart: --latte PATH is missing\n");
    return 2;
  }
  const Case cases[] = {
      {"latte-split", false, false, false, 1},
      {"latte-packed-2-threads", false, false, true, 2},
      {"thick-packed", true, false, true, 1},
      {"thick-split-2-threads", true, false, false, 2},
      {"thin-packed-2-threads", true, true, true, 2},
  };
  for (const Case& one : cases)
    if (one.name.find(options.only) != std::string::npos) Run(options, one).go();
  std::filesystem::remove_all(options.directory);
  return testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed() ? 1 : 0;
}

}  // namespace
}  // namespace latte::vhost::test

int main(int argc, char** argv) { return latte::vhost::test::main_program(argc, argv); }
