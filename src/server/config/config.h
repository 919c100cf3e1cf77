// Config: a configuration file as typed values, checked whole. Nothing that a file asks for is silently left out: what
// is unknown, wrong or not built yet is an error that names file and key.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "auth/policy.h"
#include "base/log.h"
#include "base/result.h"
#include "http/server.h"
#include "io/time.h"
#include "server/config/cluster.h"
#include "server/config/limits.h"
#include "server/config/retention.h"

namespace hansa::server::config {

inline constexpr std::string_view spec_version = "1.1.1";
inline constexpr io::Duration least_scrub_interval = std::chrono::hours(2);

struct Storage {
  std::string root;  // absolute
  bool gc = true;
  io::Duration gc_delay = std::chrono::hours(1);
  io::Duration gc_interval = std::chrono::hours(1);
  io::Duration verify_every = std::chrono::hours(24);
  RetentionSection retention{.delay = std::chrono::hours(1), .rules = {}, .canonical = {}};
};

struct Http {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;
  std::string allow_origin;
  io::Duration transfer_timeout = std::chrono::seconds(60);
  std::optional<http::TlsFiles> tls;
  Limits limits;
  std::string realm = "Authorization Required";
  std::string htpasswd;  // path; empty: none
  io::Duration fail_delay{};
  std::shared_ptr<const auth::ConfiguredPolicy> policy;  // null: no accessControl
  bool client_certificates() const { return tls && !tls->client_ca.empty(); }
};

struct Config {
  std::string file;  // empty: the built-in defaults
  Storage storage;
  Http http;
  Cluster cluster;
  LogLevel log_level = LogLevel::info;
  std::string log_output;                      // path; empty: standard output
  std::string audit_output;                    // path of the audit log; empty: none
  std::string metrics_path;                    // empty: not served
  std::optional<io::Duration> scrub_interval;  // absent: no periodic scrub
  std::vector<std::string> warnings;
};

// Reads and checks a file. invalid(config), not_found or io; each line of the message is one mistake, with the file.
Result<Config> load(const std::string& file);

// The same for a text; `file` gives the format and the name in messages.

Result<Config> parse(const std::string& file, std::string_view text);

// What `hansa serve` runs without a configuration. `state` is the folder of the data.
Config built_in(const std::string& state);

// $XDG_STATE_HOME/hansa or ~/.local/state/hansa. invalid(config): neither is known.
Result<std::string> default_state_folder();

}  // namespace hansa::server::config
