#include "http/client_network.h"

#include <gtest/gtest.h>

namespace hansa::http {
namespace {

TEST(ClientNetwork, AnIPv4AddressIsOneClient) {
  EXPECT_EQ(client_network("192.0.2.1"), "192.0.2.1");
  EXPECT_NE(client_network("192.0.2.1"), client_network("192.0.2.2"));
}

TEST(ClientNetwork, IPv6ClientsAreKnownByTheirFirst64Bits) {
  EXPECT_EQ(client_network("2001:db8:0:1::1"), "2001:db8:0:1::/64");
  EXPECT_EQ(client_network("2001:db8:0:1:ffff:ffff:ffff:ffff"), "2001:db8:0:1::/64");
  EXPECT_NE(client_network("2001:db8:0:2::1"), client_network("2001:db8:0:1::1"));
  EXPECT_EQ(client_network("::1"), "::/64");
}

TEST(ClientNetwork, WhatIsNoAddressStandsForItself) {
  EXPECT_EQ(client_network(""), "");
  EXPECT_EQ(client_network("a:b"), "a:b");
}

}  // namespace
}  // namespace hansa::http
