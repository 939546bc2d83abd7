#include "control/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <utility>

#include "base/plain_name.h"
#include "control/config_cloud.h"
#include "control/config_reader.h"
#include "control/config_values.h"

namespace latte {
namespace {

constexpr uint64_t kMinPoolSegmentBytes = 64u << 10;
constexpr uint64_t kMaxPoolSegmentBytes = 64u << 20;
constexpr uint64_t kMaxDeviceBytes = INT64_MAX;  // the kernel's
// Keys that a disk without a cloud side can't have.
constexpr std::array<std::string_view, 8> kCloudKeys = {
    "cloud",   "durability",     "dispatcher",   "read_ahead",
    "max_lag", "cloud_log_size", "cloud_limits", "advisor"};
constexpr std::array<std::pair<std::string_view, Polling>, 3> kPollings = {{
    {"adaptive", Polling::adaptive},
    {"always", Polling::always},
    {"never", Polling::never},
}};
constexpr std::array<std::pair<std::string_view, LogLevel>, 4> kLogLevels = {{
    {"debug", LogLevel::debug},
    {"info", LogLevel::info},
    {"warning", LogLevel::warning},
    {"error", LogLevel::error},
}};

// Reads one document.
class Parser : private ConfigReader {
 public:
  Parser(const std::string& file, std::string directory)
      : ConfigReader(file, std::move(directory)) {}

  Result<Config> run(std::string_view text) {
    config_.file = file();
    const toml::parse_result parsed = toml::parse(text, std::string_view(file()));
    if (!parsed) {
      const auto& error = parsed.error();
      return Error{Errc::invalid,
                   fmt::format("{}: {}", place(error.source()), error.description())};
    }
    if (read_root(parsed.table()) && check_together(parsed.table())) {
      for (DiskConfig& disk : config_.disks) {
        disk.vhost_options.polling = config_.reactor.polling;
        disk.vhost_options.reads_afar = disk.kind == DiskKind::hybrid;
      }
      return std::move(config_);
    }
    return error();
  }

 private:
  struct Taken {
    std::string what;
    std::string key;
    uint32_t line;
  };

  bool read_root(const toml::table& root) {
    const std::vector<Key> keys = {
        {"pool", true, table([this](auto& t, auto& k) { return read_pool(t, k); })},
        {"disk", true, [this](auto& n, auto& k) { return read_disks(n, k); }},
        {"reactor", false, table([this](auto& t, auto& k) { return read_reactor(t, k); })},
        {"control", false, table([this](auto& t, auto& k) { return read_control(t, k); })},
        {"price", false,
         table([this](auto& t, auto& k) { return read_prices(*this, t, k, config_.prices); })},
    };
    return read_table(root, "", keys);
  }

