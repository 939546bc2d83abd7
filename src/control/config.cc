#include "control/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <utility>

#include "control/config_values.h"

// toml++ 3.3 calls a point unreachable that any letter beyond ASCII reaches (its search for Unicode
// white space; config_fuzz found it): there it is to say no instead of having no defined behaviour.
#define TOML_EXCEPTIONS 0
#include <toml++/impl/preprocessor.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return {}
#include <toml++/toml.h>

namespace latte {
namespace {

constexpr uint64_t kMinPoolSegmentBytes = 64u << 10;
constexpr uint64_t kMaxPoolSegmentBytes = 64u << 20;
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

// Reads one document. Every step returns false after the first error, which is kept.
class Parser {
 public:
  Parser(const std::string& file, std::string directory)
      : file_(file), directory_(std::move(directory)) {}

  Result<Config> run(std::string_view text) {
    config_.file = file_;
    const toml::parse_result parsed = toml::parse(text, std::string_view(file_));
    if (!parsed) {
      const auto& error = parsed.error();
      return Error{Errc::invalid,
                   fmt::format("{}: {}", place(error.source()), error.description())};
    }
    if (read_root(parsed.table()) && check_together()) return std::move(config_);
    return *error_;
  }

 private:
  using Set = std::function<bool(const toml::node&, const std::string& key)>;
  struct Key {
    std::string_view name;
    bool required;
    Set set;
  };

  std::string place(const toml::source_region& source) const {
    return fmt::format("{}:{}:{}", file_, source.begin.line, source.begin.column);
  }
  bool fail(const toml::node& node, std::string_view key, std::string_view what,
            Errc code = Errc::invalid) {
    error_ =
        Error{code, fmt::format("{}: {} = {} {}", place(node.source()), key, shown(node), what)};
    return false;
  }
  // For what concerns more than one value.
  bool contradiction(std::string_view what) {
    error_ = Error{Errc::invalid, fmt::format("{}: {}", file_, what)};
    return false;
  }

  bool read_table(const toml::table& table, const std::string& path, const std::vector<Key>& keys) {
    const std::string prefix = path.empty() ? "" : path + ".";
    for (auto&& [name, node] : table) {
      const auto found = std::find_if(keys.begin(), keys.end(),
                                      [&](const Key& key) { return key.name == name.str(); });
      if (found == keys.end()) return unknown_key(name, prefix, keys);
      if (!found->set(node, prefix + std::string(name.str()))) return false;
    }
    for (const Key& key : keys) {
      if (!key.required || table.contains(key.name)) continue;
      error_ = Error{Errc::invalid, fmt::format("{}: {}{} is missing; add it",
                                                place(table.source()), prefix, key.name)};
      return false;
    }
    return true;
  }
  bool unknown_key(const toml::key& name, const std::string& prefix, const std::vector<Key>& keys) {
    std::string allowed;
    for (const Key& key : keys) allowed += (allowed.empty() ? "" : ", ") + std::string(key.name);
    error_ = Error{Errc::invalid, fmt::format("{}: {}{} is no known key; allowed here are {}",
                                              place(name.source()), prefix, name.str(), allowed)};
    return false;
  }

