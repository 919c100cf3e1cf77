// A whole node on a simulated machine, with short hands for what clients push and pull. For tests only.
//
//   Bed bed;
//   bed.push_image("team/app", "v1", {"layer"});
//   bed.crash(); bed.start();
//   EXPECT_EQ(bed.pull("team/app", "v1"), ...);
//
// Background work runs only while virtual time passes: bed.run_for(), bed.ticks(n). Collection runs when collect() is
// called. "alice" may do everything, "bob" may read, "carol" may read and update; the anonymous caller may nothing.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "io/wait.h"
#include "node/node.h"
#include "sim/ports/clock.h"
#include "sim/ports/disk.h"
#include "sim/ports/random.h"
#include "sim/ports/world.h"

namespace hansa::node::testing {

inline oci::RepositoryName name(std::string_view text) {
  return oci::RepositoryName::parse(text).value();
}
inline oci::Reference ref(std::string_view text) {
  return oci::parse_reference(text).value();
}
inline oci::Digest digest(std::string_view content) {
  return oci::Digest::compute(oci::Algorithm::sha256, as_bytes(content));
}

inline constexpr std::string_view layer_type = "application/vnd.oci.image.layer.v1.tar";

inline std::string descriptor(std::string_view type, std::string_view content) {
  return R"({"mediaType":")" + std::string(type) + R"(","digest":")" + digest(content).text() + R"(","size":)" +
         std::to_string(content.size()) + "}";
}

// The body of an image manifest. `more`: further members, beginning with a comma.
inline std::string image(std::string_view config, const std::vector<std::string>& layers, std::string_view more = "") {
  std::string list;
  for (const auto& layer : layers) list += (list.empty() ? "" : ",") + descriptor(layer_type, layer);
  return R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::image_manifest) + R"(","config":)" +
         descriptor(oci::media_type::image_config, config) + R"(,"layers":[)" + list + "]" + std::string(more) + "}";
}
inline std::string index(const std::vector<std::string>& manifests) {
  std::string list;
  for (const auto& body : manifests) {
    list += (list.empty() ? "" : ",") + descriptor(oci::media_type::image_manifest, body);
  }
  return R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::image_index) + R"(","manifests":[)" +
         list + "]}";
}

// What the users of the tests may do, everywhere but in hidden repositories, which only alice sees.
class Rights final : public auth::AccessPolicy {
 public:
  std::set<oci::RepositoryName> hidden;
  std::set<std::string> creators;  // further users who may read and create
  bool allows(const auth::Identity& who, auth::Action action, const oci::RepositoryName& where) const override {
    if (who.user == "alice") return true;
    if (hidden.contains(where)) return false;
    if (creators.contains(who.user)) return action == auth::Action::read || action == auth::Action::create;
    if (who.user == "carol") return action == auth::Action::read || action == auth::Action::update;
    return who.user == "bob" && action == auth::Action::read;
  }
  bool is_admin(const auth::Identity& who) const override { return who.user == "alice"; }
};

inline Options small_options() {
  Options options;
  options.root = "/data";
  options.gc_delay = std::chrono::seconds(8);  // a tick is a second
  options.gc_interval = std::chrono::hours(24 * 365);
  options.own_metadata_thread = false;
  return options;
}
inline constexpr io::Duration tick = std::chrono::seconds(1);

// Gives its bytes, then waits for `pause` of virtual time, then fails or ends.
class SlowSource final : public io::ByteSource {
 public:
  SlowSource(std::string bytes, io::Duration pause, bool breaks)
      : bytes_(std::move(bytes)), pause_(pause), breaks_(breaks) {}
  io::Task<Result<std::size_t>> read(Bytes out) override;

 private:
  std::string bytes_;
  io::Duration pause_;
  bool breaks_;
  bool given_ = false;
};
inline io::Task<Result<std::size_t>> SlowSource::read(Bytes out) {
  if (!std::exchange(given_, true) && !bytes_.empty()) {
    const std::size_t count = std::min(out.size(), bytes_.size());
    std::ranges::copy(as_bytes(bytes_).first(count), out.begin());
    co_return count;
  }
  HANSA_CO_CHECK(co_await io::sleep_for(pause_));
  if (breaks_) co_return make_error(ErrorCode::disconnected, "the client went away");
  co_return std::size_t{0};
}

class Bed {
 public:
  explicit Bed(Options options = small_options(), std::uint64_t seed = 1, bool started = true)
      : world({.seed = seed}), options_(std::move(options)) {
    if (started) start();
  }
  ~Bed() {
    if (node) stop();
  }

  Result<void> try_start() {
    const Ports ports{.disk = disk, .clock = clock, .random = random, .executor = executor, .log = log};
    HANSA_TRY(node, sim::run(world, executor, Node::start(ports, options_)));
    return {};
  }
  void start() {
    auto started = try_start();
    ASSERT_TRUE(started) << describe(started.error());
  }
  void stop() {
    sim::run(world, executor, node->stop());
    node.reset();
  }
  // Ends the process at once; the machine is on again afterwards.
  void end(sim::Loss loss) {
    disk.stop(loss);
    if (node) stop();
    disk.clear_faults();
    disk.start();
  }
  void crash() { end(sim::Loss::unsynced); }
  void kill() { end(sim::Loss::nothing); }
  void restart() {
    stop();
    start();
  }

