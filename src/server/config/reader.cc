#include "server/config/reader.h"

#include "server/config/units.h"

namespace hansa::server::config {
namespace {

std::vector<std::string> texts_of(const Value* list) {
  std::vector<std::string> out;
  if (list == nullptr) return out;
  for (const Value& item : list->items) out.push_back(item.text);
  return out;
}

auth::ActionSet read_actions(const Value* list, const std::string& path, Problems& problems) {
  auth::ActionSet out;
  for (const auto& name : texts_of(list)) {
    const auto action = auth::parse_action(name);
    if (action) {
      out.add(*action);
    } else if (name == "detectManifestCollision") {
      problems.error(path, "the action detectManifestCollision is not built yet; remove it");
    } else {
      problems.error(path, "\"" + name + "\" is no action; there are read, create, update and delete");
    }
  }
  return out;
}

auth::Grant read_grant(const Value& value, const std::string& path, Problems& problems) {
  return {.users = texts_of(value.find("users")),
          .groups = texts_of(value.find("groups")),
          .actions = read_actions(value.find("actions"), path + ".actions", problems)};
}

auth::RepositoryPolicy read_repository(const std::string& pattern, const Value& value, Problems& problems) {
  const std::string path = "http.accessControl.repositories." + pattern;
  auth::RepositoryPolicy out{.pattern = pattern, .policies = {}, .default_actions = {}, .anonymous_actions = {}};
  if (const Value* policies = value.find("policies")) {
    for (std::size_t i = 0; i < policies->items.size(); ++i) {
      const std::string place = path + ".policies[" + std::to_string(i) + "]";
      out.policies.push_back(read_grant(policies->items[i], place, problems));
    }
  }
  out.default_actions = read_actions(value.find("defaultPolicy"), path + ".defaultPolicy", problems);
  out.anonymous_actions = read_actions(value.find("anonymousPolicy"), path + ".anonymousPolicy", problems);
  if (const auto glob = oci::Glob::compile(pattern); !glob) problems.error(path, glob.error().message);
  return out;
}

}  // namespace

Reader::Reader(const Value& tree) : tree_(tree) {
  for (const Key* key : key_table()) defaults_.emplace(key->path, key->fallback);
}

const Value* Reader::find(std::string_view path) const {
  const Value* at = &tree_;
  while (at != nullptr) {
    const std::size_t dot = path.find('.');
    at = at->find(path.substr(0, dot));
    if (dot == std::string_view::npos) return at;
    path.remove_prefix(dot + 1);
  }
  return nullptr;
}

std::string Reader::text(std::string_view path) const {
  const Value* value = find(path);
  return value != nullptr ? value->text : defaults_.find(path)->second;
}

std::vector<std::string> Reader::texts(std::string_view path) const {
  return texts_of(find(path));
}

bool Reader::flag(std::string_view path) const {
  return parse_bool(text(path)).value_or(false);
}

std::int64_t Reader::integer(std::string_view path) const {
  return parse_integer(text(path)).value_or(0);
}

io::Duration Reader::duration(std::string_view path) const {
  return parse_duration(text(path)).value_or(io::Duration::zero());
}

std::shared_ptr<const auth::ConfiguredPolicy> read_policy(const Reader& in, Problems& problems) {
  if (!in.has("http.accessControl")) return nullptr;
  auth::PolicyOptions options;
  const std::size_t before = problems.errors.size();
  if (const Value* repositories = in.find("http.accessControl.repositories")) {
    for (const auto& [pattern, value] : repositories->fields) {
      options.repositories.push_back(read_repository(pattern, value, problems));
    }
  }
  if (const Value* admin = in.find("http.accessControl.adminPolicy")) {
    options.admin = read_grant(*admin, "http.accessControl.adminPolicy", problems);
  }
  if (const Value* groups = in.find("http.accessControl.groups")) {
    for (const auto& [name, group] : groups->fields) options.groups[name] = texts_of(group.find("users"));
  }
  options.metrics_users = in.texts("http.accessControl.metrics.users");
  const Value* anonymous = in.find("http.accessControl.metrics.anonymousPolicy");
  options.metrics_anonymous =
      read_actions(anonymous, "http.accessControl.metrics.anonymousPolicy", problems).has(auth::Action::read);
  if (problems.errors.size() > before) return nullptr;
  auto policy = auth::ConfiguredPolicy::make(std::move(options));
  if (policy) return *policy;
  problems.error("http.accessControl", policy.error().message);
  return nullptr;
}

}  // namespace hansa::server::config