  bool read_pool(const toml::table& inner, const std::string& key) {
    const std::vector<Key> keys = {
        {"path", true, path(config_.pool.path)},
        {"size", true, size(config_.pool.size_bytes, kBlockBytes)},
        {"volumes", false, [this](auto& n, auto& k) { return read_volumes(n, k); }},
        {"segment_size", false, [this](auto& n, auto& k) { return read_segment_size(n, k); }},
        {"write_buffer", false, [this](auto& n, auto& k) { return read_write_buffer(n, k); }},
        {"write_buffer_directory", false, path(config_.pool.write_buffer_directory)},
        {"admission", false, [this](auto& n, auto& k) { return read_admission(n, k); }},
        {"write_budget", false, [this](auto& n, auto& k) { return read_write_budget(n, k); }},
        {"staging", false, [this](auto& n, auto& k) { return read_staging(n, k); }},
    };
    return read_table(inner, key, keys);
  }
  bool read_volumes(const toml::node& node, const std::string& key) {
    const auto* number = node.as_integer();
    if (number != nullptr && number->get() == 0) return true;
    uint64_t& bytes = config_.pool.volumes_bytes;
    if (!size(bytes, kBlockBytes)(node, key)) return false;
    if (bytes >= kMinVolumesBytes) return true;
    return fail(node, key,
                fmt::format("is too small; write at least {}, or 0 for no local disks",
                            format_size(kMinVolumesBytes)));
  }
  bool read_write_buffer(const toml::node& node, const std::string& key) {
    uint64_t& bytes = config_.pool.write_buffer_bytes;
    const auto* number = node.as_integer();
    if (number != nullptr && number->get() == 0) {
      bytes = 0;
      return true;
    }
    if (!size(bytes, kBlockBytes)(node, key)) return false;
    if (bytes >= kMinWriteBufferBytes && bytes <= kMaxWriteBufferBytes) return true;
    return fail(node, key,
                fmt::format("is not allowed; write a size from {} to {}, or 0 for no buffer",
                            format_size(kMinWriteBufferBytes), format_size(kMaxWriteBufferBytes)));
  }
  bool read_admission(const toml::node& node, const std::string& key) {
    std::string value;
    if (!text(value)(node, key)) return false;
    const auto mode = policy::admission_mode(value);
    if (!mode) return fail(node, key, "is not allowed; write " + policy::admission_mode_names());
    config_.pool.admission.mode = *mode;
    return true;
  }
  bool read_write_budget(const toml::node& node, const std::string& key) {
    uint64_t& bytes = config_.pool.admission.write_budget_bytes;
    bytes = 0;
    const auto* number = node.as_integer();
    if (number != nullptr && number->get() == 0) return true;
    if (!size(bytes, 1)(node, key)) return false;
    if (bytes >= policy::kMinWriteBudgetBytes) return true;
    return fail(node, key,
                fmt::format("is too small; write at least {} a day, or 0 for no limit",
                            format_size(policy::kMinWriteBudgetBytes)));
  }
  bool read_staging(const toml::node& node, const std::string& key) {
    uint64_t& bytes = config_.pool.admission.staging_bytes;
    return size_or_none(node, key, policy::kMaxStagingBytes, bytes);
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
        {"kind", false, [&](auto& n, auto& k) { return read_kind(n, k, disk); }},
        {"size", true, size(disk.options.size_bytes, kBlockBytes)},
        {"thin", false, [&](auto& n, auto& k) { return read_thin(n, k, disk); }},
        {"cloud", false, [&](auto& n, auto& k) { return read_cloud(n, k, disk); }},
        {"nbd", false, address(disk.nbd)},
        {"vhost", false, unix_address(disk.vhost)},
        {"vhost_queues", false, [&](auto& n, auto& k) { return read_queues(n, k, disk); }},
        {"durability", false, [&](auto& n, auto& k) { return read_durability(n, k, disk); }},
        {"dispatcher", false, [&](auto& n, auto& k) { return read_dispatcher(n, k, disk); }},
        {"read_ahead", false, [&](auto& n, auto& k) { return read_ahead(n, k, disk.options); }},
        {"max_lag", false, [&](auto& n, auto& k) { return read_lag(n, k, disk.options); }},
        {"cloud_log_size", false, [&](auto& n, auto& k) { return read_log_size(n, k, disk); }},
        {"cloud_limits", false, table([&](auto& t, auto& k) {
           return read_cloud_limits(*this, t, k, disk.options.cloud_limits);
         })},
        {"advisor", false, table([&](auto& t, auto& k) {
           return read_advisor(*this, t, k, disk.advisor.emplace());
         })},
    };
    if (!read_table(inner, key, keys) || !check_kind(inner, key, disk)) return false;
    if (disk.advisor &&
        !check_advisor(*this, *inner.get("advisor"), key + ".advisor", disk.options.cloud_limits))
      return false;
    if (disk.nbd || disk.vhost) return true;
    return fail_at(inner.source(), fmt::format("{} {} has neither nbd nor vhost; add one, or both",
                                               key, disk.options.name));
  }
  bool read_kind(const toml::node& node, const std::string& key, DiskConfig& disk) {
    std::string value;
    if (!text(value)(node, key)) return false;
    if (value != "hybrid" && value != "local")
      return fail(node, key, "is not allowed; write \"hybrid\" or \"local\"");
    disk.kind = value == "local" ? DiskKind::local : DiskKind::hybrid;
    return true;
  }
  bool read_thin(const toml::node& node, const std::string& key, DiskConfig& disk) {
    const auto* value = node.as_boolean();
    if (value == nullptr) return fail(node, key, "is not allowed; write true or false");
    disk.thin = value->get();
    return true;
  }
  // What only makes sense for the other kind of disk.
  bool check_kind(const toml::table& inner, const std::string& key, const DiskConfig& disk) {
    if (disk.kind == DiskKind::hybrid) {
      if (const toml::node* thin = inner.get("thin"))
        return fail(*thin, key + ".thin",
                    "contradicts kind = \"hybrid\": only a local disk is thin or thick; remove it, "
                    "or write kind = \"local\"");
      if (inner.contains("cloud")) return true;
      return fail_at(inner.source(),
                     fmt::format("{}.cloud is missing; add it, or write kind = \"local\" for a "
                                 "disk without a cloud side",
                                 key));
    }
    for (const std::string_view name : kCloudKeys)
      if (const toml::node* node = inner.get(name))
        return fail(*node, fmt::format("{}.{}", key, name),
                    "contradicts kind = \"local\": a local disk has no cloud side; remove it, or "
                    "write kind = \"hybrid\"");
    return true;
  }
  bool read_queues(const toml::node& node, const std::string& key, DiskConfig& disk) {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < 1 || number->get() > int64_t{vhost::kMaxQueues})
      return fail(node, key,
                  fmt::format("is not allowed; write a number from 1 to {}", vhost::kMaxQueues));
    disk.vhost_options.queues = static_cast<uint32_t>(number->get());
    return true;
  }
  bool read_name(const toml::node& node, const std::string& key, std::string& name) {
    if (!text(name)(node, key)) return false;
    if (!plain_name(name))
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
    auto parsed =
        CloudAddress::parse(value, [this](const std::string& path_) { return resolve(path_); });
    if (!parsed) return fail(node, key, parsed.error().message, parsed.error().code);
    disk.cloud = parsed.take();
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
  bool read_dispatcher(const toml::node& node, const std::string& key, DiskConfig& disk) {
    std::string value;
    if (!text(value)(node, key)) return false;
    const auto mode = dispatch_mode(value);
    if (!mode) return fail(node, key, "is not allowed; write \"local\", \"wait\" or \"svm\"");
    disk.options.dispatch.mode = *mode;
    return true;
  }
  bool read_ahead(const toml::node& node, const std::string& key, DiskOptions& options) {
    uint64_t& window = options.read_ahead.window_bytes;
    return size_or_none(node, key, ReadAheadOptions::kMaxBytes, window);
  }
  /// A size of whole blocks up to `most`, or "none", which is 0.
  bool size_or_none(const toml::node& node, const std::string& key, uint64_t most,
                    uint64_t& bytes) {
    std::string value;
    if (node.is_string() && text(value)(node, key) && value == "none") {
      bytes = 0;
      return true;
    }
    if (!size(bytes, kBlockBytes)(node, key)) return false;
    if (bytes <= most) return true;
    return fail(node, key, fmt::format("is too large; at most {}, or \"none\"", format_size(most)));
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
  bool read_reactor(const toml::table& inner, const std::string& key) {
    return read_table(inner, key,
                      {{"polling", false, [this](auto& n, auto& k) { return read_polling(n, k); }},
                       {"threads", false, [this](auto& n, auto& k) { return read_threads(n, k); }},
                       {"cores", false, [this](auto& n, auto& k) { return read_cores(n, k); }},
                       {"numa_node", false, [this](auto& n, auto& k) { return read_node(n, k); }}});
  }
  bool read_polling(const toml::node& node, const std::string& key) {
    std::string value;
    if (!text(value)(node, key)) return false;
    const auto* found = std::find_if(kPollings.begin(), kPollings.end(),
                                     [&](const auto& polling) { return polling.first == value; });
    if (found == kPollings.end())
      return fail(node, key, "is not allowed; write \"adaptive\", \"always\" or \"never\"");
    config_.reactor.polling = found->second;
    return true;
  }
  bool read_threads(const toml::node& node, const std::string& key) {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < 1 || number->get() > int64_t{kMaxReactors})
      return fail(node, key,
                  fmt::format("is no number of threads; write one from 1 to {}", kMaxReactors));
    config_.reactor.threads = static_cast<unsigned>(number->get());
    return true;
  }
  bool read_cores(const toml::node& node, const std::string& key) {
    const auto* list = node.as_array();
    if (list == nullptr || list->empty() || list->size() > kMaxReactors)
      return fail(node, key,
                  fmt::format("is no list of cores; write 1 to {}, such as [2, 3]", kMaxReactors));
    for (const toml::node& item : *list) {
      const auto* number = item.as_integer();
      if (number == nullptr || number->get() < 0 || number->get() >= int64_t{kMaxCores})
        return fail(item, key,
                    fmt::format("is no core; write numbers from 0 to {}, as lscpu counts them",
                                kMaxCores - 1));
      const auto core = static_cast<unsigned>(number->get());
      auto& cores = config_.reactor.cores;
      if (std::find(cores.begin(), cores.end(), core) != cores.end())
        return fail(item, key, "is there twice; two threads that poll would share the core");
      cores.push_back(core);
    }
    return true;
  }
  bool read_node(const toml::node& node, const std::string& key) {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < 0 || number->get() >= int64_t{kMaxCores})
      return fail(node, key, "is no NUMA node; write its number, as lscpu counts them");
    const auto cores = cores_of_numa_node(static_cast<unsigned>(number->get()));
    if (!cores) return fail(node, key, "can't be used: " + cores.error().message);
    config_.reactor.node_cores = cores.value();
    return true;
  }
  bool check_reactor(const toml::table& root) {
    ReactorConfig& reactor = config_.reactor;
    const auto& table = root["reactor"];
    if (reactor.cores.empty()) return true;
    if (!reactor.node_cores.empty())
      return fail(*table["numa_node"].node(), "reactor.numa_node",
                  "and reactor.cores both say where threads run; write one of them");
    if (table["threads"] && reactor.threads != reactor.cores.size())
      return fail(*table["threads"].node(), "reactor.threads",
                  fmt::format("and reactor.cores, which names {}, contradict each other; each "
                              "thread has a core",
                              reactor.cores.size()));
    reactor.threads = static_cast<unsigned>(reactor.cores.size());
    return true;
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
    const Set level = [this](const toml::node& node, const std::string& name) {
      return read_log_level(node, name);
    };
    return read_table(
        inner, key,
        {{"socket", false, socket}, {"http", false, http}, {"log_level", false, level}});
  }

