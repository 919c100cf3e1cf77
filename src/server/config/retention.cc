#include "server/config/retention.h"

#include <limits>

#include "server/config/units.h"

namespace hansa::server::config {
namespace {

constexpr std::string_view section = "storage.retention";

class RetentionReader {
 public:
  explicit RetentionReader(Problems& problems) : problems_(problems) {}

  upkeep::RetentionPolicy policy(const Value& value, const std::string& at) {
    upkeep::RetentionPolicy out;
    out.repositories = compiled<oci::Glob>(value, "repositories", at);
    if (out.repositories.empty()) problems_.warn(at, "has no repositories, so it applies to none");
    out.delete_referrers = flag(value, "deleteReferrers", false);
    out.delete_untagged = flag(value, "deleteUntagged", true);
    if (const Value* list = value.find("keepTags")) {
      limit(list->items.size(), max_keep_tags, at + ".keepTags");
      for (std::size_t i = 0; i < list->items.size(); ++i) {
        out.keep_tags.push_back(rules(list->items[i], at + ".keepTags[" + std::to_string(i) + "]"));
      }
    }
    if (const Value* untagged = value.find("keepUntagged")) {
      out.keep_untagged = rules(*untagged, at + ".keepUntagged");
      if (!out.delete_untagged) problems_.warn(at + ".keepUntagged", "has no effect while deleteUntagged is false");
    }
    return out;
  }

  void limit(std::size_t count, std::size_t most, const std::string& at) {
    if (count > most) problems_.error(at, "has " + std::to_string(count) + " entries; at most " + std::to_string(most));
  }

 private:
  upkeep::KeepRules rules(const Value& value, const std::string& at) {
    upkeep::KeepRules out;
    out.patterns = compiled<upkeep::TagPattern>(value, "patterns", at);
    out.most_recently_pushed = count(value, "mostRecentlyPushedCount", at);
    out.most_recently_pulled = count(value, "mostRecentlyPulledCount", at);
    out.pushed_within = duration(value, "pushedWithin", at);
    out.pulled_within = duration(value, "pulledWithin", at);
    return out;
  }

  template <typename Pattern>
  std::vector<Pattern> compiled(const Value& value, std::string_view key, const std::string& at) {
    std::vector<Pattern> out;
    const Value* list = value.find(key);
    if (list == nullptr) return out;
    const std::string here = at + "." + std::string(key);
    limit(list->items.size(), max_patterns, here);
    for (const Value& item : list->items) {
      auto pattern = Pattern::compile(item.text);
      if (pattern) {
        out.push_back(*std::move(pattern));
      } else {
        problems_.error(here, pattern.error().message);
      }
    }
    return out;
  }

  static bool flag(const Value& value, std::string_view key, bool fallback) {
    const Value* found = value.find(key);
    return found == nullptr ? fallback : parse_bool(found->text).value_or(fallback);
  }

  std::size_t count(const Value& value, std::string_view key, const std::string& at) {
    const Value* found = value.find(key);
    if (found == nullptr) return 0;
    const auto number = parse_integer(found->text);
    if (number && *number >= 0 && *number <= std::numeric_limits<std::int32_t>::max()) {
      return static_cast<std::size_t>(*number);
    }
    problems_.error(at + "." + std::string(key), "must be 0 or a greater number, not \"" + found->text + "\"");
    return 0;
  }

  std::optional<io::Duration> duration(const Value& value, std::string_view key, const std::string& at) {
    const Value* found = value.find(key);
    if (found == nullptr) return std::nullopt;
    const auto parsed = parse_duration(found->text);
    if (parsed && *parsed >= io::Duration::zero()) return parsed;
    problems_.error(at + "." + std::string(key), "must be a duration like 168h, not \"" + found->text + "\"");
    return std::nullopt;
  }

  Problems& problems_;
};

void write(const Value& value, std::string& out) {
  if (value.scalar()) out += "\"" + value.text + "\"";
  for (const Value& item : value.items) {
    write(item, out);
    out += ",";
  }
  for (const Value::Field& field : value.fields) {
    out += field.name + "{";
    write(field.value, out);
    out += "}";
  }
}

}  // namespace

RetentionSection read_retention(const Reader& in, io::Duration gc_delay, Problems& problems) {
  RetentionSection out;
  out.delay = gc_delay;
  const Value* tree = in.find(section);
  if (tree == nullptr) return out;
  write(*tree, out.canonical);
  if (in.has("storage.retention.delay")) out.delay = in.duration("storage.retention.delay");
  if (out.delay < io::Duration::zero()) problems.error("storage.retention.delay", "must not be negative");
  out.rules.dry_run = in.flag("storage.retention.dryRun");
  const Value* policies = in.find("storage.retention.policies");
  if (policies == nullptr) return out;
  RetentionReader reader(problems);
  reader.limit(policies->items.size(), max_policies, "storage.retention.policies");
  for (std::size_t i = 0; i < policies->items.size(); ++i) {
    out.rules.policies.push_back(
        reader.policy(policies->items[i], "storage.retention.policies[" + std::to_string(i) + "]"));
  }
  return out;
}

}  // namespace hansa::server::config
