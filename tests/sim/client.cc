#include "client.h"

#include <algorithm>
#include <cmath>

#include "base/buffer.h"

namespace latte::simtest {

namespace {
constexpr uint64_t kMaxSectors = (512u << 10) / kSectorBytes;
/// A zombie's client pauses at least this long, or a paused world would spin.
constexpr TimeNs kZombiePauseNs = 2 * kMillisecond;

struct Range {
  uint64_t first;
  uint64_t count;
};

uint64_t random_length(const Workload& workload, Random& random) {
  const uint64_t dice = random.below(100);
  switch (workload.size_class) {
    case 1:
      return kBlockSectors * random.between(1, dice < 80 ? 4 : 16);
    case 2:
      return random.between(1, dice < 80 ? 12 : 40);
    case 3:
      return dice < 60 ? kBlockSectors * random.between(1, 8)
                       : random.between(1, dice < 90 ? 256 : kMaxSectors);
    default:
      break;
  }
  if (dice < 30) return random.between(1, kBlockSectors);
  if (dice < 75) return kBlockSectors * random.between(1, 4);
  if (dice < 97) return random.between(1, 128);
  return random.between(1, kMaxSectors);
}

Range random_range(const Run& run, const DiskSim& disk, Random& random) {
  Range range{0, std::min(random_length(run.workload, random), disk.model.sectors())};
  uint64_t places = disk.model.sectors() - range.count + 1;
  if (random.below(100) < run.workload.hot) places = std::max<uint64_t>(1, places / 10);
  range.first = random.below(places);
  // Whole blocks are the common case.
  if (range.count % kBlockSectors == 0 && random.chance(4, 5))
    range.first = round_down(range.first, kBlockSectors);
  return range;
}

/// One client's I/O memory, cut into up to three pieces so that requests are scattered now and
/// then.
struct Memory {
  Buffer buffer{kMaxSectors * kSectorBytes + kBlockBytes};
  iovec pieces[3];
  uint32_t count = 0;
  std::span<std::byte> data;

