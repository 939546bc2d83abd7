#include "sim/sim_world.h"

#include <algorithm>
#include <cstdio>

namespace latte::sim {

namespace {
/// Where the simulated calendar starts: any fixed date will do.
constexpr TimeNs kWallStart = 1'700'000'000 * kSecond;
}  // namespace

SimReactor::SimReactor(World& world, std::string name, TimeNs clock_offset_ns)
    : Reactor(world.random().next()),
      world_(world),
      name_(std::move(name)),
      clock_offset_ns_(clock_offset_ns) {
  LATTE_CHECK(clock_offset_ns >= 0);
  world_.reactors_.push_back(this);
}

SimReactor::~SimReactor() {
  destroy_tasks();
  std::erase(world_.reactors_, this);
}

TimeNs SimReactor::now() const { return world_.now() + clock_offset_ns_; }

TimeNs SimReactor::wall_now() const { return world_.now() + kWallStart; }

World::World(uint64_t seed) : random_(seed) { mix(seed); }

void World::post(TimeNs at, EventTarget& target, uint64_t token) {
  LATTE_CHECK(at >= now_);
  events_.push_back(Event{at, next_order_++, &target, token});
  std::push_heap(events_.begin(), events_.end(), later);
}

void World::forget(EventTarget& target) {
  const size_t before = events_.size();
  std::erase_if(events_, [&](const Event& event) { return event.target == &target; });
  if (events_.size() != before) std::make_heap(events_.begin(), events_.end(), later);
}

bool World::run_reactors() {
  bool ran = false;
  for (SimReactor* reactor : reactors_) {
    if (reactor->paused_) continue;
    reactor->fire_timers(reactor->now());
    if (!reactor->has_ready()) continue;
    reactor->run_turn(kHandlesPerTurn);
    mix(static_cast<uint64_t>(now_));
    ran = true;
  }
  return ran;
}

TimeNs World::next_time() const {
  TimeNs next = events_.empty() ? kNever : events_.front().time;
  for (const SimReactor* reactor : reactors_) {
    if (reactor->paused_) continue;
    const TimeNs deadline = reactor->next_deadline(kNever);
    if (deadline != kNever) next = std::min(next, deadline - reactor->clock_offset_ns_);
  }
  return std::max(next, now_);
}

World::Step World::step(TimeNs deadline_ns) {
  ++steps_;
  if (run_reactors()) {
    return ++turns_at_now_ > kMaxTurnsAtOneInstant ? Step::livelock : Step::ran;
  }
  const TimeNs next = next_time();
  if (next > deadline_ns) {
    now_ = std::max(now_, deadline_ns);
    return Step::at_limit;
  }
  if (next > now_) turns_at_now_ = 0;
  now_ = next;
  if (!events_.empty() && events_.front().time <= now_) {
    std::pop_heap(events_.begin(), events_.end(), later);
    const Event event = events_.back();
    events_.pop_back();
    mix(event.order);
    mix(static_cast<uint64_t>(event.time));
    event.target->on_event(event.token);
  }
  return Step::ran;
}

World::Stop World::run_until(const std::function<bool()>& done, TimeNs deadline_ns) {
  for (;;) {
    if (done()) return Stop::condition;
    if (steps_ >= step_limit_) return Stop::step_limit;
    switch (step(deadline_ns)) {
      case Step::ran:
        break;
      case Step::at_limit:
        return Stop::time_limit;
      case Step::livelock:
        return Stop::livelock;
    }
  }
}

World::Stop World::run_for(TimeNs duration_ns) {
  return run_until([] { return false; }, now_ + duration_ns);
}

World::Stop World::run_steps(uint64_t steps, const std::function<bool()>& done) {
  const uint64_t last = steps_ + steps;
  bool finished = false;
  const Stop stop = run_until(
      [&] {
        finished = done();
        return finished || steps_ >= last;
      },
      now_ + 3600 * kSecond);
  return stop == Stop::condition && !finished ? Stop::step_limit : stop;
}

void World::print_trace(const std::string& line) const {
  std::printf("%14.6f ms  %s\n", static_cast<double>(now_) / 1e6, line.c_str());
}

}  // namespace latte::sim