  // Setters for one kind of value each.
  Set text(std::string& out) {
    return [this, &out](const toml::node& node, const std::string& key) {
      const auto* value = node.as_string();
      if (value == nullptr) return fail(node, key, "is no text; write it in quotes");
      out = value->get();
      if (out.empty()) return fail(node, key, "is empty; write a value");
      if (out.find('\0') != std::string::npos) return fail(node, key, "has a NUL in it");
      return true;
    };
  }
  Set path(std::string& out) {
    return [this, &out](const toml::node& node, const std::string& key) {
      if (!text(out)(node, key)) return false;
      out = resolve(out);
      return true;
    };
  }
  Set size(uint64_t& out, uint64_t multiple) {
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
  Set address(ListenAddress& out) {
    return [this, &out](const toml::node& node, const std::string& key) {
      std::string value;
      if (!text(value)(node, key)) return false;
      auto parsed = ListenAddress::parse(value);
      if (!parsed) return fail(node, key, "is no address: " + parsed.error().message);
      out = parsed.take();
      if (out.kind != ListenAddress::Kind::unix_socket) return true;
      out.path = resolve(out.path);
      return socket_path_fits(node, key, out.path);
    };
  }
  bool socket_path_fits(const toml::node& node, const std::string& key, const std::string& path_) {
    if (path_.size() <= kMaxSocketPathBytes) return true;
    return fail(node, key,
                fmt::format("becomes {}, {} bytes; a unix socket's path has at most {}: choose a "
                            "shorter one, such as below /run",
                            path_, path_.size(), kMaxSocketPathBytes));
  }
  Set table(std::function<bool(const toml::table&, const std::string&)> read) {
    return [this, read = std::move(read)](const toml::node& node, const std::string& key) {
      const auto* inner = node.as_table();
      if (inner == nullptr) return fail(node, key, fmt::format("is no table; write [{}]", key));
      return read(*inner, key);
    };
  }

  bool read_root(const toml::table& root) {
    const std::vector<Key> keys = {
        {"pool", true, table([this](auto& t, auto& k) { return read_pool(t, k); })},
        {"disk", true, [this](auto& n, auto& k) { return read_disks(n, k); }},
        {"control", false, table([this](auto& t, auto& k) { return read_control(t, k); })},
    };
    return read_table(root, "", keys);
  }

  bool read_pool(const toml::table& inner, const std::string& key) {
    const std::vector<Key> keys = {
        {"path", true, path(config_.pool.path)},
        {"size", true, size(config_.pool.size_bytes, kBlockBytes)},
        {"segment_size", false, [this](auto& n, auto& k) { return read_segment_size(n, k); }},
    };
    return read_table(inner, key, keys);
  }
  bool read_segment_size(const toml::node& node, const std::string& key) {
    uint64_t& bytes = config_.pool.options.segment_bytes;
    if (!size(bytes, kBlockBytes)(node, key)) return false;
    if (std::has_single_bit(bytes) && bytes >= kMinPoolSegmentBytes &&
        bytes <= kMaxPoolSegmentBytes)
      return true;
    return fail(node, key, "is not allowed; write a power of two from \"64KiB\" to \"64MiB\"");
  }

  bool read_disks(const toml::node& node, const std::string& key) {
    const auto* list = node.as_array();
    if (list == nullptr || list->empty())
      return fail(node, key, "is no list of disks; write [[disk]] above each disk");
    if (list->size() > kMaxDisks)
      return fail(node, key,
                  fmt::format("has {} disks; a pool has at most {}", list->size(), kMaxDisks));
    config_.disks.reserve(list->size());
    for (const toml::node& item : *list) {
      const auto* inner = item.as_table();
      if (inner == nullptr) return fail(item, key, "is no table; write [[disk]] above each disk");
      if (!read_disk(*inner, key, config_.disks.emplace_back())) return false;
    }
    return true;
  }
  bool read_disk(const toml::table& inner, const std::string& key, DiskConfig& disk) {
    const std::vector<Key> keys = {
        {"name", true, [&](auto& n, auto& k) { return read_name(n, k, disk.options.name); }},
        {"size", true, size(disk.options.size_bytes, kBlockBytes)},
        {"cloud", true, [&](auto& n, auto& k) { return read_cloud(n, k, disk); }},
        {"nbd", true, address(disk.nbd)},
        {"durability", false, [&](auto& n, auto& k) { return read_durability(n, k, disk); }},
        {"max_lag", false, [&](auto& n, auto& k) { return read_lag(n, k, disk.options); }},
        {"cloud_log_size", false, [&](auto& n, auto& k) { return read_log_size(n, k, disk); }},
        {"cloud_limits", false,
         table([&](auto& t, auto& k) { return read_limits(t, k, disk.cloud_limits); })},
    };
    return read_table(inner, key, keys);
  }
  bool read_name(const toml::node& node, const std::string& key, std::string& name) {
    if (!text(name)(node, key)) return false;
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '.' || c == '_' || c == '-';
    });
    if (!plain || name.front() == '.' || name.front() == '-')
      return fail(
          node, key,
          "is no name; use letters, digits, '_', '-' and '.', beginning with one of the first "
          "three");
    if (name.size() > kMaxDiskNameBytes)
      return fail(
          node, key,
          fmt::format("has {} bytes; a name has at most {}", name.size(), kMaxDiskNameBytes));
    return true;
  }
  bool read_cloud(const toml::node& node, const std::string& key, DiskConfig& disk) {
    std::string value;
    if (!text(value)(node, key)) return false;
    constexpr std::string_view kFile = "file:";
    for (std::string_view later : {"rbd:", "nbd:"})
      if (value.starts_with(later))
        return fail(
            node, key,
            fmt::format("is not in this build: {} clouds are not supported; use file:DIRECTORY",
                        later.substr(0, 3)),
            Errc::unsupported);
    if (!value.starts_with(kFile) || value.size() == kFile.size())
      return fail(node, key, "is no cloud volume; write file:DIRECTORY");
    disk.cloud_directory = resolve(value.substr(kFile.size()));
    return true;
  }
  bool read_durability(const toml::node& node, const std::string& key, DiskConfig& disk) {
    std::string value;
    if (!text(value)(node, key)) return false;
    if (value != "local" && value != "cloud")
      return fail(node, key, "is not allowed; write \"local\" or \"cloud\"");
    disk.options.durability = value == "cloud" ? Durability::cloud : Durability::local;
    return true;
  }
  bool read_lag(const toml::node& node, const std::string& key, DiskOptions& options) {
    std::string value;
    if (!text(value)(node, key)) return false;
    options.max_lag_ns = kNoLagLimit;
    if (value == "none") return true;
    const auto parsed = parse_duration(value);
    if (!parsed) return fail(node, key, parsed.error().message + ", or \"none\"");
    options.max_lag_ns = parsed.value();
    return true;
  }
  bool read_log_size(const toml::node& node, const std::string& key, DiskConfig& disk) {
    if (!size(disk.cloud_log_bytes, kBlockBytes)(node, key)) return false;
    if (disk.cloud_log_bytes >= kMinCloudLogBytes) return true;
    return fail(
        node, key,
        fmt::format("is too small; a cloud log has at least {}", format_size(kMinCloudLogBytes)));
  }
  bool read_limits(const toml::table& inner, const std::string& key, ThrottleLimits& limits) {
    const Set iops = [&](const toml::node& node, const std::string& name) {
      const auto* number = node.as_integer();
      if (number == nullptr || number->get() <= 0)
        return fail(node, name,
                    "is no number of requests per second; write a whole number above 0");
      limits.requests_per_second = static_cast<uint64_t>(number->get());
      return true;
    };
    return read_table(
        inner, key,
        {{"bandwidth", false, size(limits.bytes_per_second, 1)}, {"iops", false, iops}});
  }