  void run_for(io::Duration duration) { world.run_for(duration); }
  // Past the beginnings of `n` more ticks.
  void ticks(int n) { run_for(tick * n + std::chrono::milliseconds(20 * n)); }
  void collect() {
    auto done = run(node->collect());
    ASSERT_TRUE(done) << describe(done.error());
  }

  template <class T>
  T run(io::Task<T> task) {
    return sim::run(world, executor, std::move(task));
  }
  void run(io::Task<void> task) { sim::run(world, executor, std::move(task)); }
  registry::Registry& registry() { return node->registry(); }
  auth::Access as(std::string user) const { return {auth::Identity{.user = std::move(user), .groups = {}}, rights}; }
  auth::Access alice() const { return as("alice"); }
  auth::Access bob() const { return as("bob"); }
  auth::Access nobody() const { return as(""); }

  // ---- pushes -----------------------------------------------------------------------------------------------------

  Result<oci::Digest> try_push_blob(std::string_view repository, const std::string& content) {
    io::MemorySource source(as_bytes(content));
    HANSA_CHECK(run(registry().push_blob(alice(), name(repository), digest(content), source)));
    return digest(content);
  }
  oci::Digest push_blob(std::string_view repository, const std::string& content) {
    auto pushed = try_push_blob(repository, content);
    EXPECT_TRUE(pushed) << describe(pushed.error());
    return digest(content);
  }
  static registry::ManifestPush manifest(std::string_view reference, std::string body, std::string_view type = {}) {
    const bool is_index = body.find("\"manifests\"") != std::string::npos;
    if (type.empty()) type = is_index ? oci::media_type::image_index : oci::media_type::image_manifest;
    return {.reference = ref(reference),
            .tags = {},
            .media_type = std::string(type),
            .body = std::move(body),
            .if_match = {}};
  }
  Result<registry::ManifestPushed> put(std::string_view repository, registry::ManifestPush push) {
    return run(registry().put_manifest(alice(), name(repository), std::move(push)));
  }
  Result<registry::ManifestPushed> put(std::string_view repository, std::string_view reference, std::string body) {
    return put(repository, manifest(reference, std::move(body)));
  }
  // By its digest when `tag` is empty. Returns the body.
  std::string push_image(std::string_view repository, std::string_view tag, const std::vector<std::string>& layers,
                         std::string_view more = "") {
    const std::string config = "{}";
    push_blob(repository, config);
    for (const auto& layer : layers) push_blob(repository, layer);
    std::string body = image(config, layers, more);
    auto pushed = put(repository, tag.empty() ? digest(body).text() : std::string(tag), body);
    EXPECT_TRUE(pushed) << describe(pushed.error());
    return body;
  }
  Result<void> remove(std::string_view repository, std::string_view reference) {
    return run(registry().delete_manifest(alice(), name(repository), ref(reference)));
  }

  // ---- pulls ------------------------------------------------------------------------------------------------------

  // The bytes, or the error as text.
  std::string pull(std::string_view repository, std::string_view reference) {
    auto got = run(registry().get_manifest(alice(), name(repository), ref(reference)));
    return got ? *got->body : std::string(to_string(got.error().code));
  }
  std::string pull_blob(std::string_view repository, const oci::Digest& wanted) {
    auto got = run(registry().get_blob(alice(), name(repository), wanted));
    if (!got) return std::string(to_string(got.error().code));
    std::string bytes(got->head.size, '\0');
    auto read = run(got->reader->read(0, Bytes(reinterpret_cast<std::byte*>(bytes.data()), bytes.size())));
    return read ? bytes : std::string(to_string(read.error().code));
  }
  bool has_file(const oci::Digest& wanted) {
    return disk.info("/data/blobs/sha256/" + wanted.hex().substr(0, 2) + "/" + wanted.hex()).has_value();
  }

  sim::World world;
  sim::SimExecutor executor{world, "node"};
  sim::SimClock clock{world, "node"};
  sim::SimDisk disk{world, "node"};
  sim::SimRandom random{world.random("node/random")};
  NullLogger log;
  std::shared_ptr<Rights> rights = std::make_shared<Rights>();
  std::unique_ptr<Node> node;

 private:
  Options options_;
};

// An expectation on the outcome of a use case.
template <class T>
::testing::AssertionResult fails_with(const Result<T>& result, ErrorCode code, Subject subject = Subject::none) {
  if (result) return ::testing::AssertionFailure() << "succeeded";
  const bool same = result.error().code == code && (subject == Subject::none || result.error().subject == subject);
  if (same) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << describe(result.error());
}

}  // namespace hansa::node::testing
