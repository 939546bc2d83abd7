#include "control/config_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <utility>

#include "control/config_values.h"

namespace latte {
namespace {

constexpr size_t kMaxShownValueBytes = 80;
constexpr size_t kMaxSocketPathBytes = 107;  // the kernel's

std::string shown(const toml::node& node) {
  std::ostringstream out;
  node.visit([&](const auto& value) { out << value; });
  std::string text = out.str();
  if (text.size() > kMaxShownValueBytes) text = text.substr(0, kMaxShownValueBytes) + "...";
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

std::string ConfigReader::place(const toml::source_region& source) const {
  return fmt::format("{}:{}:{}", file_, source.begin.line, source.begin.column);
}

bool ConfigReader::fail(const toml::node& node, std::string_view key, std::string_view what,
                        Errc code) {
  error_ = Error{code, fmt::format("{}: {} = {} {}", place(node.source()), key, shown(node), what)};
  return false;
}

bool ConfigReader::fail_at(const toml::source_region& source, const std::string& what) {
  error_ = Error{Errc::invalid, fmt::format("{}: {}", place(source), what)};
  return false;
}

bool ConfigReader::read_table(const toml::table& table, const std::string& path,
                              const std::vector<Key>& keys) {
  const std::string prefix = path.empty() ? "" : path + ".";
  for (auto&& [name, node] : table) {
    const auto found = std::find_if(keys.begin(), keys.end(),
                                    [&](const Key& key) { return key.name == name.str(); });
    if (found == keys.end()) return unknown_key(name, prefix, keys);
    if (!found->set(node, prefix + std::string(name.str()))) return false;
  }
  for (const Key& key : keys)
    if (key.required && !table.contains(key.name))
      return fail_at(table.source(), fmt::format("{}{} is missing; add it", prefix, key.name));
  return true;
}

bool ConfigReader::unknown_key(const toml::key& name, const std::string& prefix,
                               const std::vector<Key>& keys) {
  std::string allowed;
  for (const Key& key : keys) allowed += (allowed.empty() ? "" : ", ") + std::string(key.name);
  return fail_at(name.source(), fmt::format("{}{} is no known key; allowed here are {}", prefix,
                                            name.str(), allowed));
}

std::string ConfigReader::resolve(const std::string& path) const {
  std::string absolute = (std::filesystem::path(directory_) / path).lexically_normal().string();
  while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

ConfigReader::Set ConfigReader::text(std::string& out) {
  return [this, &out](const toml::node& node, const std::string& key) {
    const auto* value = node.as_string();
    if (value == nullptr) return fail(node, key, "is no text; write it in quotes");
    out = value->get();
    if (out.empty()) return fail(node, key, "is empty; write a value");
    if (out.find('\0') != std::string::npos) return fail(node, key, "has a NUL in it");
    return true;
  };
}

ConfigReader::Set ConfigReader::path(std::string& out) {
  return [this, &out](const toml::node& node, const std::string& key) {
    if (!text(out)(node, key)) return false;
    out = resolve(out);
    return true;
  };
}

ConfigReader::Set ConfigReader::size(uint64_t& out, uint64_t multiple) {
  return [this, &out, multiple](const toml::node& node, const std::string& key) {
    if (const auto* number = node.as_integer()) {
      if (number->get() < 0) return fail(node, key, "is negative; write a size");
      out = static_cast<uint64_t>(number->get());
    } else if (const auto* words = node.as_string()) {
      const auto parsed = parse_size(words->get());
      if (!parsed) return fail(node, key, parsed.error().message);
      out = parsed.value();
    } else {
      return fail(node, key, "is no size; write bytes, or text such as \"1GiB\"");
    }
    if (out == 0) return fail(node, key, "is nothing; write a size above 0");
    if (out % multiple != 0)
      return fail(node, key,
                  fmt::format("is no multiple of {} bytes; the next one is {}", multiple,
                              round_up(out, multiple)));
    return true;
  };
}

ConfigReader::Set ConfigReader::number(uint64_t& out, uint64_t least, uint64_t most,
                                       std::string_view what) {
  return [this, &out, least, most, what](const toml::node& node, const std::string& key) {
    const auto* value = node.as_integer();
    if (value == nullptr || value->get() < 0 || static_cast<uint64_t>(value->get()) < least ||
        static_cast<uint64_t>(value->get()) > most)
      return fail(
          node, key,
          fmt::format("is no number of {}; write a whole number from {} to {}", what, least, most));
    out = static_cast<uint64_t>(value->get());
    return true;
  };
}

ConfigReader::Set ConfigReader::duration(TimeNs& out) {
  return [this, &out](const toml::node& node, const std::string& key) {
    std::string value;
    if (!text(value)(node, key)) return false;
    const auto parsed = parse_duration(value);
    if (!parsed) return fail(node, key, parsed.error().message);
    out = parsed.value();
    return true;
  };
}

ConfigReader::Set ConfigReader::address(std::optional<ListenAddress>& out) {
  return [this, &out](const toml::node& node, const std::string& key) {
    std::string value;
    if (!text(value)(node, key)) return false;
    auto parsed = ListenAddress::parse(value);
    if (!parsed) return fail(node, key, "is no address: " + parsed.error().message);
    out = parsed.take();
    if (out->kind != ListenAddress::Kind::unix_socket) return true;
    out->path = resolve(out->path);
    return socket_path_fits(node, key, out->path);
  };
}

ConfigReader::Set ConfigReader::unix_address(std::optional<ListenAddress>& out) {
  return [this, &out](const toml::node& node, const std::string& key) {
    if (!address(out)(node, key)) return false;
    if (out->kind == ListenAddress::Kind::unix_socket) return true;
    return fail(node, key,
                "is no unix socket; guest memory can't be shared over TCP, write "
                "unix:PATH");
  };
}

bool ConfigReader::socket_path_fits(const toml::node& node, const std::string& key,
                                    const std::string& path) {
  if (path.size() <= kMaxSocketPathBytes) return true;
  return fail(node, key,
              fmt::format("becomes {}, {} bytes; a unix socket's path has at most {}: choose a "
                          "shorter one, such as below /run",
                          path, path.size(), kMaxSocketPathBytes));
}

ConfigReader::Set ConfigReader::table(
    std::function<bool(const toml::table&, const std::string&)> read) {
  return [this, read = std::move(read)](const toml::node& node, const std::string& key) {
    const auto* inner = node.as_table();
    if (inner == nullptr) return fail(node, key, fmt::format("is no table; write [{}]", key));
    return read(*inner, key);
  };
}

}  // namespace latte
