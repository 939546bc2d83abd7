// Advisory whole-file locks (flock), and who holds them.
//
// A flock belongs to the open file description, not to the process: it ends when the last reference
// to the description goes, and an I/O request in the kernel is such a reference.
#pragma once

#include <string>

#include "base/result.h"

namespace latte {

enum class LockKind { shared, exclusive };
enum class LockOutcome { taken, held_by_other, failed };

/// Tries to lock without waiting. `failed`: errno says why.
LockOutcome try_lock(int fd, LockKind kind);
void unlock(int fd);

/// The processes that /proc/locks names as holders, such as "process 4711 (latte)"; "another
/// process" if it names none (another host over NFS, another container).
std::string lock_holders(int fd);

/// Locks exclusively or says who holds it. Errors: busy (names the holder), io.
Result<void> lock_exclusive(int fd, const std::string& path);

}  // namespace latte
