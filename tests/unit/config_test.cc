// The configuration: what is read, and that every kind of mistake is named with its place and
// remedy.
#include "control/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "control/config_values.h"

namespace latte {
namespace {

using testing::HasSubstr;

const std::string kPool = "[pool]\npath = \"pool.img\"\nsize = \"1GiB\"\n";
const std::string kDisk =
    "[[disk]]\nname = \"db\"\nsize = \"8GiB\"\ncloud = \"file:cloud/db\"\nnbd = \"unix:db.sock\"\n";

Result<Config> parse(const std::string& text) {
  return parse_config(text, "run.toml", "/srv/latte");
}

std::string error_of(const std::string& text) {
  const auto config = parse(text);
  return config ? "no error" : config.error().message;
}

TEST(Config, ReadsTheContractsExample) {
  const auto config = parse(kPool + kDisk +
                            "durability = \"cloud\"\nmax_lag = \"500ms\"\n"
                            "[control]\nsocket = \"latte.ctl\"\nhttp = \"127.0.0.1:9400\"\n");
  ASSERT_TRUE(config) << config.error().message;
  const Config& c = config.value();
  EXPECT_EQ(c.pool.path, "/srv/latte/pool.img");
  EXPECT_EQ(c.pool.size_bytes, 1u << 30);
  ASSERT_EQ(c.disks.size(), 1u);
  const DiskConfig& disk = c.disks[0];
  EXPECT_EQ(disk.options.name, "db");
  EXPECT_EQ(disk.options.size_bytes, 8ull << 30);
  EXPECT_EQ(disk.options.durability, Durability::cloud);
  EXPECT_EQ(disk.options.max_lag_ns, 500 * kMillisecond);
  EXPECT_EQ(disk.cloud.directory, "/srv/latte/cloud/db");
  ASSERT_TRUE(disk.nbd.has_value());
  EXPECT_EQ(disk.nbd->path, "/srv/latte/db.sock");
  EXPECT_EQ(c.control_socket, "/srv/latte/latte.ctl");
  EXPECT_EQ(c.http->port, 9400);
}

TEST(Config, ReadsWhatThePoolAdmits) {
  const auto config =
      parse(kPool + "admission = \"all\"\nwrite_budget = \"200GB\"\nstaging = \"1GiB\"\n" + kDisk);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config.value().pool.admission.mode, policy::AdmissionMode::all);
  EXPECT_EQ(config.value().pool.admission.write_budget_bytes, 200'000'000'000u);
  EXPECT_EQ(config.value().pool.admission.staging_bytes, 1u << 30);
  const auto none = parse(kPool + "staging = \"none\"\n" + kDisk);
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_EQ(none.value().pool.admission.staging_bytes, 0u);
}

TEST(Config, DefaultsAreTheDocumentedOnes) {
  const auto config = parse(kPool + kDisk);
  ASSERT_TRUE(config) << config.error().message;
  const DiskConfig& disk = config.value().disks[0];
  EXPECT_EQ(disk.options.durability, Durability::local);
  EXPECT_EQ(disk.options.max_lag_ns, 2 * kSecond);
  EXPECT_EQ(disk.options.read_ahead.window_bytes, 4u << 20);
  EXPECT_EQ(disk.cloud_log_bytes, 1u << 30);
  EXPECT_FALSE(disk.options.cloud_limits.any());
  EXPECT_EQ(config.value().pool.options.segment_bytes, 4u << 20);
  EXPECT_EQ(config.value().pool.admission.mode, policy::AdmissionMode::adaptive);
  EXPECT_EQ(config.value().pool.admission.staging_bytes, 64u << 20);
  EXPECT_EQ(config.value().pool.admission.write_budget_bytes, 0u);
  EXPECT_TRUE(config.value().control_socket.empty());
  EXPECT_FALSE(config.value().http);
}

TEST(Config, ReadsOptionalKeys) {
  const auto config =
      parse("[pool]\npath = \"/dev/fast\"\nsize = 1073741824\nsegment_size = \"1MiB\"\n" + kDisk +
            "max_lag = \"none\"\nread_ahead = \"none\"\ncloud_log_size = "
            "\"64MiB\"\n[disk.cloud_limits]\nbandwidth = \"50MiB\"\n"
            "iops = 1000\nburst_iops = 3000\nburst_credits = 5400000\noperation_size = \"16KiB\"\n"
            "[control]\nlog_level = \"warning\"\n");
  ASSERT_TRUE(config) << config.error().message;
  const DiskConfig& disk = config.value().disks[0];
  EXPECT_EQ(config.value().pool.path, "/dev/fast");
  EXPECT_EQ(config.value().pool.options.segment_bytes, 1u << 20);
  EXPECT_EQ(disk.options.max_lag_ns, kNoLagLimit);
  EXPECT_EQ(disk.options.read_ahead.window_bytes, 0u);
  EXPECT_EQ(disk.cloud_log_bytes, 64u << 20);
  EXPECT_EQ(disk.options.cloud_limits.bytes.per_second, 50u << 20);
  EXPECT_EQ(disk.options.cloud_limits.operations.per_second, 1000u);
  EXPECT_EQ(disk.options.cloud_limits.operations.burst_per_second, 3000u);
  EXPECT_EQ(disk.options.cloud_limits.operations.burst_credits, 5'400'000u);
  EXPECT_EQ(disk.options.cloud_limits.operation_bytes, 16u << 10);
  EXPECT_EQ(config.value().log_level, LogLevel::warning);
}

TEST(Config, ReadsAdvisorAndPrices) {
  const auto config = parse(
      kPool + kDisk +
      "[disk.cloud_limits]\niops = 3000\n[disk.advisor]\nperiod = \"6h\"\nmin_iops = 3000\n"
      "max_iops = 16000\nstep = 500\nhook = [\"bin/set-iops\", \"vol-7\"]\nhook_timeout = \"5s\"\n"
      "[price]\ncurrency = \"USD\"\ngib_month = 0.08\niops_month = 0.005\nfree_iops = 3000\n"
      "mibs_month = 0.04\nfree_mibs = 125\nmillion_operations = 0\n");
  ASSERT_TRUE(config) << config.error().message;
  const auto& advisor = config.value().disks[0].advisor;
  ASSERT_TRUE(advisor.has_value());
  EXPECT_EQ(advisor->period_ns, 6 * 3600 * kSecond);
  EXPECT_EQ(advisor->limits.max_iops, 16000u);
  EXPECT_EQ(advisor->limits.step_iops, 500u);
  EXPECT_EQ(advisor->hook, (std::vector<std::string>{"/srv/latte/bin/set-iops", "vol-7"}));
  EXPECT_EQ(advisor->hook_limit_ns, 5 * kSecond);
  EXPECT_EQ(config.value().prices.currency, "USD");
  EXPECT_DOUBLE_EQ(config.value().prices.iops_month, 0.005);
}

struct Mistake {
  const char* name;
  std::string text;
  std::string expected;
};

class ConfigMistake : public testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistake, IsNamed) {
  EXPECT_THAT(error_of(GetParam().text), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    Each, ConfigMistake,
    testing::Values(
        Mistake{"Syntax", "[pool\n", "run.toml:1:"},
        Mistake{"SyntaxThreeBrackets", "[[[", "run.toml:1:"},
        Mistake{"SyntaxNoKey", "[=]\n", "run.toml:1:"},
        Mistake{"SyntaxLetterInWrongPlace", "\xc3\xa9 = 1\n", "run.toml:1:"},
        Mistake{"Empty", "", "pool is missing; add it"},
        Mistake{"NoDisk", kPool, "disk is missing"},
        Mistake{
            "UnknownKey", kPool + "sise = 1\n" + kDisk,
            "run.toml:4:1: pool.sise is no known key; allowed here are path, size, volumes, "
            "segment_size, write_buffer, write_buffer_directory, admission, write_budget, staging"},
        Mistake{"Admission", kPool + "admission = \"lru\"\n" + kDisk,
                "write \"none\", \"all\", \"s3fifo\" or \"adaptive\""},
        Mistake{"WriteBudgetTooSmall", kPool + "write_budget = \"1MiB\"\n" + kDisk,
                "write at least 64 MiB a day, or 0"},
        Mistake{"StagingTooLarge", kPool + "staging = \"1TiB\"\n" + kDisk,
                "at most 64 GiB, or \"none\""},
        Mistake{"UnknownTable", kPool + kDisk + "[metrics]\n", "metrics is no known key"},
        Mistake{"WrongType", "[pool]\npath = 7\n", "run.toml:2:8: pool.path = 7 is no text"},
        Mistake{"DiskNotAList", kPool + "[disk]\nname = \"db\"\n", "write [[disk]]"},
        Mistake{"SizeUnit", "[pool]\npath = \"p\"\nsize = \"1gb\"\n", "is no size"},
        Mistake{"SizeDecimal", "[pool]\npath = \"p\"\nsize = \"1GB\"\n",
                "is no multiple of 4096 bytes; the next one is 1000001536"},
        Mistake{"SizeNegative", "[pool]\npath = \"p\"\nsize = -1\n", "is negative"},
        Mistake{"SizeZero", "[pool]\npath = \"p\"\nsize = 0\n", "is nothing"},
        Mistake{"SizeHuge", "[pool]\npath = \"p\"\nsize = \"9000000TiB\"\n", "is no size"},
        Mistake{"SizeNotAMultiple", "[pool]\npath = \"p\"\nsize = 1000000\n",
                "run.toml:3:8: pool.size = 1000000 is no multiple of 4096 bytes; the next one is "
                "1003520"},
        Mistake{"PoolTooSmall", "[pool]\npath = \"p\"\nsize = \"8MiB\"\n" + kDisk,
                "run.toml:3:8: pool.size = '8MiB' is too small: 1 disk(s) with segments of 4 MiB "
                "need "
                "at least 12 MiB"},
        Mistake{"WriteBufferTooSmall", kPool + "write_buffer = \"64KiB\"\n" + kDisk,
                "write a size from 1 MiB to 1 GiB, or 0"},
        Mistake{"SegmentSize", kPool + "segment_size = \"3MiB\"\n" + kDisk, "power of two"},
        Mistake{"Duration", kPool + kDisk + "max_lag = \"2 seconds\"\n", "is no duration"},
        Mistake{"DurationZero", kPool + kDisk + "max_lag = \"0s\"\n", "is no duration"},
        Mistake{"Durability", kPool + kDisk + "durability = \"both\"\n", "\"local\" or \"cloud\""},
        Mistake{"Dispatcher", kPool + kDisk + "dispatcher = \"cloud\"\n",
                "\"local\", \"wait\" or \"svm\""},
        Mistake{"ReadAheadTooLarge", kPool + kDisk + "read_ahead = \"1GiB\"\n", "at most 16 MiB"},
        Mistake{"ReadAheadWord", kPool + kDisk + "read_ahead = \"some\"\n", "read_ahead"},
        Mistake{"RbdNoImage", kPool + "[[disk]]\nname = \"a\"\ncloud = \"rbd:pool\"\n",
                "write rbd:POOL/IMAGE"},
        Mistake{"RbdSnapshot", kPool + "[[disk]]\nname = \"a\"\ncloud = \"rbd:pool/a@b\"\n",
                "\"a@b\" is no image's name"},
        Mistake{"RbdOption", kPool + "[[disk]]\nname = \"a\"\ncloud = \"rbd:p/a?user=b\"\n",
                "there is no option \"user\""},
        Mistake{"RbdOptionTwice", kPool + "[[disk]]\nname = \"a\"\ncloud = \"rbd:p/a?id=b&id=c\"\n",
                "there twice"},
        Mistake{"RbdNoValue", kPool + "[[disk]]\nname = \"a\"\ncloud = \"rbd:p/a?conf=\"\n",
                "has no value"},
        Mistake{"Nbd", kPool + "[[disk]]\nname = \"a\"\ncloud = \"nbd:x\"\n", "is no NBD address"},
        Mistake{"Cloud", kPool + "[[disk]]\nname = \"a\"\ncloud = \"/srv\"\n",
                "write file:DIRECTORY"},
        Mistake{"Name", kPool + "[[disk]]\nname = \"a b\"\n", "is no name"},
        Mistake{"LongName", kPool + "[[disk]]\nname = \"" + std::string(64, 'a') + "\"\n",
                "has 64 bytes"},
        Mistake{"Address", kPool + "[[disk]]\nnbd = \"127.0.0.1:10809\"\n", "is no address"},
        Mistake{"LongSocket", kPool + "[[disk]]\nnbd = \"unix:" + std::string(120, 'a') + "\"\n",
                "at most 107"},
        Mistake{"Http", kPool + kDisk + "[control]\nhttp = \"9400\"\n", "write HOST:PORT"},
        Mistake{"SmallLog", kPool + kDisk + "cloud_log_size = \"1MiB\"\n", "is too small"},
        Mistake{"Iops", kPool + kDisk + "[disk.cloud_limits]\niops = 0\n",
                "is no number of operations; write a whole number from 1"},
        Mistake{
            "BurstAlone", kPool + kDisk + "[disk.cloud_limits]\niops = 5\nburst_iops = 9\n",
            "disk.cloud_limits.burst_iops = 9 needs iops, burst_iops and burst_credits together"},
        Mistake{"CreditsAlone", kPool + kDisk + "[disk.cloud_limits]\nburst_bytes = \"1TiB\"\n",
                "needs bandwidth, burst_bandwidth and burst_bytes together"},
        Mistake{
            "BurstBelow",
            kPool + kDisk + "[disk.cloud_limits]\niops = 5\nburst_iops = 5\nburst_credits = 9\n",
            "is not above iops"},
        Mistake{"AdvisorWithoutIops",
                kPool + kDisk + "[disk.advisor]\nmin_iops = 1\nmax_iops = 2\n",
                "write cloud_limits.iops"},
        Mistake{"AdvisorBounds", kPool + kDisk + "[disk.advisor]\nmin_iops = 3\nmax_iops = 2\n",
                "is above max_iops"},
        Mistake{"AdvisorPeriod",
                kPool + kDisk + "[disk.advisor]\nmin_iops = 3\nmax_iops = 4\nperiod = \"1s\"\n",
                "at least \"10s\""},
        Mistake{"AdvisorHook",
                kPool + kDisk + "[disk.advisor]\nmin_iops = 3\nmax_iops = 4\nhook = \"a b\"\n",
                "write a program's path and its arguments"},
        Mistake{"PriceNegative",
                kPool + kDisk + "[price]\ncurrency = \"USD\"\niops_month = -0.005\n",
                "is no price; write a number from 0"},
        Mistake{"PriceWithoutCurrency", kPool + kDisk + "[price]\ngib_month = 1\n",
                "price.currency is missing"},
        Mistake{"OperationSize", kPool + kDisk + "[disk.cloud_limits]\noperation_size = \"1GiB\"\n",
                "at most 16 MiB"},
        Mistake{"TwoNames", kPool + kDisk + kDisk,
                "run.toml:10:8: disk.name = 'db' is disk db, which disk.name in line 5 is already"},
        Mistake{"TwoSockets",
                kPool + kDisk +
                    "[[disk]]\nname = \"b\"\nsize = 4096\ncloud = \"file:b\"\nnbd = "
                    "\"unix:./db.sock\"\n",
                "is path /srv/latte/db.sock, which disk.nbd in line 8 is already"},
        Mistake{"TwoClouds",
                kPool + kDisk +
                    "[[disk]]\nname = \"b\"\nsize = 4096\ncloud = \"file:cloud/x/../db/\"\nnbd = "
                    "\"unix:b\"\n",
                "is path /srv/latte/cloud/db, which disk.cloud in line 7 is already"},
        Mistake{"ControlSocketIsDisks", kPool + kDisk + "[control]\nsocket = \"db.sock\"\n",
                "is path /srv/latte/db.sock, which control.socket in line 10 is already"},
        Mistake{"NoFrontEnd", kPool + "[[disk]]\nname = \"a\"\nsize = 4096\ncloud = \"file:a\"\n",
                "disk a has neither nbd nor vhost; add one, or both"},
        Mistake{"VhostOverTcp", kPool + "[[disk]]\nvhost = \"tcp:127.0.0.1:1\"\n",
                "guest memory can't be shared over TCP, write unix:PATH"},
        Mistake{"VhostQueues", kPool + kDisk + "vhost_queues = 17\n", "a number from 1 to 16"},
        Mistake{"Polling", kPool + kDisk + "[reactor]\npolling = \"often\"\n",
                "\"adaptive\", \"always\" or \"never\""},
        Mistake{"Core", kPool + kDisk + "[reactor]\ncores = [1024]\n", "numbers from 0 to 1023"},
        Mistake{"CoreIsNoNumber", kPool + kDisk + "[reactor]\ncores = [\"0\"]\n", "is no core"},
        Mistake{"NoCores", kPool + kDisk + "[reactor]\ncores = []\n", "write 1 to 64"},
        Mistake{"CoreTwice", kPool + kDisk + "[reactor]\ncores = [1, 1]\n", "is there twice"},
        Mistake{"NoThreads", kPool + kDisk + "[reactor]\nthreads = 0\n", "from 1 to 64"},
        Mistake{"ThreadsAndCores", kPool + kDisk + "[reactor]\nthreads = 3\ncores = [0, 1]\n",
                "contradict each other"},
        Mistake{"NumaNode", kPool + kDisk + "[reactor]\nnuma_node = 999\n", "`lscpu` lists"},
        Mistake{"VhostSocketIsNbds", kPool + kDisk + "vhost = \"unix:db.sock\"\n",
                "is path /srv/latte/db.sock, which disk.nbd in line 8 is already"},
        Mistake{"TwoTcpPorts",
                kPool + "[[disk]]\nname = \"a\"\nsize = 4096\ncloud = \"file:a\"\nnbd = "
                        "\"tcp:127.0.0.1:9400\"\n[control]\nhttp = \"127.0.0.1:9400\"\n",
                "which control.http in line 10 is already"},
        Mistake{"CloudIsThePool",
                kPool + "[[disk]]\nname = \"a\"\nsize = 4096\ncloud = \"file:pool.img\"\nnbd = "
                        "\"unix:a\"\n",
                "which pool.path in line 2 is already"},
        Mistake{"LogLevel", kPool + kDisk + "[control]\nlog_level = \"loud\"\n",
                "\"warning\" or \"error\""}),
    [](const auto& mistake) { return std::string(mistake.param.name); });

TEST(Config, VhostAloneIsEnough) {
  const auto config = parse_config(
      kPool +
          "[[disk]]\nname = \"a\"\nsize = 4096\ncloud = \"file:a\"\nvhost = \"unix:a.vhost\"\n"
          "vhost_queues = 2\n[reactor]\npolling = \"never\"\ncores = [3, 1]\n",
      "run.toml", "/srv/latte");
  ASSERT_TRUE(config.ok()) << config.error().message;
  const DiskConfig& disk = config.value().disks[0];
  EXPECT_FALSE(disk.nbd.has_value());
  ASSERT_TRUE(disk.vhost.has_value());
  EXPECT_EQ(disk.vhost->path, "/srv/latte/a.vhost");
  EXPECT_EQ(disk.vhost_options.queues, 2u);
  EXPECT_EQ(disk.vhost_options.polling, Polling::never);
  EXPECT_EQ(config.value().reactor.polling, Polling::never);
  EXPECT_EQ(config.value().reactor.threads, 2u);
  EXPECT_EQ(config.value().reactor.cores, (std::vector<unsigned>{3, 1}));
}

TEST(Config, ReadsLocalDisks) {
  const std::string local =
      "[[disk]]\nname = \"fast\"\nkind = \"local\"\nsize = \"4GiB\"\nthin = true\n"
      "nbd = \"unix:fast.sock\"\n";
  const auto config = parse(kPool + "volumes = \"10GiB\"\n" + kDisk + local);
  ASSERT_TRUE(config) << config.error().message;
  const Config& c = config.value();
  EXPECT_EQ(c.pool.volumes_bytes, 10ull << 30);
  EXPECT_EQ(c.pool.device_bytes(), 11ull << 30);
  EXPECT_EQ(c.disks[0].kind, DiskKind::hybrid);
  EXPECT_EQ(c.disks[1].kind, DiskKind::local);
  EXPECT_TRUE(c.disks[1].thin);
  EXPECT_EQ(c.disks[1].cloud.kind, CloudKind::none);
  EXPECT_EQ(c.count(DiskKind::local), 1u);
  EXPECT_TRUE(parse(kPool + "volumes = \"10GiB\"\n" + local)) << "local disks alone";
  EXPECT_TRUE(parse(kPool + "volumes = 0\n" + kDisk));
}

TEST(Config, RbdCloud) {
  const auto disk = [](const std::string& name, const std::string& cloud) {
    return "[[disk]]\nname = \"" + name + "\"\nsize = \"1GiB\"\ncloud = \"" + cloud +
           "\"\nnbd = \"unix:" + name + ".sock\"\n";
  };
  const auto config =
      parse(kPool + disk("a", "rbd:fast/vm-1") + disk("b", "rbd:fast/vm-1?conf=b.conf&id=latte"));
  ASSERT_TRUE(config) << config.error().message;
  const CloudAddress& plain = config.value().disks[0].cloud;
  EXPECT_EQ(plain.kind, CloudKind::rbd);
  EXPECT_EQ(plain.rbd.pool, "fast");
  EXPECT_EQ(plain.rbd.image, "vm-1");
  EXPECT_EQ(plain.rbd.conf, "");
  EXPECT_EQ(plain.to_string(), "rbd:fast/vm-1");
  const CloudAddress& other = config.value().disks[1].cloud;
  EXPECT_EQ(other.rbd.conf, "/srv/latte/b.conf") << "another cluster, so another image";
  EXPECT_EQ(other.rbd.id, "latte");
  const auto twice = parse(kPool + disk("a", "rbd:fast/vm-1") + disk("b", "rbd:fast/vm-1?id=x"));
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message.find("each needs its own"), std::string::npos);
}

TEST(Config, NamesWhatContradictsTheKindOfADisk) {
  const std::string pool = kPool + "volumes = \"1GiB\"\n";
  const std::string local =
      "[[disk]]\nname = \"a\"\nkind = \"local\"\nsize = \"1MiB\"\nnbd = \"unix:a\"\n";
  for (const char* key : {"cloud = \"file:x\"", "durability = \"local\"", "max_lag = \"2s\"",
                          "cloud_log_size = \"64MiB\"", "cloud_limits = {iops = 1}"})
    EXPECT_THAT(error_of(pool + local + key + "\n"), HasSubstr("contradicts kind = \"local\""))
        << key;
  EXPECT_THAT(error_of(pool + kDisk + "thin = true\n"),
              HasSubstr("disk.thin = true contradicts kind = \"hybrid\""));
  EXPECT_THAT(error_of(pool + "[[disk]]\nname = \"a\"\nsize = \"1MiB\"\nnbd = \"unix:a\"\n"),
              HasSubstr("disk.cloud is missing"));
  EXPECT_THAT(error_of(kPool + local), HasSubstr("add volumes = \"SIZE\" to [pool]"));
  EXPECT_THAT(error_of(kPool + "volumes = \"1MiB\"\n" + local), HasSubstr("at least 4 MiB"));
  EXPECT_THAT(error_of(pool + "[[disk]]\nkind = \"fast\"\n"), HasSubstr("\"hybrid\" or \"local\""));
  EXPECT_THAT(error_of(pool + local + "thin = 1\n"), HasSubstr("true or false"));
  EXPECT_THAT(error_of("[pool]\npath = \"p\"\nsize = \"4MiB\"\nvolumes = \"1GiB\"\n" + local),
              HasSubstr("pool.size"));
}

TEST(ConfigValues, SizesAndDurations) {
  const std::pair<const char*, uint64_t> sizes[] = {{"0", 0},
                                                    {"4096", 4096},
                                                    {"1B", 1},
                                                    {"4KiB", 4096},
                                                    {"1 GiB", 1 << 30},
                                                    {"50MB", 50'000'000},
                                                    {"3kB", 3000},
                                                    {"3KB", 3000},
                                                    {"2GB", 2'000'000'000},
                                                    {"8TiB", 8ull << 40},
                                                    {"1TB", 1'000'000'000'000}};
  for (const auto& [text, bytes] : sizes) {
    const auto size = parse_size(text);
    ASSERT_TRUE(size) << text;
    EXPECT_EQ(size.value(), bytes) << text;
  }
  for (const char* wrong : {"", " ", "GiB", "-1", "+1", "1.5GiB", "1  GiB", "1gib", "1 GiB ",
                            "0x10", "8388608TiB", "99999999999999999999"})
    EXPECT_FALSE(parse_size(wrong)) << wrong;
  EXPECT_EQ(parse_duration("1ms").value(), kMillisecond);
  EXPECT_EQ(parse_duration("24h").value(), kMaxDurationNs);
  for (const char* wrong : {"", "2", "0ms", "25h", "1d", "1.5s", "-1s", "none"})
    EXPECT_FALSE(parse_duration(wrong)) << wrong;
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(50'000'000), "47.7 MiB");
  EXPECT_EQ(format_duration_s(7500), "2 h 5 min");
}

TEST(Config, RefusesMoreDisksThanAPoolHas) {
  std::string text = "[pool]\npath = \"p\"\nsize = \"64GiB\"\n";
  for (size_t i = 0; i <= kMaxDisks; ++i) text += "[[disk]]\n";
  EXPECT_THAT(error_of(text), HasSubstr("at most 32"));
}

// Letters beyond ASCII where the parser looks for white space.
TEST(Config, BearsLettersBeyondAscii) {
  EXPECT_TRUE(parse("# caf\u00e9 \u3001\n" + kPool + kDisk));
  EXPECT_THAT(error_of("caf\u00e9 = 1\n"), HasSubstr("run.toml:1:"));
  EXPECT_THAT(error_of("a \u00e9= 1\n"), HasSubstr("run.toml:1:"));
  EXPECT_THAT(error_of("a =\u3001 1\n"), HasSubstr("run.toml:1:"));
}

TEST(Config, MissingFileAndDirectoryAreErrors) {
  EXPECT_EQ(load_config("/nonexistent/run.toml").error().code, Errc::not_found);
  EXPECT_EQ(load_config("/").error().code, Errc::invalid);
}

TEST(ConfigValues, FormatsForPeople) {
  EXPECT_EQ(format_size(1ull << 30), "1 GiB");
  EXPECT_EQ(format_size(3ull << 29), "1.5 GiB");
  EXPECT_EQ(format_size(100), "100 B");
  EXPECT_EQ(format_duration_s(59), "59 s");
  EXPECT_EQ(format_duration_s(200), "3 min 20 s");
  EXPECT_EQ(format_duration_s(7500), "2 h 5 min");
}

}  // namespace
}  // namespace latte
