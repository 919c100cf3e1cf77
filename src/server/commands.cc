#include "server/commands.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "io/asio/event_loops.h"
#include "io/asio/posix_disk.h"
#include "server/application.h"
#include "server/cluster_commands.h"
#include "server/command_parts.h"
#include "server/config/check.h"
#include "server/config/key_table.h"
#include "server/gc_command.h"
#include "server/import.h"
#include "server/version.h"

namespace hansa::server {
namespace {

constexpr int failed = command_failed;
constexpr int usage = command_usage;
constexpr std::uint64_t most_scrub_rate = 1'000'000;  // MiB a second

void announce(const Application& application) {
  const auto& config = application.config();
  const std::string host = config.http.address + ":" + std::to_string(application.port());
  std::printf(
      "hansa: registry at http://%s, data in %s; push with: skopeo copy --dest-tls-verify=false "
      "docker://docker.io/library/alpine:3 docker://%s/alpine:3\n",
      host.c_str(), config.storage.root.c_str(), host.c_str());
  std::fflush(stdout);
}

int serve(const std::string& file, const std::string& join) {
  block_signals();
  auto loaded = load_or_default(file);
  if (!loaded) return fail(loaded.error());
  const auto clock = io::asio::real_clock();
  const bool terminal = loaded->log_output.empty() && ::isatty(STDOUT_FILENO) == 1;
  auto log = ServerLog::open(*clock, {.level = loaded->log_level, .file = loaded->log_output, .text = terminal});
  if (!log) return fail(log.error());
  const LogLevel level = loaded->log_level;
  // Without a configuration the first line is for the person who typed the command.
  if (file.empty()) (*log)->set_level(LogLevel::warn);
  Application application(std::move(*loaded), *clock, **log, join);
  const auto started = application.start();
  if (!started) {
    application.stop();
    return fail(started.error());
  }
  if (file.empty()) announce(application);
  (*log)->set_level(level);
  (*log)->info("serving", {{"version", version},
                           {"address", application.config().http.address},
                           {"port", static_cast<int>(application.port())},
                           {"tls", application.config().http.tls.has_value()},
                           {"root", application.config().storage.root}});
  application.run();
  application.stop();
  return 0;
}

int verify(const std::string& file) {
  const auto loaded = config::load(file);
  if (!loaded) return fail(loaded.error());
  for (const auto& warning : loaded->warnings) {
    std::fprintf(stderr, "hansa: %s: warning: %s\n", file.c_str(), warning.c_str());
  }
  std::printf("%s: the configuration is valid\n", file.c_str());
  return 0;
}

// A node without a listener, for commands that work on a folder that no server uses.
class OfflineNode {
 public:
  explicit OfflineNode(ServerLog& log)
      : clock_(io::asio::real_clock()),
        random_(io::asio::real_random()),
        disk_(io::asio::posix_disk()),
        loops_(1),
        log_(log) {}
  ~OfflineNode() {
    if (node_) io::asio::run_and_wait(executor(), stop(node_.get()));
    loops_.stop();
  }
  OfflineNode(const OfflineNode&) = delete;
  OfflineNode& operator=(const OfflineNode&) = delete;

  Result<void> start(node::Options options) {
    options.gc = false;
    options.scrub_interval = {};
    Result<std::unique_ptr<node::Node>> started = make_error(ErrorCode::internal, "the node did not start");
    const node::Ports ports{.disk = *disk_, .clock = *clock_, .random = *random_, .executor = executor(), .log = log_};
    io::asio::run_and_wait(executor(), start_into(ports, std::move(options), &started));
    if (!started) return std::move(started).error();
    node_ = std::move(*started);
    return {};
  }
  io::Executor& executor() { return loops_.executor(0); }
  node::Node& node() { return *node_; }

 private:
  static io::Task<void> start_into(node::Ports ports, node::Options options, Result<std::unique_ptr<node::Node>>* out) {
    *out = co_await node::Node::start(ports, std::move(options));
  }
  static io::Task<void> stop(node::Node* node) { co_await node->stop(); }

