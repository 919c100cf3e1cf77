#include "pki/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include "pki/files.h"
#include "sim/ports/contract_rigs_test.h"

namespace hansa::pki {
namespace {

using namespace std::chrono_literals;

// Runs openssl; whether it ended well.
bool openssl(std::vector<std::string> words) {
  words.insert(words.begin(), "openssl");
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  int status = -1;
  return ::posix_spawnp(&pid, "openssl", nullptr, nullptr, arguments.data(), environ) == 0 &&
         ::waitpid(pid, &status, 0) == pid && status == 0;
}

class AuthorityTest : public testing::Test {
 protected:
  std::string put(const std::string& name, const std::string& text) {
    const std::string path = rig.folder() + "/" + name;
    EXPECT_TRUE(replace_file(rig.disk(), path, text, io::OpenMode::create_private));
    return path;
  }
  std::string issue(const std::string& node, std::vector<std::string> hosts) {
    return issue_certificate(authority, {.node = node, .hosts = std::move(hosts)}, public_key_of(key).value(), now)
        .value();
  }

  sim::RealRig rig;
  const io::WallTime now = rig.clock().wall();
  const Authority authority = create_authority(now).value();
  const std::string key = make_key().value();
};

TEST_F(AuthorityTest, OpensslBelievesAMembersCertificateForServingAndCalling) {
  const auto ca = put("ca.crt", authority.certificate);
  const auto node = put("node.crt", issue("a1", {"alpha.example", "192.0.2.7", "2001:db8::7"}));
  for (const char* purpose : {"sslserver", "sslclient"}) {
    EXPECT_TRUE(openssl({"verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca, node})) << purpose;
  }
  for (const char* host : {"alpha.example", "a1.node.hansa"}) {
    EXPECT_TRUE(openssl({"verify", "-CAfile", ca, "-verify_hostname", host, node})) << host;
  }
  EXPECT_TRUE(openssl({"verify", "-CAfile", ca, "-verify_ip", "192.0.2.7", node}));
  EXPECT_FALSE(openssl({"verify", "-CAfile", ca, "-verify_hostname", "b2.node.hansa", node}));
}

TEST_F(AuthorityTest, AnotherAuthorityDoesNotVouch) {
  const auto other = put("other.crt", create_authority(now).value().certificate);
  EXPECT_FALSE(openssl({"verify", "-CAfile", other, put("node.crt", issue("a1", {}))}));
}

TEST_F(AuthorityTest, AMemberCannotIssue) {
  const Authority member{.certificate = issue("a1", {}), .key = key};
  const auto ca = put("ca.crt", authority.certificate);
  const auto forged = issue_certificate(member, {.node = "b2", .hosts = {}}, public_key_of(key).value(), now);
  ASSERT_TRUE(forged);
  EXPECT_FALSE(
      openssl({"verify", "-CAfile", ca, "-untrusted", put("a.crt", member.certificate), put("b.crt", *forged)}));
}

TEST_F(AuthorityTest, ServesTheAuthorityAlongSoThatItsFingerprintCanBeChecked) {
  const std::string chain = issue("a1", {});
  EXPECT_EQ(authority_fingerprint(chain.substr(chain.rfind("-----BEGIN"))).value(),
            authority_fingerprint(authority.certificate).value());
  EXPECT_EQ(authority_fingerprint(authority.certificate)->size(), 64U);
}

TEST_F(AuthorityTest, ACertificateIsRenewedWhenAThirdOfItsLifeIsLeft) {
  const auto info = inspect_certificate(issue("a1", {"alpha.example", "192.0.2.7"})).value();
  EXPECT_THAT(info.names, testing::ElementsAre("a1.node.hansa", "alpha.example", "192.0.2.7"));
  EXPECT_FALSE(renewal_due(info, now));
  EXPECT_FALSE(renewal_due(info, now + certificate_life * 2 / 3 - 2h));
  EXPECT_TRUE(renewal_due(info, now + certificate_life * 2 / 3 + 2h));
  EXPECT_TRUE(renewal_due(info, now + certificate_life + 2h));
  EXPECT_TRUE(renewal_due(info, now - 48h));
}

TEST_F(AuthorityTest, KnowsWhetherACertificateNamesAMachineThatHasAnotherAddressNow) {
  const auto pem = issue("a1", {"localhost", "alpha.example", "192.0.2.7", "2001:db8::7"});
  EXPECT_TRUE(names_all(pem, {}).value());
  EXPECT_TRUE(names_all(pem, {"localhost", "alpha.example", "192.0.2.7", "2001:db8:0::7"}).value());
  EXPECT_FALSE(names_all(pem, {"localhost", "192.0.2.8"}).value());
  EXPECT_FALSE(names_all(pem, {"beta.example"}).value());
  EXPECT_EQ(names_all("no certificate", {"localhost"}).error().code, ErrorCode::corrupt);
}

TEST_F(AuthorityTest, RefusesNamesAndKeysThatCannotBeUsed) {
  const std::string fit = public_key_of(key).value();
  EXPECT_FALSE(issue_certificate(authority, {.node = "a1", .hosts = {"a b"}}, fit, now));
  EXPECT_FALSE(issue_certificate(authority, {.node = "a1", .hosts = {""}}, fit, now));
  EXPECT_FALSE(issue_certificate(authority, {.node = "a1", .hosts = {}}, "no key", now));
  EXPECT_EQ(inspect_certificate("no certificate").error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace hansa::pki
