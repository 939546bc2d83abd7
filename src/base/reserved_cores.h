// Cores that reactors have for themselves, and threads that keep off them. A thread inherits the
// cores of the one that starts it, so one that a reactor starts would share the reactor's core.
//
// Thread rule: any.
#pragma once

#include <span>

namespace latte {

/// Largest number of a core, and one.
inline constexpr unsigned kMaxCores = 1024;

/// From now on threads that call keep_off_reserved_cores() leave these cores alone. Each is below
/// kMaxCores.
void reserve_cores(std::span<const unsigned> cores);

/// The calling thread may run on all cores that the process's first thread may use and that are
/// not reserved; if all are, on all of them. Where the system refuses it stays where it is.
void keep_off_reserved_cores();

}  // namespace latte
