#include "registry/ticket.h"

#include <gtest/gtest.h>

namespace hansa::registry {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view secret = "the cluster's";
const io::WallTime now{std::chrono::sys_days(std::chrono::year(2026) / 11 / 25)};

oci::RepositoryName name(std::string_view text) {
  return oci::RepositoryName::parse(text).value();
}
oci::Digest digest(std::string_view content) {
  return oci::Digest::compute(oci::Algorithm::sha256, as_bytes(content));
}
std::string ticket() {
  return make_ticket(secret, name("team/app"), digest("layer"), now);
}

std::string refusal(std::string_view text, std::string_view repository, std::string_view content, io::WallTime when,
                    std::string_view key = secret) {
  const auto checked = check_ticket(key, text, name(repository), digest(content), when);
  if (checked) return "";
  EXPECT_EQ(checked.error().code, ErrorCode::denied);
  return checked.error().message;
}

TEST(Ticket, OpensItsBlobInItsRepositoryForAWhile) {
  EXPECT_EQ(refusal(ticket(), "team/app", "layer", now), "");
  EXPECT_EQ(refusal(ticket(), "team/app", "layer", now + ticket_life), "");
  EXPECT_EQ(refusal(ticket(), "team/app", "layer", now - 1min), "") << "the other's clock is behind";
}

TEST(Ticket, IsWorthNothingForAnythingElse) {
  EXPECT_NE(refusal(ticket(), "team/lib", "layer", now), "");
  EXPECT_NE(refusal(ticket(), "team/app", "other layer", now), "");
  EXPECT_NE(refusal(ticket(), "team/app", "layer", now, "another cluster's"), "");
}

TEST(Ticket, Expires) {
  EXPECT_NE(refusal(ticket(), "team/app", "layer", now + ticket_life + 1s).find("expired"), std::string::npos);
  EXPECT_NE(refusal(ticket(), "team/app", "layer", now - 10min), "") << "longer than any ticket may live";
}

TEST(Ticket, NothingOfItCanBeChanged) {
  const std::string good = ticket();
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == '0' ? '1' : '0';
    EXPECT_NE(refusal(bad, "team/app", "layer", now), "") << bad;
    EXPECT_NE(refusal(good.substr(0, i), "team/app", "layer", now), "");
  }
  EXPECT_NE(refusal(good + "0", "team/app", "layer", now), "");
  EXPECT_NE(refusal("", "team/app", "layer", now), "");
}

}  // namespace
}  // namespace hansa::registry
