// `latte clone`: a new disk out of a snapshot of another one. `latte snapshot rollback`: the disk
// itself as it was.
//
// Thread rule: blocks; any thread but a reactor's.
#pragma once

#include <string>

#include "base/result.h"
#include "control/config.h"

namespace latte {

/// Makes the cloud side of `clone` (a disk of the configuration that does not exist yet) from a
/// snapshot of `disk`; it is nobody's then: `latte create` or `latte takeover` adopts it. No server
/// is asked, and the snapshot's disk may be anybody's. Progress is on stderr. A sentence about what
/// was made. Errors: not_found (disk, snapshot), exists, invalid (no RBD, another pool, another
/// size), io.
Result<std::string> clone_disk(const Config& config, const std::string& disk,
                               const std::string& snapshot, const std::string& clone);

/// Host::roll_back() of a disk of the configuration. No server is asked. Progress is on stderr. A
/// sentence about what it is now. Errors: as there, and invalid (not on RBD).
Result<std::string> roll_back_disk(const Config& config, const std::string& disk,
                                   const std::string& snapshot);

}  // namespace latte
