// Values out of a document that another version may have made: what is missing or has another type
// is what the caller says.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>

namespace latte {

/// `Value`: bool, uint64_t, double or std::string. `object` may be anything.
template <typename Value>
Value value_of(const nlohmann::ordered_json& object, const char* key, Value otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if constexpr (std::is_same_v<Value, bool>)
    return found->is_boolean() ? found->template get<bool>() : otherwise;
  else if constexpr (std::is_same_v<Value, uint64_t>)
    return found->is_number_unsigned() ? found->template get<uint64_t>() : otherwise;
  else if constexpr (std::is_same_v<Value, double>)
    return found->is_number() ? found->template get<double>() : otherwise;
  else
    return found->is_string() ? found->template get<std::string>() : otherwise;
}

}  // namespace latte
