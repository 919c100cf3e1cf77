// Retention's part of a cycle: tags that a policy does not keep, and what a dry run tells.
#include <algorithm>

#include "io/wait.h"
#include "upkeep/upkeep.h"

namespace hansa::upkeep {
namespace {

constexpr std::size_t round_tags = 1000;  // removed before the policy is asked again: what is kept may have changed
constexpr std::size_t tags_per_commit = catalog::max_sweep_records / 2;
constexpr std::size_t max_told = 1000;  // lines for one repository and cycle

std::string phrase(const catalog::SweepItem& item, const oci::RepositoryName& name) {
  switch (item.kind) {
    case catalog::SweepKind::manifest: return "untagged manifest " + name.text() + "@" + item.digest.text();
    case catalog::SweepKind::link: return "unused blob " + name.text() + "@" + item.digest.text();
    default: return {};  // remains of what went before
  }
}

}  // namespace

catalog::SweepRules Upkeep::rules_for(const oci::RepositoryName& name) const {
  const auto ticks = [this](io::Duration grace) {
    const io::Duration tick = tick_length(options_);
    // Two more, as for the grace time itself: the tick under way counts nothing, and one may have begun meanwhile (H6).
    return static_cast<std::uint64_t>((grace + tick - io::Duration(1)) / tick) + 2;
  };
  catalog::SweepRules rules;
  rules.age = ticks(options_.grace);
  rules.manifest_age = ticks(options_.untagged_grace);
  if (const RetentionPolicy* policy = options_.retention.policy_of(name)) {
    rules.manifests = policy->delete_untagged;
    rules.referrers = policy->delete_referrers;
  }
  return rules;
}

io::Task<Result<Upkeep::Judgement>> Upkeep::judge(oci::RepositoryName name) {
  Judgement out{.rules = rules_for(name), .kept = {}};
  const RetentionPolicy* policy = options_.retention.policy_of(name);
  if (policy == nullptr || !policy->keep_untagged || !policy->delete_untagged) co_return out;
  auto look = [this, &name, policy] { return kept_untagged(ports_.catalog, name, *policy->keep_untagged); };
  auto kept = co_await io::blocking(io::Pool::metadata, std::move(look));
  if (kept) {
    out.kept = *std::move(kept);
  } else if (kept.error().code == ErrorCode::too_many) {
    ports_.log.warn("no untagged manifest is removed", {{"error", kept.error().message}});
    out.rules.manifests = false;
  } else {
    co_return kept.error();
  }
  co_return out;
}

io::Task<Result<std::vector<Expiring>>> Upkeep::expiring_of(oci::RepositoryName name) {
  const RetentionPolicy* policy = options_.retention.policy_of(name);
  if (policy == nullptr || (policy->keep_tags.empty() && !policy->delete_referrers)) {
    co_return std::vector<Expiring>();
  }
  auto look = [this, &name, policy] { return expiring_tags(ports_.catalog, name, *policy, options_.grace); };
  auto expiring = co_await io::blocking(io::Pool::metadata, std::move(look));
  if (expiring || expiring.error().code != ErrorCode::too_many) co_return expiring;
  ports_.log.warn("retention removes no tag", {{"error", expiring.error().message}});
  co_return std::vector<Expiring>();
}

io::Task<Result<void>> Upkeep::expire_repository(oci::RepositoryName name) {
  std::size_t told = 0;
  while (true) {
    HANSA_CO_TRY(auto expiring, co_await expiring_of(name));
    if (expiring.empty()) co_return Result<void>{};
    const bool more = expiring.size() > round_tags;
    if (more) expiring.resize(round_tags);
    for (const Expiring& one : expiring) {
      if (++told > max_told) break;
      ports_.log.info("retention removes a tag", {{"repository", name.text()},
                                                  {"tag", one.tag.tag.text()},
                                                  {"digest", one.digest.text()},
                                                  {"reason", one.reason}});
    }
    HANSA_CO_TRY(const std::size_t removed, co_await expire_tags(name, std::move(expiring)));
    // Without progress another node has the task, or a busy repository won every race: the next cycle goes on.
    if (!more || removed == 0) co_return Result<void>{};
  }
}

io::Task<Result<std::size_t>> Upkeep::expire_tags(oci::RepositoryName name, std::vector<Expiring> expiring) {
  std::size_t removed = 0;
  for (std::size_t at = 0; at < expiring.size(); at += tags_per_commit) {
    HANSA_CO_TRY(const auto leader, co_await collector_.hold());
    if (!leader) break;
    std::vector<catalog::ExpiringTag> chunk;
    for (std::size_t i = at; i < std::min(at + tags_per_commit, expiring.size()); ++i) {
      chunk.push_back(std::move(expiring[i].tag));
    }
    catalog::Planner plan = [&name, &chunk, &leader](const catalog::Planning& planning) {
      return plan_expire(planning, name, chunk, leader);
    };
    HANSA_CO_TRY(const std::size_t count, co_await remove_records(std::move(plan)));
    removed += count;
    expired_tags_ += count;
  }
  co_return removed;
}

// ---- dry run ----------------------------------------------------------------------------------------------------

io::Task<Result<void>> Upkeep::dry_run(std::function<void(const std::string&)> tell) {
  const Turn turn(collecting_);
  if (!turn.mine()) co_return make_error(ErrorCode::conflict, "a collection is under way; wait for its end");
  co_return co_await each_repository(
      [this, &tell](oci::RepositoryName name) { return tell_repository(std::move(name), tell); });
}

io::Task<Result<void>> Upkeep::tell_repository(oci::RepositoryName name,
                                               const std::function<void(const std::string&)>& tell) {
  std::size_t told = 0;
  const auto say = [&told, &tell, &name](const std::string& what, const std::string& why) {
    if (what.empty()) return;
    if (++told < max_told) tell("would remove " + what + " (" + why + ")");
    if (told == max_told) tell("would remove more of repository " + name.text());
  };
  HANSA_CO_TRY(const auto expiring, co_await expiring_of(name));
  for (const Expiring& one : expiring) {
    say("tag " + name.text() + ":" + one.tag.tag.text() + " of " + one.digest.text(), one.reason);
  }
  HANSA_CO_TRY(const auto judgement, co_await judge(name));
  std::optional<catalog::SweepCursor> cursor = catalog::SweepCursor{};
  while (cursor && told < max_told) {
    HANSA_CO_TRY(const auto items, co_await next_removals(name, judgement, cursor));
    for (const catalog::SweepItem& item : items) say(phrase(item, name), "nothing holds it");
  }
  co_return Result<void>{};
}

}  // namespace hansa::upkeep
