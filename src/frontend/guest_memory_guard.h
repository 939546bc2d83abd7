// The guard of guest mappings: a front-end that shortens the file behind its memory would end this
// process with SIGBUS at the next access, and with it every other disk. The guard catches the
// signal, puts zeroes under the page that was hit and notes it; the access goes on.
//
// Invariants:
//  1. Only faults inside a guarded mapping are caught; any other ends the process as before.
//  2. The handler calls nothing but mmap and atomics, which are safe in a signal handler.
// Thread rule: any thread. Limits: kMaxGuardedMappings at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace latte::vhost {

inline constexpr size_t kMaxGuardedMappings = 2048;
/// Of the kernel: what a mapping consists of.
inline constexpr uint64_t kPageBytes = 4096;

/// Guards [mapping, +bytes) from now on. False: there are kMaxGuardedMappings already.
bool guard_mapping(void* mapping, size_t bytes);
/// Before it is unmapped. No effect on what is not guarded.
void unguard_mapping(void* mapping);
/// Pages replaced so far, in all mappings: a device whose requests see it change is broken.
uint64_t guarded_faults();

}  // namespace latte::vhost
