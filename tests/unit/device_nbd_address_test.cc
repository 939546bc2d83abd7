#include "device/nbd_address.h"

#include <gtest/gtest.h>

namespace latte {
namespace {

TEST(NbdAddress, UnixSocketWithOptions) {
  const auto parsed = NbdAddress::parse(
      "nbd+unix:///ba%20se?socket=/run/x.sock&log=the-log&connections=7&lease=1500ms");
  ASSERT_TRUE(parsed) << parsed.error().message;
  const NbdAddress& address = parsed.value();
  EXPECT_EQ(address.base_export, "ba se");
  EXPECT_EQ(address.log_export, "the-log");
  EXPECT_EQ(address.socket, "/run/x.sock");
  EXPECT_EQ(address.connections, 7u);
  EXPECT_EQ(address.lease_ns, 1500 * kMillisecond);
  EXPECT_FALSE(address.tls);
}

TEST(NbdAddress, TcpAndTls) {
  auto parsed = NbdAddress::parse("nbd://host/base?log=log");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed.value().host, "host");
  EXPECT_EQ(parsed.value().port, NbdAddress::kDefaultPort);
  parsed = NbdAddress::parse("nbds://[::1]:4444/base?log=log&tls-certificates=/etc/pki");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed.value().host, "::1");
  EXPECT_EQ(parsed.value().port, 4444);
  EXPECT_TRUE(parsed.value().tls);
  EXPECT_EQ(parsed.value().tls_certificates, "/etc/pki");
}

TEST(NbdAddress, RefusesWhatItCannotMean) {
  for (const char* bad : {"nbd:",
                          "nbd:/x",
                          "nbd://",
                          "nbd:///base?log=l",
                          "nbd+unix:///b?log=l",
                          "nbd+unix:///b?socket=/s",
                          "nbd+unix:///b?socket=/s&log=b",
                          "nbd+unix://h/b?socket=/s&log=l",
                          "nbd://h/b?socket=/s&log=l",
                          "nbd://h:0/b?log=l",
                          "nbd://h:65536/b?log=l",
                          "nbd://h:1x/b?log=l",
                          "nbd://[::1/b?log=l",
                          "nbd://[::1]x/b?log=l",
                          "nbd://h/b?log=",
                          "nbd://h/b?log",
                          "nbd://h/b%2?log=l",
                          "nbd://h/b%00?log=l",
                          "nbd://h/b?log=l&lease=1ms",
                          "nbd://h/b?log=l&lease=1h",
                          "nbd://h/b?log=l&lease=s",
                          "nbd://h/b?log=l&connections=0",
                          "nbd://h/b?log=l&connections=17",
                          "nbd://h/b?log=l&what=1",
                          "nbd://h/b?log=l&tls-psk-file=/f",
                          "nbd+vsock://1/b?log=l",
                          "http://h/b?log=l"}) {
    const auto parsed = NbdAddress::parse(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().code, Errc::invalid) << bad;
  }
}

}  // namespace
}  // namespace latte
