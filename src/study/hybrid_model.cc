#include "study/hybrid_model.h"

#include <algorithm>

#include "study/dispatch_run.h"

namespace latte::study {

HybridModel::HybridModel(model::DeviceModel& local, model::DeviceModel& cloud, double hit_share,
                         uint64_t seed)
    : local_(local), cloud_(cloud), hit_share_(hit_share), random_(seed), dispatcher_(seed) {}

TimeNs HybridModel::submit(const model::ModelIo& io) {
  while (under_way_.ended(io.time_ns)) {
    const auto [end_ns, ticket] = under_way_.take_first();
    trainer_.end(ticket, end_ns);
  }
  const bool is_read = io.op == model::ModelOp::read;
  const DispatchIo asked{io.time_ns, is_read ? IoKind::read : IoKind::write, io.length_bytes};
  const bool miss = is_read && random_.uniform() >= hit_share_;
  const DispatchTicket ticket =
      miss ? dispatcher_.begin_on(asked, Tier::cloud) : trainer_.begin(asked);
  const TimeNs end_ns = start(ticket, io);
  if (!asks_both(ticket)) return end_ns;
  const TimeNs other_end_ns = start(dispatcher_.begin_on(asked, other_tier(ticket.tier)), io);
  return is_read ? std::min(end_ns, other_end_ns) : other_end_ns;
}

TimeNs HybridModel::start(const DispatchTicket& ticket, const model::ModelIo& io) {
  const TimeNs end_ns = (ticket.tier == Tier::local ? local_ : cloud_).submit(io);
  under_way_.add(end_ns, ticket);
  return end_ns;
}

}  // namespace latte::study
