// What to tell the operator when a system call on a file fails.
#pragma once

#include <string>

#include "base/result.h"

namespace latte {

/// "cannot <action> <path>: <reason>; <remedy>", with the Errc that fits `error_number` (an errno).
Error file_error(const std::string& action, const std::string& path, int error_number);

}  // namespace latte
