// The course of a run: what disturbs clients, and what must hold after each start and in the end.
#include <algorithm>

#include "sim/push_pull.h"

namespace hansa::sim {
namespace {

constexpr io::Duration settle = std::chrono::seconds(60);  // many grace times and cycles
constexpr std::uint64_t longest_part_us = 12'000'000;      // between two crashes
constexpr std::uint64_t longest_calm_us = 3'000'000;       // between two disturbances
constexpr std::uint64_t longest_pause_ms = 5'000;          // ten ticks
constexpr std::uint64_t longest_hours = 50'000;            // that somebody sets the wall clock by
constexpr std::uint64_t most_calls = 1'500;                // of the disk until the power goes, about two seconds' worth

}  // namespace

io::Task<void> PushPull::check_all() {
  for (auto& client : clients_) {
    std::vector<std::string> tags;
    for (const auto& [tag, possible] : client.tags) tags.push_back(tag);
    for (const auto& tag : tags) co_await pull(client, tag);
    for (const auto& digest : client.erased) {
      auto head = co_await node_.registry().head_manifest(access(client), client.repository, oci::Reference(digest));
      if (head) violation(client, "a deleted manifest is there again: " + digest.text());
    }
  }
}

void PushPull::disturb() {
  if (options_.disk_faults && random_.one_in(6)) {
    const ErrorCode code = random_.one_in(2) ? ErrorCode::io : ErrorCode::out_of_space;
    node_.disk().fail(
        {.call = random_.one_in(2) ? Call::any : Call::sync, .nth = random_.between(1, 200), .code = code});
  }
  if (random_.one_in(4)) {
    node_.clock().jump_wall(std::chrono::hours(static_cast<std::int64_t>(random_.below(2 * longest_hours)) -
                                               static_cast<std::int64_t>(longest_hours)));
  }
  if (random_.one_in(8)) node_.executor().pause(std::chrono::milliseconds(random_.below(longest_pause_ms)));
  const bool slow = random_.one_in(6);
  node_.disk().set_delay(io::Duration::zero(), std::chrono::milliseconds(slow ? random_.below(100) : 0));
}

// Until the clients are done, or a crash is due: at any moment, or at any call of the disk.
void PushPull::run_part(io::TaskScope& scope) {
  auto& disk = node_.disk();
  const auto crash_at = world_.now() + std::chrono::microseconds(200'000 + random_.below(longest_part_us));
  std::uint64_t last_call = 0;
  if (options_.crashes && random_.one_in(3)) {
    const Fault power{
        .call = Call::any, .nth = random_.between(1, most_calls), .code = ErrorCode::io, .for_ever = true};
    disk.fail(power);
    last_call = disk.calls(Call::any) + power.nth;
  }
  const auto over = [&] { return scope.running() == 0 || (last_call > 0 && disk.calls(Call::any) >= last_call); };
  while (!over() && (!options_.crashes || world_.now() < crash_at)) {
    disturb();
    io::Duration calm = std::chrono::microseconds(random_.between(1, longest_calm_us));
    if (options_.crashes) calm = std::min(calm, crash_at - world_.now());
    const auto next = world_.now() + calm;
    // A paused node has no events that would move the time.
    if (!world_.run_until(over, calm)) world_.run_for(next - world_.now());
  }
}

// A bit of a blob that a tag surely needs, while the node is down.
std::optional<PushPull::Rotten> PushPull::let_rot() {
  if (!options_.rot || !random_.one_in(3)) return std::nullopt;
  for (auto& client : clients_) {
    for (const auto& [tag, possible] : client.tags) {
      if (possible.size() != 1 || !possible.begin()->has_value()) continue;
      const auto& blobs = client.images.at(**possible.begin()).blobs;
      const auto& [chosen, content] = drawn_from(blobs, random_);
      Rotten rotten{.client = &client, .digest = chosen, .content = content};
      rotten.at = random_.below(rotten.content.size());
      const std::string hex = rotten.digest.hex();
      const std::string file = "/data/blobs/sha256/" + hex.substr(0, 2) + "/" + hex;
      const auto there = node_.disk().info(file);
      if (!there || there->size != rotten.content.size()) return std::nullopt;  // lost: check_all() says so
      node_.disk().flip(file, rotten.at);
      return rotten;
    }
  }
  return std::nullopt;
}

// With everything mended, and all checked. False: it does not start.
bool PushPull::start_again() {
  node_.disk().clear_faults();
  node_.disk().set_delay(io::Duration::zero(), io::Duration::zero());
  const auto rotten = let_rot();
  auto started = node_.start();
  if (!started) {
    violations_.push_back("the node does not start: " + describe(started.error()));
    return false;
  }
  if (rotten) run(world_, node_.executor(), check_rotten(*rotten));
  run(world_, node_.executor(), check_all());
  return true;
}

void PushPull::run_all() {
  while (std::ranges::any_of(clients_, [this](const Client& c) { return c.done < options_.operations; })) {
    if (!node_.running() && !start_again()) return;
    io::TaskScope scope(node_.executor());
    for (auto& client : clients_) scope.spawn("client", client_loop(client));
    run_part(scope);
    if (scope.running() == 0) break;
    ++crashes_;
    const Loss loss = random_.one_in(3) ? Loss::nothing : Loss::unsynced;
    if (loss == Loss::unsynced) ++power_cuts_;
    node_.end(loss, scope);
  }
  if (node_.running()) node_.stop();
  if (!start_again()) return;
  world_.run_for(settle);
  run(world_, node_.executor(), check_all());
  check_disk();
}

// What the tags reach.
std::set<std::string> PushPull::needed_files() const {
  std::set<std::string> needed;
  for (const auto& client : clients_) {
    for (const auto& [tag, possible] : client.tags) {
      if (possible.size() != 1 || !possible.begin()->has_value()) continue;
      const Image& image = client.images.at(**possible.begin());
      needed.insert(image.digest.hex());
      for (const auto& [digest, content] : image.blobs) needed.insert(digest.hex());
    }
  }
  return needed;
}

// In the end the disk holds that, and nothing else.
void PushPull::check_disk() {
  const auto needed = needed_files();
  const std::string root = "/data/blobs/sha256";
  auto folders = node_.disk().list(root);
  if (!folders) return;
  for (const auto& folder : *folders) {
    auto files = node_.disk().list(root + "/" + folder.name);
    if (!files) continue;
    for (const auto& file : *files) {
      const std::string hex = file.name.substr(0, 64);
      if (!needed.contains(hex)) violations_.push_back("never collected: " + file.name);
    }
  }
  auto staged = node_.disk().list("/data/staging");
  if (staged && !staged->empty()) violations_.push_back("a staged upload never expired: " + staged->front().name);
}

}  // namespace hansa::sim