  void lay_out(uint64_t bytes, Random& random) {
    const uint64_t shift = random.chance(1, 8) ? kSectorBytes : 0;
    data = buffer.span().subspan(shift, bytes);
    count = 0;
    uint64_t at = 0;
    while (at < bytes) {
      uint64_t part = bytes - at;
      if (count < 2 && part > kSectorBytes && random.chance(1, 10))
        part = random.between(1, part / kSectorBytes - 1) * kSectorBytes;
      pieces[count++] = iovec{data.data() + at, part};
      at += part;
    }
  }
  void describe(IoRequest& request, Range range) {
    request.offset = range.first * kSectorBytes;
    request.length = range.count * kSectorBytes;
    request.iov = pieces;
    request.iov_count = count;
  }
};

/// Is this error fair? If not, the promise is broken.
void judge_error(Run& run, Session& session, const char* what, Range range, IoStatus status) {
  if (status == IoStatus::ok) return;
  DiskSim& disk = session.disk;
  if (status == IoStatus::fenced) {
    session.saw_fenced = true;
    if (!session.volume.fenced() && !session.handed_over)
      run.fail("3 (fencing)", "{}: a {} was refused as fenced on the owner", disk.options.name,
               what);
    return;
  }
  if (session.stopping && status == IoStatus::stopped) return;
  if (disk.damaged || session.volume.fenced() || session.handed_over) return;
  run.fail("4 (no error without a cause)",
           "{}: {} of sectors {}+{} failed with '{}', nothing is broken", disk.options.name, what,
           range.first, range.count, to_string(status));
}

Task<IoStatus> do_write(Run& run, Session& session, Memory& memory, Range range, bool zero) {
  Random& random = run.world.random();
  DiskSim& disk = session.disk;
  Model& model = disk.model;
  IoRequest request;
  request.op = !zero ? IoOp::write : random.chance(1, 2) ? IoOp::discard : IoOp::write_zeroes;
  request.fua = random.below(100) < run.workload.fua;
  const WriteId id = model.submit_write(range.first, range.count, zero, session.id,
                                        session.volume.fenced(), run.world.now());
  memory.lay_out(range.count * kSectorBytes, random);
  memory.describe(request, range);
  if (zero) {
    request.iov = nullptr;
    request.iov_count = 0;
  } else {
    fill_pattern(memory.data, disk.index, id, range.first);
  }
  run.world.trace("{}@{}: write {} begins ({} {}+{}{})", disk.options.name, session.machine.name(),
                  id, zero ? "zero" : "data", range.first, range.count, request.fua ? " fua" : "");
  const IoStatus status = co_await session.device->io(request);
  model.complete_write(id, status, request.fua, run.world.now());
  run.world.trace("{}@{}: write {} {}", disk.options.name, session.machine.name(), id,
                  to_string(status));
  const Write& write = model.write(id);
  if (status == IoStatus::ok && request.fua && disk.options.durability == Durability::cloud &&
      (write.foreign || write.rolled_back))
    run.fail("3 (durability cloud)", "{}: a fenced host acknowledged {} as durable",
             disk.options.name, model.describe(id));
  judge_error(run, session, "write", range, status);
  co_return status;
}

Task<IoStatus> do_flush(Run& run, Session& session) {
  DiskSim& disk = session.disk;
  const uint64_t begun = disk.model.begin();
  const IoStatus status = co_await session.device->flush();
  run.world.trace("{}@{}: flush {}", disk.options.name, session.machine.name(), to_string(status));
  if (status == IoStatus::ok) {
    const std::string lie =
        disk.model.complete_flush(begun, session.id, disk.options.durability == Durability::cloud);
    if (!lie.empty()) run.fail("3 (durability cloud)", "{}: {}", disk.options.name, lie);
  }
  judge_error(run, session, "flush", Range{0, 0}, status);
  co_return status;
}

Task<IoStatus> do_read(Run& run, Session& session, Memory& memory, Range range) {
  Random& random = run.world.random();
  DiskSim& disk = session.disk;
  memory.lay_out(range.count * kSectorBytes, random);
  IoRequest request;
  memory.describe(request, range);
  const uint64_t begun = disk.model.begin();
  const IoStatus status = co_await session.device->io(request);
  run.world.trace("{}@{}: read {}+{} {}", disk.options.name, session.machine.name(), range.first,
                  range.count, to_string(status));
  if (status == IoStatus::ok) {
    const bool old_host = session.volume.fenced() || session.zombie;
    const std::string wrong = old_host ? disk.model.check_own(range.first, memory.data)
                                       : disk.model.check_read(range.first, memory.data, begun);
    if (!wrong.empty())
      run.fail("5, 6 (right data or an error)", "{}: {}", disk.options.name, wrong);
  }
  judge_error(run, session, "read", range, status);
  co_return status;
}

Task<void> client(Run& run, Session& session) {
  Memory memory;
  Random& random = run.world.random();
  DiskSim& disk = session.disk;
  while (!session.stopping && !session.saw_fenced && !run.failed()) {
    if (disk.budget == 0 && !session.zombie) {
      co_await session.work.wait();
      continue;
    }
    if (!session.zombie) --disk.budget;
    ++session.outstanding;
    const uint64_t dice = random.below(100);
    IoStatus status = IoStatus::ok;
    if (dice < run.workload.flushes) {
      status = co_await do_flush(run, session);
    } else if (dice < run.workload.flushes + run.workload.zeroes) {
      const Range range = random_range(run, disk, random);
      status = co_await do_write(run, session, memory, range, true);
    } else if (dice < run.workload.flushes + run.workload.zeroes + run.workload.writes) {
      const Range range = random_range(run, disk, random);
      status = co_await do_write(run, session, memory, range, false);
      const bool again = run.workload.rereads && status == IoStatus::ok && random.chance(1, 4);
      if (again) status = co_await do_read(run, session, memory, range);
    } else {
      const Range range = random_range(run, disk, random);
      status = co_await do_read(run, session, memory, range);
    }
    --session.outstanding;
    ++run.operations;
    if (status == IoStatus::stopped) break;
    TimeNs pause_ns = 0;
    if (run.workload.think_ns > 0)
      pause_ns = static_cast<TimeNs>(-std::log(1.0 - random.uniform()) *
                                     static_cast<double>(run.workload.think_ns));
    if (session.zombie || status != IoStatus::ok) pause_ns += kZombiePauseNs;
    if (pause_ns > 0) co_await session.machine.reactor().sleep(pause_ns);
  }
  --session.clients;
}

}  // namespace

void start_clients(Run& run, Session& session, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    ++session.clients;
    session.machine.spawn(client(run, session));
  }
}

Task<void> read_back(Run& run, Session* session, std::vector<WriteId>* seen, bool* done) {
  DiskSim& disk = session->disk;
  const uint64_t sectors = disk.model.sectors();
  seen->assign(sectors, kUnreadable);
  Buffer buffer(std::min<uint64_t>(sectors * kSectorBytes, 256u << 10));
  for (uint64_t first = 0; first < sectors;) {
    uint64_t count = std::min<uint64_t>(sectors - first, buffer.size() / kSectorBytes);
    IoStatus status = co_await session->device->read(first * kSectorBytes,
                                                     buffer.span().first(count * kSectorBytes));
    if (status != IoStatus::ok) {
      // Block by block, to know which.
      count = kBlockSectors;
      status =
          co_await session->device->read(first * kSectorBytes, buffer.span().first(kBlockBytes));
    }
    if (status == IoStatus::ok) {
      const std::string wrong =
          disk.model.identify_all(first, buffer.span().first(count * kSectorBytes), *seen);
      if (!wrong.empty()) run.fail("2 (never garbage)", "{}: {}", disk.options.name, wrong);
    } else if (!disk.damaged && !session->volume.fenced()) {
      run.fail("1 (nothing lost)", "{}: block at sector {} can't be read ('{}'), nothing is broken",
               disk.options.name, first, to_string(status));
    }
    first += count;
  }
  *done = true;
}

}  // namespace latte::simtest
