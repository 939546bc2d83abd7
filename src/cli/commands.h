// The subcommands. Each returns the process's exit status.
//
// Thread rule: the main thread, once a process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/config.h"
#include "control/volume_command.h"
#include "study/device_probe.h"
#include "study/paper_report.h"
#include "study/prediction_report.h"

namespace latte {

/// Done (and, for check, no damage).
inline constexpr int kExitOk = 0;
/// It failed; for check, there is damage.
inline constexpr int kExitFailed = 1;
/// It could not begin: wrong usage or configuration; for check and takeover, the pool is in use
/// too.
inline constexpr int kExitCannotRun = 2;

struct ModelCommand {
  enum class Action : uint8_t { predict, fit } action = Action::predict;
  study::PredictionPlan prediction{};
  study::ProbeOptions probe{};
};

/// What `latte replay` was asked for, as it was written.
struct ReplayArguments {
  std::vector<std::string> traces{};
  std::vector<std::string> policies{};
  std::vector<std::string> sizes{"10%", "25%"};
  std::string format{};
  std::string device{};
  std::string event = "Q";
  std::string html_file{};
  bool lenient = false;
  bool engine = false;
  bool paper = false;
  uint64_t requests = study::PaperPlan{}.requests;
  std::string drive = "gen4";
  std::string cloud = "ebs";
  double speed = 1;
  std::vector<std::string> admissions{"adaptive"};
  std::vector<std::string> dispatchers{"local"};
  bool alone = false;  ///< each tier by itself, too
  uint64_t seed = 1;
  unsigned jobs = 0;
};

/// `latte trace record`.
struct TraceArguments {
  std::string file{};
  uint32_t seconds = 60;
};

/// `latte snapshot` and `latte clone`.
struct SnapshotArguments {
  std::string action{};  ///< create, list, rm
  std::string name{};
  std::string clone{};  ///< the new disk's name
};

struct Arguments {
  std::string config_file;
  std::string disk;              ///< drain (empty: all), takeover, handover, resize, trace record
  bool json = false;             ///< status, replay
  bool keep_going = false;       ///< serve
  bool replace = false;          ///< likewise
  bool standby = false;          ///< likewise
  std::string size{};            ///< resize: as it was written
  bool force = false;            ///< resize: it may become smaller over data
  std::string force_disk_id{};   ///< takeover: by force, of the disk with this id
  VolumeCommand volume{};        ///< volume
  std::string volume_size{};     ///< as it was written
  ModelCommand model{};          ///< model
  ReplayArguments replay{};      ///< replay
  TraceArguments trace{};        ///< trace record
  SnapshotArguments snapshot{};  ///< snapshot, clone
};

int run_create(const Arguments& arguments);
int run_serve(const Arguments& arguments);
int run_status(const Arguments& arguments);
int run_drain(const Arguments& arguments);
int run_check(const Arguments& arguments);
int run_takeover(const Arguments& arguments);
int run_replay(const Arguments& arguments);
int run_handover(const Arguments& arguments);
int run_resize(const Arguments& arguments);
int run_volume(const Arguments& arguments);
int run_model(const Arguments& arguments);
int run_trace(const Arguments& arguments);
int run_snapshot(const Arguments& arguments);
int run_clone(const Arguments& arguments);

/// The configuration; from here on the log has its level. Errors: as load_config().
Result<Config> read_config(const Arguments& arguments);
/// Whether the configuration says where a server is asked. Errors: invalid.
Result<void> check_control_socket(const Config& config);
/// Prints the error on stderr and returns `status`.
int report(const Error& error, int status);

}  // namespace latte
