// What a run is told beside its seed, as `latte-sim`'s arguments and lists of seeds name it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace latte::simtest {

/// Kinds of trouble a run can be spared (`latte-sim --without`), to narrow a failure down.
struct Spared {
  bool damage = false;
  bool cloud = false;
  bool power = false;
  bool takeover = false;
  bool zombie = false;
  bool stop = false;
  bool drain = false;
  bool handover = false;
  bool bootcrash = false;
};

/// What keeps a former owner from writing.
enum class Fence : uint8_t {
  any,         ///< the seed says which, disk by disk
  generation,  ///< the service compares generations
  lease,       ///< a lease on a service that can't
};

/// Is something in use that a run could also do without?
enum class Use : uint8_t {
  any,   ///< the seed says whether, and in which way
  none,  ///< no
};

struct RunOptions {
  uint64_t seed = 1;
  Fence fence = Fence::any;
  Use admission = Use::any;   ///< of what reads miss
  Use dispatch = Use::any;    ///< of reads that both tiers could answer
  Use rereads = Use::any;     ///< of what was just written
  Use snapshots = Use::any;   ///< in the cloud, while clients go on
  Use read_ahead = Use::any;  ///< of what streams are about to read
  Use staging = Use::any;     ///< of what reads miss for the first time
  bool trace = false;
  Spared spared;
};

/// "any", "generation" or "lease". Exits with 2 and a message on another name.
Fence fence_named(const std::string& name);
/// "any" or "none". Exits with 2 and a message on another name.
Use use_named(const std::string& name);
/// The kinds of trouble to leave out, by their names. Exits with 2 and a message on an unknown one.
Spared spared_from(const std::vector<std::string>& names);
/// The command that runs exactly this again, with everything that happens printed.
std::string replay_command(const RunOptions& options);
/// A list of seeds, one a line with words behind it: a fence (left out: generation); "admission",
/// "dispatch", "rereads", "snapshots", "read-ahead", "staging" (the seed says whether there is any;
/// left out: there is none); "without=KIND,..." (kinds of trouble left out). '#' begins a comment
/// line.
std::vector<RunOptions> read_seed_file(const std::string& path);

}  // namespace latte::simtest
