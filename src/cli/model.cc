// latte model: what the device models and the dispatcher are worth, on models alone.
#include <fmt/format.h>

#include <cstdio>

#include "cli/commands.h"

namespace latte {
namespace {

int run_predict(const study::PredictionPlan& plan) {
  const auto held = study::report_prediction(plan, stdout);
  return held ? kExitOk : report(held.error(), kExitFailed);
}

int run_fit(const study::ProbeOptions& options) {
  const auto measured = study::probe_device(options);
  if (!measured) return report(measured.error(), kExitFailed);
  study::report_fit(measured.value(), study::fit_device(measured.value(), options.seed), stdout);
  return kExitOk;
}

}  // namespace

int run_model(const Arguments& arguments) {
  const ModelCommand& model = arguments.model;
  return model.action == ModelCommand::Action::predict ? run_predict(model.prediction)
                                                       : run_fit(model.probe);
}

}  // namespace latte
