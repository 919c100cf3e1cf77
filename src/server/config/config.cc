#include "server/config/config.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "server/config/check.h"
#include "server/config/reader.h"
#include "server/config/units.h"
#include "upkeep/upkeep.h"

namespace hansa::server::config {
namespace {

Storage read_storage(const Reader& in, Problems& problems) {
  Storage out;
  const std::string root = in.text("storage.rootDirectory");
  if (root.empty()) {
    problems.error("storage.rootDirectory", "is missing; name the folder that holds the data");
  } else {
    out.root = std::filesystem::absolute(root).lexically_normal().string();
    while (out.root.size() > 1 && out.root.ends_with('/')) out.root.pop_back();
  }
  out.gc = in.flag("storage.gc");
  out.gc_delay = in.duration("storage.gcDelay");
  out.gc_interval = in.duration("storage.gcInterval");
  out.verify_every = in.duration("storage.verifyEvery");
  for (const char* key : {"storage.gcDelay", "storage.gcInterval", "storage.verifyEvery"}) {
    if (in.duration(key) < io::Duration::zero()) problems.error(key, "must not be negative");
    const bool of_gc = std::string_view(key) != "storage.verifyEvery";
    if (!out.gc && of_gc && in.has(key) && in.duration(key) != io::Duration::zero()) {
      problems.warn(key, "has no effect while storage.gc is false");
    }
  }
  if (out.gc && out.gc_interval == io::Duration::zero()) {
    problems.error("storage.gcInterval",
                   "0 (collect once) is not built yet; use a duration, or set storage.gc to false");
  }
  out.retention = read_retention(in, out.gc_delay, problems);
  const std::pair<const char*, io::Duration> graces[] = {{"storage.gcDelay", out.gc_delay},
                                                         {"storage.retention.delay", out.retention.delay}};
  for (const auto& [key, grace] : graces) {
    if (out.gc && in.has(key) && grace >= io::Duration::zero() && grace < upkeep::smallest_grace) {
      problems.warn(key, "is raised to " + format_duration(upkeep::smallest_grace));
    }
  }
  if (!out.gc && in.has("storage.retention")) {
    problems.warn("storage.retention", "has no effect while storage.gc is false");
  }
  return out;
}

std::optional<http::TlsFiles> read_tls(const Reader& in, Problems& problems) {
  if (!in.has("http.tls")) return std::nullopt;
  http::TlsFiles tls{
      .certificate = in.text("http.tls.cert"), .key = in.text("http.tls.key"), .client_ca = in.text("http.tls.cacert")};
  if (tls.certificate.empty()) problems.error("http.tls.cert", "is missing; TLS needs both cert and key");
  if (tls.key.empty()) problems.error("http.tls.key", "is missing; TLS needs both cert and key");
  return tls;
}

void check_client_certificates(const Reader& in, const Http& http, Problems& problems) {
  if (!in.has("http.auth.mtls")) return;
  if (!http.client_certificates()) {
    problems.error("http.auth.mtls", "needs http.tls.cert, http.tls.key and http.tls.cacert");
  }
  for (const auto& name : in.texts("http.auth.mtls.identityAttributes")) {
    const std::string attribute = lower(name);
    if (attribute == "commonname" || attribute == "cn") continue;
    const bool known = attribute == "subject" || attribute == "dn" || attribute == "email" ||
                       attribute == "rfc822name" || attribute == "uri" || attribute == "url" ||
                       attribute == "dnsname" || attribute == "dns";
    problems.error("http.auth.mtls.identityAttributes",
                   "\"" + name + "\" is " + (known ? "not built yet" : "unknown") + "; use CommonName");
  }
}

void read_port(const Reader& in, Http& http, Problems& problems) {
  const std::string text = in.text("http.port");
  const auto number = text.empty() ? std::optional<std::int64_t>(0) : parse_integer(text);
  if (!number || *number < 0 || *number > 65535) {
    problems.error("http.port", "must be a number from 0 to 65535, not \"" + text + "\"");
    return;
  }
  http.port = static_cast<std::uint16_t>(*number);
}

Http read_http(const Reader& in, Problems& problems) {
  Http out;
  out.address = in.text("http.address");
  if (out.address.empty()) out.address = Http{}.address;
  read_port(in, out, problems);
  out.allow_origin = in.text("http.allowOrigin");
  out.realm = in.text("http.realm");
  if (out.realm.empty()) out.realm = Http{}.realm;
  out.transfer_timeout = std::max(in.duration("http.readTimeout"), in.duration("http.writeTimeout"));
  constexpr io::Duration no_limit = std::chrono::hours(24 * 365);
  if (out.transfer_timeout <= io::Duration::zero()) out.transfer_timeout = no_limit;
  for (const auto& name : in.texts("http.compat")) {
    if (name != "docker2s2") problems.error("http.compat", "\"" + name + "\" is unknown; the only value is docker2s2");
  }
  out.tls = read_tls(in, problems);
  out.limits = read_limits(in, problems);
  out.htpasswd = in.text("http.auth.htpasswd.path");
  if (in.has("http.auth.htpasswd") && out.htpasswd.empty()) {
    problems.error("http.auth.htpasswd.path", "is missing; name the file with users and passwords (htpasswd -B)");
  }
  constexpr std::int64_t longest_fail_delay = 3600;
  const std::int64_t fail_delay = in.integer("http.auth.failDelay");
  if (fail_delay < 0 || fail_delay > longest_fail_delay) {
    problems.error("http.auth.failDelay", "must be from 0 to 3600 seconds");
  } else {
    out.fail_delay = std::chrono::seconds(fail_delay);
  }
  check_client_certificates(in, out, problems);
  out.policy = read_policy(in, problems);
  const bool methods = !out.htpasswd.empty() || out.client_certificates();
  if (out.policy && !methods && !out.policy->only_anonymous()) {
    problems.error(
        "http.accessControl",
        "names users, but there is no way to log in; set http.auth.htpasswd.path, or use anonymousPolicy alone");
  }
  return out;
}

ClusterDefaults cluster_defaults(const Http& http) {
  return {.address = http.address, .port = http.port, .tls = http.tls.has_value()};
}

LogLevel read_level(const Reader& in, Problems& problems) {
  const std::string level = lower(in.text("log.level"));
  if (level == "debug" || level == "trace") return LogLevel::debug;
  if (level == "info" || level.empty()) return LogLevel::info;
  if (level == "warn" || level == "warning") return LogLevel::warn;
  if (level == "error" || level == "fatal" || level == "panic") return LogLevel::error;
  problems.error("log.level", "must be debug, info, warn or error, not \"" + level + "\"");
  return LogLevel::info;
}

void read_extensions(const Reader& in, Config& out, Problems& problems) {
  if (in.has("extensions.metrics") && in.flag("extensions.metrics.enable")) {
    const std::string path = in.text("extensions.metrics.prometheus.path");
    const bool clean = path.starts_with('/') && std::filesystem::path(path).lexically_normal().string() == path;
    if (!clean || path == "/" || path == "/v2" || path.starts_with("/v2/") || path.ends_with('/')) {
      problems.error("extensions.metrics.prometheus.path",
                     "must be a plain path like /metrics, neither / nor below /v2, not \"" + path + "\"");
    }
    out.metrics_path = path;
  }
  if (in.has("extensions.scrub") && in.flag("extensions.scrub.enable")) {
    out.scrub_interval = in.duration("extensions.scrub.interval");
    if (*out.scrub_interval < least_scrub_interval) {
      problems.warn("extensions.scrub.interval", "is raised to " + format_duration(least_scrub_interval));
      out.scrub_interval = least_scrub_interval;
    }
  }
}

std::string lines(const std::string& file, const std::vector<std::string>& list) {
  std::string out;
  for (const auto& line : list) out += (out.empty() ? "" : "\n") + file + ": " + line;
  return out;
}

}  // namespace

Result<Config> parse(const std::string& file, std::string_view text) {
  HANSA_TRY(const Value tree, parse_file(file, text));
  Problems problems;
  const auto schema = make_schema();
  const Value checked = check(tree, *schema, problems);
  const Reader in(checked);
  Config out;
  out.file = file;
  if (in.text("distSpecVersion") != spec_version) {
    problems.warn("distSpecVersion",
                  "is \"" + in.text("distSpecVersion") + "\", but " + std::string(spec_version) + " is served");
  }
  out.storage = read_storage(in, problems);
  out.http = read_http(in, problems);
  out.cluster = read_cluster(in, cluster_defaults(out.http), problems);
  out.log_level = read_level(in, problems);
  out.log_output = in.text("log.output");
  out.audit_output = in.text("log.audit");
  read_extensions(in, out, problems);
  if (!problems.errors.empty()) return make_error(ErrorCode::invalid, Subject::config, lines(file, problems.errors));
  out.warnings = problems.warnings;
  return out;
}

Result<Config> load(const std::string& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) {
    return make_error(ErrorCode::not_found, Subject::config, file + ": there is no such configuration file");
  }
  if (std::filesystem::is_directory(status)) {
    return make_error(ErrorCode::invalid, Subject::config, file + ": is a folder, not a configuration file");
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(max_config_file + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream.is_open() || stream.bad()) {
    return make_error(ErrorCode::io, Subject::config, file + ": cannot be read; check its permissions");
  }
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return parse(file, text);
}

Config built_in(const std::string& state) {
  Config out;
  out.storage.root = state;
  out.http.port = 5000;
  out.metrics_path = "/metrics";
  out.cluster = default_cluster(cluster_defaults(out.http));
  return out;
}

Result<std::string> default_state_folder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::string(state) + "/hansa";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.local/state/hansa";
  return make_error(ErrorCode::invalid, Subject::config,
                    "there is neither XDG_STATE_HOME nor HOME, so it is not clear where the data goes; "
                    "name a folder in a configuration: hansa serve CONFIG");
}

}  // namespace hansa::server::config