  std::unique_ptr<io::Clock> clock_;
  std::unique_ptr<io::Random> random_;
  std::unique_ptr<io::Disk> disk_;
  io::asio::EventLoops loops_;
  ServerLog& log_;
  std::unique_ptr<node::Node> node_;
};

io::Task<void> scrub_into(node::Node* node, std::uint64_t rate, Result<blob::ScrubReport>* out) {
  *out = co_await node->scrub(nullptr, rate);
}

struct ScrubFindings {
  std::size_t corrupt = 0;
  std::size_t unreadable = 0;
};

int print_scrub(std::uint64_t checked, std::uint64_t bytes, const ScrubFindings& found) {
  std::printf("%llu blobs checked (%llu bytes), %zu corrupt\n", static_cast<unsigned long long>(checked),
              static_cast<unsigned long long>(bytes), found.corrupt);
  if (found.corrupt > 0) {
    std::printf("what is corrupt was moved to the folder \"quarantine\" and is not served; push it again to heal it\n");
  }
  if (found.unreadable > 0) {
    std::printf("%zu cannot be read: the disk gives errors for them; look at its state, and replace it\n",
                found.unreadable);
  }
  return found.corrupt + found.unreadable == 0 ? 0 : failed;
}

int scrub_offline(const config::Config& config, std::uint64_t rate, ServerLog& log) {
  OfflineNode offline(log);
  if (const auto started = offline.start(node_options(config)); !started) {
    return fail(Error(started.error()).with_context("cannot open the data in " + config.storage.root));
  }
  Result<blob::ScrubReport> report = make_error(ErrorCode::internal, "the scrub did not run");
  io::asio::run_and_wait(offline.executor(), scrub_into(&offline.node(), rate, &report));
  if (!report) return fail(report.error());
  for (const auto& digest : report->corrupt) std::printf("corrupt %s\n", digest.text().c_str());
  for (const auto& digest : report->unreadable) std::printf("unreadable %s\n", digest.text().c_str());
  return print_scrub(report->checked, report->checked_bytes,
                     {.corrupt = report->corrupt.size(), .unreadable = report->unreadable.size()});
}

// The lines of the running server (see control.h) as a person reads them.
struct ScrubLines {
  ScrubFindings found;
  bool done = false;
  int code = failed;

