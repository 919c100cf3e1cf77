// Retention: which tags and untagged manifests of a repository are kept, by the rules of zot's `storage.retention`.
//
//   - The first policy with a matching pattern decides; where none matches, every tag stays.
//   - With `keep_tags`, a tag belongs to the first entry whose patterns match it, and one that belongs to none goes.
//     In an entry any of its rules keeps a tag; one without rules keeps all of its tags.
//   - What is counted ranks by the slow clock and then by revisions, so no wall clock decides (P10); what nobody pulled
//     ranks last.
//
// Pure: decisions about what the caller read. Values are immutable and thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "catalog/member_records.h"
#include "io/time.h"
#include "oci/digest.h"
#include "oci/glob.h"
#include "oci/name.h"

namespace re2 {
class RE2;
}

namespace hansa::upkeep {

inline constexpr std::size_t max_tag_pattern = 1024;  // bytes

// A regular expression in Go's syntax (RE2) that may match anywhere in a tag.
class TagPattern {
 public:
  // invalid(config): not an expression, or over max_tag_pattern.
  static Result<TagPattern> compile(std::string_view text);
  bool matches(std::string_view tag) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::shared_ptr<const re2::RE2> expression_;
};

struct KeepRules {
  std::vector<TagPattern> patterns;  // of tags; none: all
  std::size_t most_recently_pushed = 0;
  std::size_t most_recently_pulled = 0;
  std::optional<io::Duration> pushed_within;
  std::optional<io::Duration> pulled_within;  // or pushed
  bool applies_to(std::string_view tag) const;
  bool unconditional() const;  // no rule but the patterns
};

struct RetentionPolicy {
  std::vector<oci::Glob> repositories;
  bool delete_referrers = false;
  bool delete_untagged = true;
  std::vector<KeepRules> keep_tags;
  std::optional<KeepRules> keep_untagged;
  bool applies_to(const oci::RepositoryName& name) const;
};

struct Retention {
  bool dry_run = false;
  std::vector<RetentionPolicy> policies;
  const RetentionPolicy* policy_of(const oci::RepositoryName& name) const;  // null: none
};

struct Candidate {
  std::string name;                        // tag, or digest's text
  io::Duration pushed_ago{};               // at least; see catalog::measured_since
  std::optional<io::Duration> pulled_ago;  // at least; empty: never pulled
  std::int64_t pulled_ms = 0;              // wall time: an order within one tick
  catalog::Revision mod = 0;               // of the push
};

struct Decision {
  bool keep = true;
  std::string reason;  // for the log, in one phrase
};

// One decision for each candidate.
std::vector<Decision> decide_tags(const std::vector<KeepRules>& keep, const std::vector<Candidate>& tags);
std::vector<Decision> decide_untagged(const KeepRules& keep, const std::vector<Candidate>& manifests);

// When a reference (a digest's text, or ":" + tag) was pulled. The record holds a limited number of them: one that is
// absent from a full record counts as pulled when the oldest of it was, so that nothing goes by what was forgotten.
struct LastPull {
  std::optional<std::int64_t> measured_ms;
  std::int64_t wall_ms = 0;
};
class PullTimes {
 public:
  explicit PullTimes(const catalog::StatsRecord* stats);  // null: nothing was pulled; outlived by it
  LastPull of(const std::string& reference) const;

 private:
  const catalog::StatsRecord* stats_;
  std::optional<std::int64_t> oldest_;  // of a full record
};

// The subject of a tag that names it, as cosign writes signatures and attestations and clients fall back for referrers:
// "sha256-<hex>", "sha256-<hex>.sig". They live and die with the subject and are no candidates.
std::optional<oci::Digest> subject_in_tag(std::string_view tag);

}  // namespace hansa::upkeep
