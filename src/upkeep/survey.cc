#include "upkeep/survey.h"

#include <limits>

namespace hansa::upkeep {
namespace {

constexpr std::size_t page_rows = 1000;  // looked at in one transaction (trap T7)

Error too_many(const oci::RepositoryName& name) {
  return make_error(ErrorCode::too_many, "repository " + name.text() + " has over " + std::to_string(max_surveyed) +
                                             " tags or untagged manifests; retention leaves it alone");
}

// The record of pulls, if there is one, and the slow clock by which it counts.
struct Pulls {
  std::optional<catalog::StatsRecord> record;
  std::int64_t now_ms = 0;

  // Fills what is known of the pulls of `reference`.
  void tell(const PullTimes& times, const std::string& reference, Candidate& one) const {
    const LastPull last = times.of(reference);
    if (!last.measured_ms) return;
    one.pulled_ago = std::chrono::milliseconds(std::max<std::int64_t>(0, now_ms - *last.measured_ms));
    one.pulled_ms = last.wall_ms;
  }
};

Result<Pulls> read_pulls(catalog::Catalog& catalog, const oci::RepositoryName& name) {
  HANSA_TRY(auto view, catalog.snapshot());
  Pulls pulls;
  HANSA_TRY(pulls.now_ms, view.measured_now());
  HANSA_TRY(auto stored, view.stats(name));
  if (stored) pulls.record = std::move(stored->record);
  return pulls;
}

class TagSurvey {
 public:
  TagSurvey(const oci::RepositoryName& name, const RetentionPolicy& policy, io::Duration grace, const Pulls& pulls)
      : name_(name), policy_(policy), grace_(grace), pulls_(pulls), times_(pulls.record ? &*pulls.record : nullptr) {}

  Result<void> add(catalog::Snapshot& view, catalog::TagDetail entry) {
    const catalog::Revision pushed = entry.record.pushed_at(entry.mod);
    HANSA_TRY(const std::int64_t age, view.measured_age(pushed));
    const io::Duration ago = std::chrono::milliseconds(age);
    if (const auto subject = subject_in_tag(entry.tag.text()))
      return add_of_subject(view, std::move(entry), *subject, ago);
    if (policy_.keep_tags.empty()) return {};
    Candidate one{.name = entry.tag.text(), .pushed_ago = ago, .pulled_ago = {}, .pulled_ms = 0, .mod = pushed};
    pulls_.tell(times_, ":" + entry.tag.text(), one);
    candidates_.push_back(std::move(one));
    tags_.push_back({{std::move(entry.tag), entry.mod}, std::move(entry.record.digest), {}});
    return {};
  }

  std::vector<Expiring> decide() && {
    const auto decisions = decide_tags(policy_.keep_tags, candidates_);
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      if (decisions[i].keep) continue;
      tags_[i].reason = decisions[i].reason;
      expiring_.push_back(std::move(tags_[i]));
    }
    return std::move(expiring_);
  }

  std::size_t size() const { return candidates_.size() + expiring_.size(); }

 private:
  Result<void> add_of_subject(catalog::Snapshot& view, catalog::TagDetail entry, const oci::Digest& subject,
                              io::Duration ago) {
    if (!policy_.delete_referrers || ago < grace_) return {};
    HANSA_TRY(const auto there, view.manifest(name_, subject));
    if (there) return {};
    expiring_.push_back({{std::move(entry.tag), entry.mod}, std::move(entry.record.digest), "its subject is gone"});
    return {};
  }

  const oci::RepositoryName& name_;
  const RetentionPolicy& policy_;
  const io::Duration grace_;
  const Pulls& pulls_;
  const PullTimes times_;
  std::vector<Candidate> candidates_;
  std::vector<Expiring> tags_;  // of the candidates
  std::vector<Expiring> expiring_;
};

}  // namespace

Result<std::vector<Expiring>> expiring_tags(catalog::Catalog& catalog, const oci::RepositoryName& name,
                                            const RetentionPolicy& policy, io::Duration grace) {
  HANSA_TRY(const Pulls pulls, read_pulls(catalog, name));
  TagSurvey survey(name, policy, grace, pulls);
  std::string after;
  while (true) {
    HANSA_TRY(auto view, catalog.snapshot());
    HANSA_TRY(auto page, view.tags_in_detail(name, after, page_rows));
    const bool last = page.size() < page_rows;
    if (!page.empty()) after = page.back().tag.text();
    for (catalog::TagDetail& entry : page) HANSA_CHECK(survey.add(view, std::move(entry)));
    if (survey.size() > max_surveyed) return too_many(name);
    if (last) return std::move(survey).decide();
  }
}

Result<std::set<oci::Digest>> kept_untagged(catalog::Catalog& catalog, const oci::RepositoryName& name,
                                            const KeepRules& rules) {
  HANSA_TRY(const Pulls pulls, read_pulls(catalog, name));
  const PullTimes times(pulls.record ? &*pulls.record : nullptr);
  // Of any age, without a subject, and nothing of the other kinds.
  catalog::SweepRules all;
  all.age = std::numeric_limits<std::uint64_t>::max();
  all.manifest_age = 0;
  all.referrers = false;
  std::optional<catalog::SweepCursor> cursor = catalog::SweepCursor{catalog::SweepKind::manifest, {}, 0};
  std::vector<Candidate> candidates;
  std::vector<oci::Digest> digests;
  while (cursor && cursor->kind == catalog::SweepKind::manifest) {
    HANSA_TRY(auto view, catalog.snapshot());
    HANSA_TRY(auto page, view.sweep_candidates(name, all, *cursor, page_rows));
    cursor = page.next;
    for (const catalog::SweepItem& item : page.items) {
      if (item.kind != catalog::SweepKind::manifest) continue;
      HANSA_TRY(const auto state, view.manifest_record(name, item.digest));
      if (!state) continue;
      const catalog::Revision pushed = state->record.pushed_at(state->mod);
      HANSA_TRY(const std::int64_t age, view.measured_age(pushed));
      Candidate one{.name = item.digest.text(),
                    .pushed_ago = std::chrono::milliseconds(age),
                    .pulled_ago = {},
                    .pulled_ms = 0,
                    .mod = pushed};
      pulls.tell(times, one.name, one);
      candidates.push_back(std::move(one));
      digests.push_back(item.digest);
    }
    if (candidates.size() > max_surveyed) return too_many(name);
  }
  const auto decisions = decide_untagged(rules, candidates);
  std::set<oci::Digest> kept;
  for (std::size_t i = 0; i < decisions.size(); ++i) {
    if (decisions[i].keep) kept.insert(digests[i]);
  }
  return kept;
}

}  // namespace hansa::upkeep
