#include "pki/join.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "pki/files.h"
#include "pki/join_token.h"
#include "sim/ports/contract_rigs_test.h"

namespace hansa::pki {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr io::WallTime now{std::chrono::hours(24 * 20'000)};

class JoinTest : public testing::Test {
 protected:
  std::string token(std::uint64_t generation = 1, io::WallTime expiry = now + join_token_life) const {
    return make_join_token(terms.folder.secret, fingerprint, generation, expiry);
  }
  JoinRequest request(std::string with) const {
    return {.token = std::move(with),
            .node = "b2",
            .public_key = public_key_of(key).value(),
            .hosts = {"beta.example"},
            .peer = "beta.example:5443",
            .url = "http://beta.example:5000",
            .etcd_host = "beta.example",
            .etcd_peer_port = 5380};
  }
  std::string refusal(const std::string& with, std::uint64_t generation = 1, io::WallTime at = now) const {
    const auto checked = check_join_token(with, terms.folder.secret, fingerprint, generation, at);
    if (checked) return "good";
    EXPECT_EQ(checked.error().code, ErrorCode::denied);
    return checked.error().message;
  }

  const std::string key = make_key().value();
  const JoinTerms terms{.folder = {.cluster = "c0ffee",
                                   .secret = "5ec2e7",
                                   .managed = true,
                                   .endpoints = {"https://alpha.example:5379"},
                                   .peers = {"alpha.example:5443"}},
                        .authority = create_authority(now).value(),
                        .generation = 1,
                        .etcd_quota = 4096,
                        .now = now};
  const std::string fingerprint = authority_fingerprint(terms.authority.certificate).value();
};

TEST_F(JoinTest, ATokenIsGoodUntilItExpiresOrIsRevoked) {
  EXPECT_EQ(refusal(token()), "good");
  EXPECT_EQ(refusal(token(), 1, now + join_token_life - 1s), "good");
  EXPECT_THAT(refusal(token(), 1, now + join_token_life), HasSubstr("has expired"));
  EXPECT_THAT(refusal(token(), 2), HasSubstr("was revoked"));
}

TEST_F(JoinTest, AnyChangedCharacterOfATokenRefusesIt) {
  const std::string good = token();
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] = changed[i] == '7' ? '8' : '7';
    EXPECT_NE(refusal(changed), "good") << i;
  }
  EXPECT_NE(refusal(good.substr(0, good.size() - 1)), "good");
  EXPECT_NE(refusal(""), "good");
  EXPECT_THAT(refusal(make_join_token("other", fingerprint, 1, now + 1h)), HasSubstr("not of this cluster"));
}

TEST_F(JoinTest, AJoinUrlCarriesAddressTokenAndFingerprint) {
  const auto url = parse_join_url(join_url("alpha.example:5443", token()));
  ASSERT_TRUE(url) << describe(url.error());
  EXPECT_EQ(url->address, "alpha.example:5443");
  EXPECT_EQ(url->fingerprint, fingerprint);
  EXPECT_EQ(url->token, token());
}

TEST_F(JoinTest, AnythingElseIsNoJoinUrl) {
  const std::string good = token();
  for (const std::string& url :
       {std::string(), "http://a:1/#" + good, std::string("hansa://a:1/"), "hansa://a/#" + good, "hansa://:1/#" + good,
        "hansa://a:0/#" + good, "hansa://a:70000/#" + good, "hansa://u@a:1/#" + good, std::string("hansa://a:1/#abc"),
        std::string(2000, 'h')}) {
    const auto parsed = parse_join_url(url);
    ASSERT_FALSE(parsed) << url;
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid);
  }
}

TEST_F(JoinTest, MessagesComeBackAsTheyWereSent) {
  const auto sent = request(token());
  const auto got = decode_join_request(encode(sent)).value();
  EXPECT_EQ(encode(got), encode(sent));
  EXPECT_EQ(got.etcd_peer_port, 5380);
  const auto answer = answer_join(terms, sent).value();
  const auto kept = decode_join_answer(encode(answer)).value();
  EXPECT_EQ(encode(kept), encode(answer));
  EXPECT_EQ(kept.folder.secret, "5ec2e7");
  EXPECT_LE(encode(answer).size(), max_join_message);
}

TEST_F(JoinTest, WhatCannotBeUnderstoodIsSaid) {
  for (const char* text : {"", "[]", "{}", "{\"token\":1}"}) {
    EXPECT_EQ(decode_join_request(text).error().code, ErrorCode::invalid) << text;
    EXPECT_EQ(decode_join_answer(text).error().code, ErrorCode::invalid) << text;
  }
  EXPECT_FALSE(decode_join_request(std::string(max_join_message + 1, ' ')));
  std::string changed = encode(request(token()));
  changed.replace(changed.find("5380"), 4, "70000");
  EXPECT_FALSE(decode_join_request(changed));
}

TEST_F(JoinTest, AMemberLetsInWhoeverHasAGoodTokenOnly) {
  const auto answer = answer_join(terms, request(token()));
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_THAT(inspect_certificate(answer->certificate)->names, testing::ElementsAre("b2.node.hansa", "beta.example"));
  EXPECT_EQ(answer_join(terms, request(token(0))).error().code, ErrorCode::denied);
  auto odd = request(token());
  odd.node = "b2.node.hansa,DNS:x";
  EXPECT_EQ(answer_join(terms, odd).error().code, ErrorCode::invalid);
}

TEST_F(JoinTest, AJoinedMachineKeepsWhatItGot) {
  sim::RealRig rig;
  const auto answer = answer_join(terms, request(token())).value();
  EXPECT_FALSE(read_cluster_folder(rig.disk(), rig.folder()).value());
  ASSERT_TRUE(keep_join_answer(rig.disk(), rig.folder(), answer, key));
  const auto folder = read_cluster_folder(rig.disk(), rig.folder()).value();
  ASSERT_TRUE(folder);
  EXPECT_EQ(folder->cluster, "c0ffee");
  EXPECT_EQ(folder->peers, terms.folder.peers);
  const ClusterPaths paths = cluster_paths(rig.folder());
  EXPECT_EQ(read_file(rig.disk(), paths.certificate).value(), answer.certificate);
  for (const auto& secret : {paths.state, paths.ca_key, paths.key}) {
    struct stat info{};
    ASSERT_EQ(::stat(secret.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U) << secret;
  }
  auto other = answer;
  other.folder.cluster = "another";
  EXPECT_EQ(keep_join_answer(rig.disk(), rig.folder(), other, key).error().code, ErrorCode::conflict);
}

TEST_F(JoinTest, ABrokenClusterFolderIsSaidAndNeverTakenForNone) {
  sim::RealRig rig;
  ASSERT_TRUE(write_cluster_folder(rig.disk(), rig.folder(), terms.folder));
  for (const char* text : {"", "{}", "{\"format\":2}", "{\"format\":1,\"cluster\":\"a\"}"}) {
    ASSERT_TRUE(replace_file(rig.disk(), cluster_paths(rig.folder()).state, text, io::OpenMode::create));
    const auto read = read_cluster_folder(rig.disk(), rig.folder());
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::corrupt);
  }
}

}  // namespace
}  // namespace hansa::pki
