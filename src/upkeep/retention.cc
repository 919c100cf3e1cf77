#include "upkeep/retention.h"

#include <re2/re2.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

namespace hansa::upkeep {
namespace {

constexpr std::int64_t pattern_memory = 1024 * 1024;  // bytes of one compiled expression and its states

std::string in_hours(io::Duration duration) {
  constexpr std::int64_t minutes_of_hour = 60;
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(duration).count();
  if (minutes % minutes_of_hour != 0) return std::to_string(minutes) + "m";
  return std::to_string(minutes / minutes_of_hour) + "h";
}

// Later first: by the slow clock, then by what tells two of one tick apart, then by name, so that ties are stable.
bool pushed_later(const Candidate& a, const Candidate& b) {
  return std::tuple(a.pushed_ago, b.mod, a.name) < std::tuple(b.pushed_ago, a.mod, b.name);
}

bool pulled_later(const Candidate& a, const Candidate& b) {
  constexpr io::Duration never = io::Duration::max();
  const auto key = [never](const Candidate& one) { return one.pulled_ago.value_or(never); };
  if (key(a) != key(b)) return key(a) < key(b);
  if (a.pulled_ms != b.pulled_ms) return a.pulled_ms > b.pulled_ms;
  return pushed_later(a, b);
}

using Indices = std::vector<std::size_t>;  // of candidates

class Group {
 public:
  Group(const KeepRules& rules, const std::vector<Candidate>& all, Indices members, std::vector<Decision>& decisions)
      : rules_(rules), all_(all), members_(std::move(members)), decisions_(decisions) {}

  void decide(const std::string& otherwise) {
    if (rules_.unconditional()) return keep_all();
    for (const std::size_t i : members_) decisions_[i] = {false, otherwise};
    top(rules_.most_recently_pulled, pulled_later, "mostRecentlyPulledCount");
    top(rules_.most_recently_pushed, pushed_later, "mostRecentlyPushedCount");
    for (const std::size_t i : members_) {
      const Candidate& one = all_[i];
      if (rules_.pulled_within &&
          std::min(one.pushed_ago, one.pulled_ago.value_or(one.pushed_ago)) < *rules_.pulled_within) {
        keep(i, "pulledWithin " + in_hours(*rules_.pulled_within));
      }
      if (rules_.pushed_within && one.pushed_ago < *rules_.pushed_within) {
        keep(i, "pushedWithin " + in_hours(*rules_.pushed_within));
      }
    }
  }

 private:
  void keep(std::size_t index, const std::string& rule) {
    if (!decisions_[index].keep) decisions_[index] = {true, "kept by " + rule};
  }

  void keep_all() {
    for (const std::size_t i : members_) decisions_[i] = {true, "kept by its pattern"};
  }

  void top(std::size_t count, bool (*before)(const Candidate&, const Candidate&), const std::string& rule) {
    if (count == 0) return;
    const std::size_t taken = std::min(count, members_.size());
    const auto middle = members_.begin() + static_cast<std::ptrdiff_t>(taken);
    std::ranges::partial_sort(members_, middle, [&](std::size_t a, std::size_t b) { return before(all_[a], all_[b]); });
    for (std::size_t i = 0; i < taken; ++i) keep(members_[i], rule + " " + std::to_string(count));
  }

  const KeepRules& rules_;
  const std::vector<Candidate>& all_;
  Indices members_;
  std::vector<Decision>& decisions_;
};

}  // namespace

Result<TagPattern> TagPattern::compile(std::string_view text) {
  if (text.size() > max_tag_pattern) {
    return make_error(ErrorCode::invalid, Subject::config,
                      "a pattern of tags may have " + std::to_string(max_tag_pattern) + " bytes");
  }
  re2::RE2::Options options(re2::RE2::Quiet);
  options.set_max_mem(pattern_memory);
  options.set_never_capture(true);
  TagPattern out;
  out.text_ = text;
  auto expression = std::make_shared<const re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
  if (!expression->ok()) {
    return make_error(ErrorCode::invalid, Subject::config,
                      "\"" + out.text_ + "\" is no regular expression: " + expression->error());
  }
  out.expression_ = std::move(expression);
  return out;
}

bool TagPattern::matches(std::string_view tag) const {
  return re2::RE2::PartialMatch(re2::StringPiece(tag.data(), tag.size()), *expression_);
}

bool KeepRules::applies_to(std::string_view tag) const {
  return patterns.empty() || std::ranges::any_of(patterns, [tag](const TagPattern& one) { return one.matches(tag); });
}

bool KeepRules::unconditional() const {
  return most_recently_pushed == 0 && most_recently_pulled == 0 && !pushed_within && !pulled_within;
}

bool RetentionPolicy::applies_to(const oci::RepositoryName& name) const {
  return std::ranges::any_of(repositories, [&name](const oci::Glob& glob) { return glob.matches(name.text()); });
}

const RetentionPolicy* Retention::policy_of(const oci::RepositoryName& name) const {
  const auto found =
      std::ranges::find_if(policies, [&name](const RetentionPolicy& policy) { return policy.applies_to(name); });
  return found == policies.end() ? nullptr : &*found;
}

std::vector<Decision> decide_tags(const std::vector<KeepRules>& keep, const std::vector<Candidate>& tags) {
  std::vector<Decision> decisions(tags.size());
  if (keep.empty()) return decisions;
  std::vector<Indices> groups(keep.size());
  for (std::size_t i = 0; i < tags.size(); ++i) {
    const auto first = std::ranges::find_if(keep, [&](const KeepRules& one) { return one.applies_to(tags[i].name); });
    if (first == keep.end()) {
      decisions[i] = {false, "no pattern of keepTags matches it"};
    } else {
      groups[static_cast<std::size_t>(first - keep.begin())].push_back(i);
    }
  }
  for (std::size_t i = 0; i < keep.size(); ++i) {
    Group(keep[i], tags, std::move(groups[i]), decisions).decide("no rule of keepTags keeps it");
  }
  return decisions;
}

std::vector<Decision> decide_untagged(const KeepRules& keep, const std::vector<Candidate>& manifests) {
  std::vector<Decision> decisions(manifests.size());
  Indices all(manifests.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  Group(keep, manifests, std::move(all), decisions).decide("no rule of keepUntagged keeps it");
  return decisions;
}

PullTimes::PullTimes(const catalog::StatsRecord* stats) : stats_(stats) {
  if (stats == nullptr || stats->entries.size() < catalog::max_stats_entries) return;
  oldest_ = std::numeric_limits<std::int64_t>::max();
  for (const auto& [reference, count] : stats->entries) oldest_ = std::min(*oldest_, count.measured_ms);
}

LastPull PullTimes::of(const std::string& reference) const {
  if (stats_ == nullptr) return {};
  const auto found = stats_->entries.find(reference);
  if (found == stats_->entries.end()) return {oldest_, 0};
  return {found->second.measured_ms, found->second.last_ms};
}

std::optional<oci::Digest> subject_in_tag(std::string_view tag) {
  constexpr std::string_view prefix = "sha256-";
  constexpr std::size_t hex_digits = 64;
  if (!tag.starts_with(prefix)) return std::nullopt;
  const std::string_view rest = tag.substr(prefix.size());
  if (rest.size() < hex_digits || (rest.size() > hex_digits && rest[hex_digits] != '.')) return std::nullopt;
  auto digest = oci::Digest::parse("sha256:" + std::string(rest.substr(0, hex_digits)));
  if (!digest) return std::nullopt;
  return *std::move(digest);
}

}  // namespace hansa::upkeep