  bool read_control(const toml::table& inner, const std::string& key) {
    const Set socket = [this](const toml::node& node, const std::string& name) {
      return path(config_.control_socket)(node, name) &&
             socket_path_fits(node, name, config_.control_socket);
    };
    const Set http = [this](const toml::node& node, const std::string& name) {
      std::string value;
      if (!text(value)(node, name)) return false;
      auto parsed = ListenAddress::parse("tcp:" + value);
      if (!parsed)
        return fail(node, name, "is no address; write HOST:PORT, such as \"127.0.0.1:9400\"");
      config_.http = parsed.take();
      return true;
    };
    return read_table(inner, key, {{"socket", false, socket}, {"http", false, http}});
  }

  // What only shows when everything is read.
  bool check_together() {
    const uint64_t segment = config_.pool.options.segment_bytes;
    // One segment's worth is kept off for the superblocks.
    const uint64_t least = (kMinSegmentsPerDisk * config_.disks.size() + 1) * segment;
    if (config_.pool.size_bytes < least)
      return contradiction(fmt::format(
          "pool.size = {} is too small: {} disk(s) with segments of {} need at least {} ({} "
          "segments "
          "each, and one for the superblocks); make the pool larger or pool.segment_size smaller",
          config_.pool.size_bytes, config_.disks.size(), format_size(segment), format_size(least),
          kMinSegmentsPerDisk));
    std::vector<std::pair<std::string, std::string>> taken;  // what, and whose
    const auto take = [&](const std::string& what, const std::string& owner) {
      for (const auto& [other, its_owner] : taken)
        if (other == what)
          return contradiction(fmt::format("{} is used by both {} and {}; each needs its own", what,
                                           its_owner, owner));
      taken.emplace_back(what, owner);
      return true;
    };
    if (!take("path " + config_.pool.path, "pool.path")) return false;
    if (!config_.control_socket.empty() &&
        !(take("address unix:" + config_.control_socket, "control.socket") &&
          take("path " + config_.control_socket, "control.socket")))
      return false;
    if (config_.http && config_.http->port != 0 &&
        !take("address " + config_.http->to_string(), "control.http"))
      return false;
    for (size_t i = 0; i < config_.disks.size(); ++i) {
      const DiskConfig& disk = config_.disks[i];
      const std::string owner = fmt::format("disk {} ({})", disk.options.name, i + 1);
      const bool fixed = disk.nbd.kind == ListenAddress::Kind::unix_socket || disk.nbd.port != 0;
      if (!take("name " + disk.options.name, owner)) return false;
      if (!take("path " + disk.cloud_directory, owner)) return false;
      if (fixed && !take("address " + disk.nbd.to_string(), owner)) return false;
    }
    return true;
  }

