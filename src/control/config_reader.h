// ConfigReader: what every section of the configuration is read with: tables with their known keys,
// one setter for each kind of value, and errors that name place, key, value and remedy.
//
// Every step returns false after the first error, which is kept.
// Thread rule: none; one reader for one document.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "control/toml.h"
#include "frontend/listen_address.h"

namespace latte {

class ConfigReader {
 public:
  /// Takes a value in, or fails; `key` is the whole name, for messages.
  using Set = std::function<bool(const toml::node&, const std::string& key)>;
  struct Key {
    std::string_view name;
    bool required;
    Set set;
  };

  /// `file` is for messages, and outlives the reader; relative paths are relative to `directory`.
  ConfigReader(const std::string& file, std::string directory)
      : file_(file), directory_(std::move(directory)) {}

  const std::string& file() const { return file_; }
  /// REQUIRES: something failed.
  const Error& error() const { return *error_; }

  /// "FILE:LINE:COLUMN".
  std::string place(const toml::source_region& source) const;
  /// The error "PLACE: KEY = VALUE WHAT"; returns false.
  bool fail(const toml::node& node, std::string_view key, std::string_view what,
            Errc code = Errc::invalid);
  /// The error "PLACE: WHAT"; returns false.
  bool fail_at(const toml::source_region& source, const std::string& what);

  /// Reads a table that has these keys and no others.
  bool read_table(const toml::table& table, const std::string& path, const std::vector<Key>& keys);
  std::string resolve(const std::string& path) const;

  // Setters for one kind of value each.
  Set text(std::string& out);
  Set path(std::string& out);
  /// Bytes above 0, with a unit or without.
  Set size(uint64_t& out, uint64_t multiple);
  /// A whole number from `least` to `most`; `what` it is, in the plural, for messages.
  Set number(uint64_t& out, uint64_t least, uint64_t most, std::string_view what);
  /// A duration with its unit.
  Set duration(TimeNs& out);
  Set address(std::optional<ListenAddress>& out);
  Set unix_address(std::optional<ListenAddress>& out);
  Set table(std::function<bool(const toml::table&, const std::string&)> read);
  bool socket_path_fits(const toml::node& node, const std::string& key, const std::string& path);

 private:
  bool unknown_key(const toml::key& name, const std::string& prefix, const std::vector<Key>& keys);

  const std::string& file_;
  const std::string directory_;
  std::optional<Error> error_;
};

}  // namespace latte
