// Clients of a disk: coroutines that read, write, flush and discard at random, stamp what they
// write, and check what they read against the model. They live on the process that serves the disk
// and die with it; the model does not.
#pragma once

#include "run.h"

namespace latte::simtest {

/// Starts `count` clients of `session`. They begin operations while its disk has budget (a
/// zombie's: until they meet an error), and end when the session is stopping or fenced.
void start_clients(Run& run, Session& session, unsigned count);

/// Reads the whole disk into `seen`, one id a sector; unreadable sectors are kUnreadable. Sets
/// `*done`.
Task<void> read_back(Run& run, Session* session, std::vector<WriteId>* seen, bool* done);

}  // namespace latte::simtest