  std::string resolve(const std::string& path_) const {
    std::string absolute = (std::filesystem::path(directory_) / path_).lexically_normal().string();
    while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
    return absolute;
  }

  const std::string& file_;
  const std::string directory_;
  Config config_;
  std::optional<Error> error_;
};

}  // namespace

const DiskConfig* Config::find(std::string_view name) const {
  for (const DiskConfig& disk : disks)
    if (disk.options.name == name) return &disk;
  return nullptr;
}

Result<Config> parse_config(std::string_view text, const std::string& file,
                            const std::string& directory) {
  if (text.size() > kMaxConfigBytes)
    return Error{Errc::invalid, fmt::format("{}: has more than {} bytes; that is no configuration",
                                            file, kMaxConfigBytes)};
  return Parser(file, directory).run(text);
}

Result<Config> load_config(const std::string& file) {
  std::error_code failed;
  const std::filesystem::path absolute = std::filesystem::absolute(file, failed);
  if (failed || !std::filesystem::exists(absolute, failed))
    return Error{
        Errc::not_found,
        fmt::format("{}: there is no such file; name the configuration with -c FILE", file)};
  if (std::filesystem::is_directory(absolute, failed))
    return Error{Errc::invalid, fmt::format("{}: is a directory; name a file", file)};
  std::ifstream in(absolute, std::ios::binary);
  // One byte beyond the limit shows that there is more.
  std::string text(kMaxConfigBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.fail() && !in.eof()))
    return Error{Errc::io, fmt::format("{}: cannot be read; check that it is a file and its "
                                       "permissions",
                                       file)};
  text.resize(static_cast<size_t>(in.gcount()));
  return parse_config(text, file, absolute.parent_path().string());
}

}  // namespace latte