  bool read_log_level(const toml::node& node, const std::string& key) {
    std::string value;
    if (!text(value)(node, key)) return false;
    const auto* found = std::find_if(kLogLevels.begin(), kLogLevels.end(),
                                     [&](const auto& level) { return level.first == value; });
    if (found == kLogLevels.end())
      return fail(node, key, "is not allowed; write \"debug\", \"info\", \"warning\" or \"error\"");
    config_.log_level = found->second;
    return true;
  }

  // What only shows when everything is read; `root` was found good as far as each value goes.
  bool check_together(const toml::table& root) {
    if (!check_reactor(root)) return false;
    const uint64_t segment = config_.pool.options.segment_bytes;
    // One segment's worth is kept off for the superblocks.
    // Without a hybrid disk there is a log all the same, an empty one.
    const uint64_t disks = std::max<uint64_t>(1, config_.count(DiskKind::hybrid));
    const uint64_t least = (kMinSegmentsPerDisk * disks + 1) * segment;
    if (config_.pool.size_bytes < least)
      return fail(
          *root["pool"]["size"].node(), "pool.size",
          fmt::format("is too small: {} disk(s) with segments of {} need at least {} ({} "
                      "segments each, and one for the superblocks); make the pool larger "
                      "or pool.segment_size smaller",
                      disks, format_size(segment), format_size(least), kMinSegmentsPerDisk));
    if (config_.pool.volumes_bytes > kMaxDeviceBytes - config_.pool.size_bytes)
      return fail(*root["pool"]["volumes"].node(), "pool.volumes",
                  "and pool.size are more than a device can have; make one smaller");
    const auto& pool = root["pool"]["path"];
    if (!take(*pool.node(), "pool.path", "path " + config_.pool.path)) return false;
    const auto& control = root["control"];
    if (!config_.control_socket.empty() &&
        !take(*control["socket"].node(), "control.socket", "path " + config_.control_socket))
      return false;
    if (config_.http && config_.http->port != 0 &&
        !take(*control["http"].node(), "control.http", config_.http->to_string()))
      return false;
    for (size_t i = 0; i < config_.disks.size(); ++i) {
      const DiskConfig& disk = config_.disks[i];
      const auto& item = root["disk"][i];
      if (!take(*item["name"].node(), "disk.name", "disk " + disk.options.name)) return false;
      if (disk.kind == DiskKind::local && config_.pool.volumes_bytes == 0)
        return fail(*item["kind"].node(), "disk.kind",
                    fmt::format("needs room on the pool's device, which disk {} has not: add "
                                "volumes = \"SIZE\" to [pool]",
                                disk.options.name));
      if (disk.kind == DiskKind::hybrid &&
          !take(*item["cloud"].node(), "disk.cloud", disk.cloud.place()))
        return false;
      if (disk.nbd && !take_address(*item["nbd"].node(), "disk.nbd", *disk.nbd)) return false;
      if (disk.vhost && !take_address(*item["vhost"].node(), "disk.vhost", *disk.vhost))
        return false;
    }
    return true;
  }
  bool take_address(const toml::node& node, const std::string& key, const ListenAddress& address_) {
    const bool unix_socket = address_.kind == ListenAddress::Kind::unix_socket;
    if (!unix_socket && address_.port == 0) return true;  // the kernel chooses one that is free
    return take(node, key, unix_socket ? "path " + address_.path : address_.to_string());
  }
  // Each name, path and address belongs to one key.
  bool take(const toml::node& node, const std::string& key, const std::string& what) {
    for (const Taken& other : taken_)
      if (other.what == what)
        return fail(node, key,
                    fmt::format("is {}, which {} in line {} is already; each needs its own", what,
                                other.key, other.line));
    taken_.push_back(Taken{what, key, node.source().begin.line});
    return true;
  }

  Config config_;
  std::vector<Taken> taken_;
};

}  // namespace

const DiskConfig* Config::find(std::string_view name) const {
  for (const DiskConfig& disk : disks)
    if (disk.options.name == name) return &disk;
  return nullptr;
}

size_t Config::count(DiskKind kind) const {
  return static_cast<size_t>(std::count_if(
      disks.begin(), disks.end(), [&](const DiskConfig& disk) { return disk.kind == kind; }));
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