  void take(std::string_view line) {
    std::istringstream words{std::string(line)};
    std::string kind;
    words >> kind;
    if (kind == "corrupt") {
      ++found.corrupt;
      std::printf("%s\n", std::string(line).c_str());
    } else if (kind == "unreadable") {
      ++found.unreadable;
      std::printf("%s\n", std::string(line).c_str());
    } else if (kind == "done") {
      std::uint64_t checked = 0;
      std::uint64_t bytes = 0;
      words >> checked >> bytes;
      done = true;
      code = print_scrub(checked, bytes, found);
    } else if (kind == "error") {
      done = true;
      std::fprintf(stderr, "hansa: the running server says: %s\n", std::string(line.substr(6)).c_str());
    } else if (kind == "progress" && ::isatty(STDERR_FILENO) == 1) {
      std::fprintf(stderr, "%s\n", std::string(line).c_str());
    }
  }
};

// `rate`: bytes a second; 0: any.
int scrub(const std::string& file, std::uint64_t rate) {
  const auto config = load_or_default(file);
  if (!config) return fail(config.error());
  std::error_code ignored;
  if (!std::filesystem::is_directory(config->storage.root, ignored)) {
    return fail(
        make_error(ErrorCode::not_found, config->storage.root + ": there is no such folder, so nothing to check"));
  }
  ScrubLines lines;
  // A server of before this command had a rate knows it without one.
  const std::string command = rate == 0 ? "scrub" : "scrub " + std::to_string(rate);
  const auto asked = ask_server(config->storage.root, command, [&lines](std::string_view line) { lines.take(line); });
  if (asked && lines.done) return lines.code;
  if (asked) return fail(make_error(ErrorCode::disconnected, "the running server ended before the scrub did"));
  if (asked.error().code != ErrorCode::not_found) return fail(asked.error());
  const auto clock = io::asio::real_clock();
  const auto log = quiet_log(*clock);
  if (!log) return fail(log.error());
  return scrub_offline(*config, rate, **log);
}

struct ImportArguments {
  std::string source;
  std::string config;
  std::string root;
  std::string repository;
  bool copy = false;
};

Result<config::Config> import_target(const ImportArguments& arguments) {
  if (arguments.root.empty()) return load_or_default(arguments.config);
  if (!arguments.config.empty()) {
    return make_error(ErrorCode::invalid, "name either a configuration or --root, not both");
  }
  return built_in_at(arguments.root);
}

int import_command(const ImportArguments& arguments) {
  const auto config = import_target(arguments);
  if (!config) return fail(config.error());
  std::string source = std::filesystem::absolute(arguments.source).lexically_normal().string();
  while (source.size() > 1 && source.ends_with('/')) source.pop_back();
  const auto clock = io::asio::real_clock();
  const auto log = quiet_log(*clock);
  if (!log) return fail(log.error());
  OfflineNode offline(**log);
  if (auto started = offline.start(node_options(*config)); !started) {
    Error error = std::move(started).error();
    if (error.code == ErrorCode::conflict) error.message += "; stop the server that uses this folder first";
    return fail(std::move(error).with_context("cannot open the data in " + config->storage.root));
  }
  const ImportOptions options{.source = source, .repository = arguments.repository, .copy = arguments.copy};
  const auto report = import_layouts(offline.node().registry(), offline.executor(), options, **log);
  if (!report) return fail(report.error());
  if (source == config->storage.root) {
    if (const auto marked = write_import_marker(source); !marked) return fail(marked.error());
  }
  for (const auto& problem : report->problems) std::fprintf(stderr, "hansa: not imported: %s\n", problem.c_str());
  std::printf("%zu repositories, %zu manifests, %zu tags, %zu blobs imported; %zu problems\n", report->repositories,
              report->manifests, report->tags, report->blobs, report->problems.size());
  if (report->repositories == 0 && report->problems.empty()) {
    return fail(
        make_error(ErrorCode::not_found, source + ": there is no OCI layout in it (oci-layout and index.json)"));
  }
  return report->problems.empty() ? 0 : failed;
}

constexpr const char* examples = R"(Examples:
  hansa serve                                   a registry for this machine: 127.0.0.1:5000
  hansa serve config.json                       as the configuration says (zot's format, JSON or YAML)
  hansa verify config.json                      is the configuration right?
  hansa scrub config.json                       check every stored byte, also while the server runs
  hansa gc config.json --dry-run                what would collection and retention remove now?
  hansa import /var/lib/zot config.json         take in a root folder of zot
  hansa import ./image --root /var/lib/hansa --name team/app)";

// What CLI11 would only call a missing command.
std::optional<std::string> unknown_command(int argc, char** argv) {
  const std::vector<std::string> known{"serve",  "verify",  "schema",  "scrub",  "gc",
                                       "import", "version", "cluster", "mirrors"};
  if (argc < 2 || argv[1][0] == '-' || std::ranges::find(known, argv[1]) != known.end()) return std::nullopt;
  const std::string near = config::nearest(argv[1], known);
  const std::string hint = near.empty()
                               ? "there are serve, verify, schema, scrub, gc, version, import, cluster and mirrors"
                               : "did you mean \"" + near + "\"?";
  return "there is no command \"" + std::string(argv[1]) + "\"; " + hint + " (see hansa --help)";
}

}  // namespace

int run_command_line(int argc, char** argv) {
  if (const auto unknown = unknown_command(argc, argv)) {
    std::fprintf(stderr, "hansa: %s\n", unknown->c_str());
    return usage;
  }
  CLI::App app("Hansa, an OCI registry", "hansa");
  app.footer(examples);
  app.require_subcommand(1);
  std::string file;
  std::string join;
  ImportArguments arguments;
  ClusterArguments cluster;
  GcArguments gc;
  bool show_version = false;
  app.add_flag("-v,--version", show_version, "print the version");
  auto* serve_command = app.add_subcommand("serve", "run a registry");
  serve_command->add_option("CONFIG", file,
                            "configuration file; without one: 127.0.0.1:5000, data in the state folder");
  serve_command->add_option("--join", join, "join the cluster of this URL, if this machine is in none yet");
  auto* verify_command = app.add_subcommand("verify", "check a configuration");
  verify_command->add_option("CONFIG", file, "configuration file")->required();
  auto* schema_command = app.add_subcommand("schema", "print the JSON schema of configurations");
  auto* scrub_command = app.add_subcommand("scrub", "check all stored bytes; asks the running server if there is one");
  scrub_command->add_option("CONFIG", file, "configuration file of the registry");
  std::uint64_t scrub_rate = 0;
  scrub_command->add_option("--rate", scrub_rate, "at most so many MiB a second (0: as fast as it goes)")
      ->check(CLI::Range(std::uint64_t{0}, most_scrub_rate));
  add_gc_command(app, gc);
  auto* version_command = app.add_subcommand("version", "print the version");
  auto* import = app.add_subcommand("import", "take in a root folder of zot, or an OCI layout, without copying");
  import->add_option("SOURCE", arguments.source, "folder with OCI layouts, at any depth")->required();
  import->add_option("CONFIG", arguments.config, "configuration file of the registry that takes them in");
  import->add_option("--root", arguments.root, "data folder, instead of a configuration");
  import->add_option("--name", arguments.repository, "repository of a single layout (default: the folder's name)");
  import->add_flag("--copy", arguments.copy, "copy the bytes: for a source on another file system");
  auto* cluster_command = add_cluster_commands(app, cluster);
  try {
    const bool only_version =
        argc == 2 && (std::string_view(argv[1]) == "--version" || std::string_view(argv[1]) == "-v");
    if (only_version) app.require_subcommand(0);
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool help = error.get_exit_code() == 0;
    if (!help) std::cerr << "hansa: " << error.what() << "; see hansa --help\n";
    return help ? app.exit(error) : usage;
  }
  if (serve_command->parsed()) return serve(file, join);
  if (cluster_command->parsed() || cluster.mirrors->parsed()) return run_cluster_command(cluster);
  if (verify_command->parsed()) return verify(file);
  if (scrub_command->parsed()) return scrub(file, scrub_rate * MiB);
  if (gc.command->parsed()) return run_gc_command(gc);
  if (import->parsed()) return import_command(arguments);
  if (schema_command->parsed()) std::printf("%s", config::print_json_schema().c_str());
  if (version_command->parsed() || show_version) {
    std::printf("hansa %s (distribution-spec %s)\n", std::string(version).c_str(),
                std::string(config::spec_version).c_str());
  }
  return 0;
}

}  // namespace hansa::server
