// Which cores a thread may run on.
//
// Thread rule: none. Limits: kMaxCores cores.
#pragma once

#include <string_view>
#include <vector>

#include "base/reserved_cores.h"
#include "base/result.h"

namespace latte {

/// Reads a list as the kernel writes it: "0-3,8". Errors: invalid.
Result<std::vector<unsigned>> parse_core_list(std::string_view text);

/// The cores of a NUMA node. Errors: invalid (no such node, or one without cores).
Result<std::vector<unsigned>> cores_of_numa_node(unsigned node);

}  // namespace latte
