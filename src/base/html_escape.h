// HTML text: what must be written otherwise there.
#pragma once

#include <string>
#include <string_view>

namespace latte {

/// `text` with &, <, > and double quotes as HTML wants them, in text and in quoted attributes.
std::string escape_html(std::string_view text);

}  // namespace latte
