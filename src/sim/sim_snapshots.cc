#include "sim/sim_snapshots.h"

#include "sim/sim_cloud.h"

namespace latte::sim {
namespace {

/// Longest that the service takes for a request.
constexpr uint64_t kMostUs = 20'000;
/// What a rollback copies between two chances to fail.
constexpr uint64_t kPiecePages = 64;
constexpr TimeNs kHangLookNs = 50 * kMillisecond;

std::vector<PageRef> copy_of(const PageStore& store) {
  std::vector<PageRef> pages;
  for (uint64_t page = 0; page < store.size_bytes() / kBlockBytes; ++page)
    pages.push_back(store.peek(page));
  return pages;
}

}  // namespace

Task<Result<void>> SimSnapshots::ask() {
  SimCloud& cloud = volume_.cloud();
  Random& random = cloud.world().random();
  co_await reactor_.sleep(static_cast<TimeNs>(random.below(kMostUs)) * kMicrosecond);
  while (cloud.outage() == Outage::hang) co_await reactor_.sleep(kHangLookNs);
  const bool fails = cloud.faults().error != 0 && random.below(1'000'000) < cloud.faults().error;
  if (cloud.outage() != Outage::none || fails)
    co_return Error{Errc::io, volume_.name() + ": the service failed; try again"};
  co_return Result<void>();
}

Task<Result<void>> SimSnapshots::ask_as_owner() {
  const auto asked = co_await ask();
  if (asked && volume_.fenced()) co_return Error{Errc::busy, volume_.name() + ": fenced"};
  co_return asked;
}

Task<Result<void>> SimSnapshots::prepare(std::string name, const SuperBytes& super) {
  const SuperBytes kept = super;
  const auto asked = co_await ask_as_owner();
  if (!asked) co_return asked;
  auto& snapshots = volume_.cloud().snapshots();
  const auto found = snapshots.find(name);
  if (found != snapshots.end() && found->second.complete)
    co_return Error{Errc::exists, volume_.name() + ": there is a snapshot " + name + " already"};
  SimSnapshot& fresh = snapshots[name];
  fresh = SimSnapshot{};
  fresh.super = kept;
  co_return Result<void>();
}

Task<Result<void>> SimSnapshots::take(std::string name) {
  auto asked = co_await ask_as_owner();
  if (!asked) co_return asked;
  volume_.cloud().snapshots()[name].base = copy_of(volume_.cloud().base_store());
  asked = co_await ask_as_owner();
  if (!asked) co_return asked;
  volume_.cloud().snapshots()[name].log = copy_of(volume_.cloud().log_store());
  co_return Result<void>();
}

Task<Result<void>> SimSnapshots::finish(std::string name) {
  const auto asked = co_await ask_as_owner();
  if (asked) volume_.cloud().snapshots()[name].complete = true;
  co_return asked;
}

Task<Result<std::vector<CloudSnapshot>>> SimSnapshots::list() {
  const auto asked = co_await ask();
  if (!asked) co_return asked.error();
  std::vector<CloudSnapshot> complete;
  for (const auto& [name, snapshot] : volume_.cloud().snapshots())
    if (snapshot.complete) complete.push_back(CloudSnapshot{name, 0, snapshot.super});
  co_return complete;
}

Task<Result<void>> SimSnapshots::remove(std::string name) {
  const auto asked = co_await ask_as_owner();
  if (!asked) co_return asked;
  if (volume_.cloud().snapshots().erase(name) == 0)
    co_return no_such_snapshot(volume_.name(), name);
  co_return Result<void>();
}

/// A piece after the other, so that a crash or an error finds it half done.
Task<Result<void>> SimSnapshots::roll_back(std::string name, RollBackProgress progress) {
  auto asked = co_await ask_as_owner();
  if (!asked) co_return asked;
  auto& snapshots = volume_.cloud().snapshots();
  if (!snapshots.contains(name)) co_return no_such_snapshot(volume_.name(), name);
  const SimSnapshot kept = snapshots[name];
  const uint64_t total = (kept.base.size() + kept.log.size()) * kBlockBytes;
  uint64_t done = 0;
  for (const auto& [store, pages] : {std::pair{&volume_.cloud().base_store(), &kept.base},
                                     std::pair{&volume_.cloud().log_store(), &kept.log}}) {
    for (uint64_t page = 0; page < pages->size(); ++page) {
      if (page % kPiecePages == 0) asked = co_await ask_as_owner();
      if (!asked) co_return asked;
      store->restore(page, (*pages)[page]);
      done += kBlockBytes;
      progress(done, total);
    }
  }
  co_return Result<void>();
}

}  // namespace latte::sim
