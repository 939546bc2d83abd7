// HybridModel: a disk of two tiers in virtual time, with the dispatcher between them. Reads of
// blocks that the local tier does not hold go to the cloud; everything else is clean or a write,
// and goes where the dispatcher says, which learns from it all the time. (What a write to one tier
// costs the other later is not in it.)
//
// Thread rule: one thread. `local` and `cloud` outlive it.
#pragma once

#include "base/random.h"
#include "model/device_model.h"
#include "policy/dispatch_trainer.h"
#include "policy/dispatcher.h"
#include "study/under_way.h"

namespace latte::study {

class HybridModel final : public model::TimedDevice {
 public:
  /// `hit_share`: of the reads, drawn from `seed`.
  HybridModel(model::DeviceModel& local, model::DeviceModel& cloud, double hit_share,
              uint64_t seed);
  TimeNs submit(const model::ModelIo& io) override;

 private:
  TimeNs start(const DispatchTicket& ticket, const model::ModelIo& io);

  model::DeviceModel& local_;
  model::DeviceModel& cloud_;
  double hit_share_;
  Random random_;
  Dispatcher dispatcher_;
  DispatchTrainer trainer_{dispatcher_, DispatchTrainer::Runs::in_end};
  UnderWay<DispatchTicket> under_way_;
};

}  // namespace latte::study
