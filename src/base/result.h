// Result<T>: a value, or an Error that names the object, the value and the remedy. For the control
// plane, recovery and set-up. The I/O path uses IoStatus (io_status.h), which never allocates.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace latte {

/// What kind of failure it is; callers branch on this, people read the message.
enum class Errc {
  invalid,      ///< wrong argument or configuration; the caller can mend it
  not_found,    ///< the named thing does not exist
  exists,       ///< the named thing exists already and was left alone
  busy,         ///< held by another process
  not_owner,    ///< the cloud volume belongs to another host (take-over needed)
  damaged,      ///< bytes on a device fail their checks
  unsupported,  ///< written by another format version, or a feature this build lacks
  io,           ///< a device answered with an error
  no_space,     ///< no room
};

/// A failure with a message fit for an operator: what, which value, what to do.
struct Error {
  Errc code = Errc::invalid;
  std::string message;
};

/// Either a T or an Error. Accessing the wrong side is a programmer's error.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() {
    LATTE_CHECK(ok());
    return std::get<0>(state_);
  }
  const T& value() const {
    LATTE_CHECK(ok());
    return std::get<0>(state_);
  }
  T take() {
    LATTE_CHECK(ok());
    return std::move(std::get<0>(state_));
  }
  const Error& error() const {
    LATTE_CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  std::variant<T, Error> state_;
};

/// Result without a value.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    LATTE_CHECK(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

}  // namespace latte
