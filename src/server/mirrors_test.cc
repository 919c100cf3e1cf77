#include "server/mirrors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace hansa::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string status = R"({"members": [
  {"id": "a", "url": "http://n1.example:5000", "state": "active", "alive": true},
  {"id": "b", "url": "http://n2.example:5000", "state": "active", "alive": false},
  {"id": "c", "url": "http://n3.example:5000", "state": "active", "alive": true},
  {"id": "d", "url": "http://n4.example:5000", "state": "draining", "alive": true},
  {"id": "e", "url": "", "state": "active", "alive": true}]})";

TEST(Mirrors, LivingMembersComeFirstAndThoseThatLeaveAreNotNamed) {
  EXPECT_THAT(mirror_addresses(status, "").value(),
              ElementsAre("http://n1.example:5000", "http://n3.example:5000", "http://n2.example:5000"));
}

TEST(Mirrors, MachinesDoNotAllAskTheSameMemberFirstAndEachKeepsItsOrder) {
  std::set<std::string> first;
  for (int i = 0; i < 32; ++i) {
    const auto order = mirror_addresses(status, "worker" + std::to_string(i)).value();
    EXPECT_EQ(order, mirror_addresses(status, "worker" + std::to_string(i)).value());
    EXPECT_EQ(order.back(), "http://n2.example:5000") << "who is away comes last";
    first.insert(order.front());
  }
  EXPECT_EQ(first.size(), 2U);
}

TEST(Mirrors, NobodyOrNoStatusIsAClearError) {
  EXPECT_EQ(mirror_addresses(R"({"members": [{"id": "a", "url": "", "state": "active"}]})", "").error().code,
            ErrorCode::unavailable);
  EXPECT_EQ(mirror_addresses("[]", "").error().code, ErrorCode::corrupt);
  EXPECT_EQ(mirror_addresses("not JSON", "").error().code, ErrorCode::corrupt);
}

TEST(Mirrors, ContainerdsFileNamesEveryMemberAsAHost) {
  const auto text =
      mirror_file(MirrorFormat::containerd, {"https://n1.example", "https://n2.example"}, "registry.example").value();
  EXPECT_THAT(text, HasSubstr("/etc/containerd/certs.d/registry.example/hosts.toml"));
  EXPECT_THAT(text, HasSubstr("server = \"https://n1.example\"\n"));
  EXPECT_THAT(text, HasSubstr("\n[host.\"https://n2.example\"]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n"));
}

TEST(Mirrors, PodmansFileAsksEachMemberOnceAndMarksPlainHttp) {
  const auto text = mirror_file(MirrorFormat::podman, {"http://n1.example:5000", "https://n2.example"}, "").value();
  EXPECT_EQ(text,
            "# /etc/containers/registries.conf.d/n1.example.conf\n[[registry]]\nprefix = \"n1.example:5000\"\n"
            "location = \"n2.example\"\n\n[[registry.mirror]]\nlocation = \"n1.example:5000\"\ninsecure = true\n");
}

TEST(Mirrors, NamesThatWouldNotStandInTheFileAreRefused) {
  for (const std::string bad : {"a\"b", "Registry", "https://registry.example", "a b", "x\ny"}) {
    EXPECT_EQ(mirror_file(MirrorFormat::podman, {"http://n1:5000"}, bad).error().code, ErrorCode::invalid) << bad;
  }
  EXPECT_EQ(parse_mirror_format("docker").error().code, ErrorCode::invalid);
}

}  // namespace
}  // namespace hansa::server
