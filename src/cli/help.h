// What `latte --help` and `latte COMMAND --help` say.
#pragma once

namespace latte {

struct CommandHelp {
  const char* summary;
  const char* details;  ///< below the options
};

extern const CommandHelp kMainHelp;
extern const CommandHelp kCreateHelp;
extern const CommandHelp kServeHelp;
extern const CommandHelp kStatusHelp;
extern const CommandHelp kDrainHelp;
extern const CommandHelp kCheckHelp;
extern const CommandHelp kTakeoverHelp;
extern const CommandHelp kHandoverHelp;
extern const CommandHelp kResizeHelp;
extern const CommandHelp kVolumeHelp;
extern const CommandHelp kModelHelp;
extern const CommandHelp kReplayHelp;
extern const CommandHelp kTraceHelp;
extern const CommandHelp kSnapshotHelp;
extern const CommandHelp kCloneHelp;

}  // namespace latte
