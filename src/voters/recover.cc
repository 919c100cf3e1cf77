#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "io/wait.h"
#include "pki/cluster_folder.h"
#include "pki/files.h"
#include "voters/backup.h"
#include "voters/renew_cluster.h"

namespace hansa::voters {
namespace {

constexpr io::Duration call_deadline = std::chrono::seconds(2);
constexpr io::Duration look_again = std::chrono::milliseconds(100);
constexpr io::Duration stop_patience = std::chrono::seconds(10);

std::string note_path(const EtcdSettings& settings) {
  return settings.data_dir + "/recover.json";
}

// What a recover that was broken off had begun: the nonces before and after. Empty: there was none.
struct Begun {
  std::string from;
  std::string to;
};
Result<Begun> read_begun(io::Disk& disk, const EtcdSettings& settings) {
  const auto text = pki::read_file(disk, note_path(settings));
  if (!text && text.error().code == ErrorCode::not_found) return Begun{};
  if (!text) return text.error();
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  const bool good = json.is_object() && json.contains("from") && json["from"].is_string() && json.contains("to") &&
                    json["to"].is_string();
  if (!good) {
    return make_error(ErrorCode::corrupt, Subject::file,
                      note_path(settings) + " cannot be understood; remove it to begin the recovery anew");
  }
  return Begun{.from = json["from"], .to = json["to"]};
}

// The nonce of the new cluster; the intent is durable before anything is changed.
Result<Begun> begin(io::Disk& disk, io::Random& random, const ClusterPlace& place, EtcdProcess& process) {
  const EtcdSettings& settings = process.settings();
  const auto refuse = [](const std::string& why) {
    return make_error(ErrorCode::precondition, "this machine cannot recover the cluster: " + why +
                                                   "; run it on the voter with the newest data, or restore a backup");
  };
  HANSA_TRY(const auto folder, pki::read_cluster_folder(disk, place.root));
  if (!folder || !folder->managed) return refuse("it is in no cluster whose etcd Hansa keeps");
  HANSA_TRY(const auto marker, read_marker(disk, settings.data_dir));
  HANSA_TRY(const bool data, process.has_data());
  if (!marker || !data) return refuse("it holds no data of etcd");
  if (marker->disk != place.disk) return refuse("its data of etcd were made on another disk (H3)");
  HANSA_TRY(Begun begun, read_begun(disk, settings));
  if (begun.to.empty()) {
    if (marker->cluster != folder->cluster) return refuse("its data of etcd are of another cluster");
    begun = {.from = folder->cluster, .to = random.hex(nonce_bytes)};
    const nlohmann::json json = {{"from", begun.from}, {"to", begun.to}};
    HANSA_CHECK(pki::replace_file(disk, note_path(settings), json.dump() + "\n", io::OpenMode::create));
  }
  for (const auto& nonce : {marker->cluster, folder->cluster}) {
    if (nonce != begun.from && nonce != begun.to) return refuse("its data of etcd are of another cluster");
  }
  return begun;
}

// Waits until etcd answers with itself as the leader of a cluster of one.
io::Task<Result<meta::etcd::Member>> alone(io::Clock& clock, meta::etcd::MaintenanceFactory channels,
                                           meta::etcd::ChannelSettings settings) {
  const io::MonotonicTime began = clock.monotonic();
  std::string last = "no answer";
  while (clock.monotonic() - began < recover_patience) {
    HANSA_CO_TRY(auto channel, channels(settings));
    const auto status = co_await channel->status(call_deadline);
    if (!status) {
      last = status.error().message;
    } else if (status->leader != 0 && status->leader == status->header.member) {
      HANSA_CO_TRY(auto members, co_await channel->member_list(call_deadline));
      if (members.members.size() == 1) co_return members.members.front();
      last = "it still has other members";
    }
    HANSA_CO_CHECK(co_await io::sleep_for(look_again));
  }
  co_return make_error(ErrorCode::unavailable, "etcd does not answer alone (" + last + "); see its log, and try again");
}

}  // namespace

io::Task<Result<NewCluster>> recover(RecoverPorts ports, ClusterPlace place, EtcdSettings settings) {
  EtcdProcess process(ports.disk, ports.clock, settings);
  HANSA_CO_TRY(const Begun begun, begin(ports.disk, ports.random, place, process));
  ports.say("Stopping etcd; its data stay as they are.");
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::sync, [&process] { return process.stop(stop_patience); }));
  ports.say("Making a new authority and secret: members from before are refused from now on.");
  const auto renew = [&]() -> Result<void> {
    return write_new_cluster(ports.disk, ports.clock, ports.random, place, settings, begun.to);
  };
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::sync, renew));
  ports.say("Starting etcd as the only member, with the data of this machine.");
  const auto start = [&process](EtcdStart how) { return process.start(how, {}); };
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::sync, [&start] { return start(EtcdStart::force_alone); }));
  const auto paths = pki::cluster_paths(place.root);
  const meta::etcd::ChannelSettings self{
      .endpoint = client_url(settings),
      .tls = meta::etcd::ClientTls{.ca = paths.ca, .certificate = paths.certificate, .key = paths.key},
      .user = {},
      .password = {}};
  HANSA_CO_TRY(const auto member, co_await alone(ports.clock, ports.channels, self));
  ports.say("Starting it once more as an ordinary member.");  // it would drop those that join at its next start
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::sync, [&process] { return process.stop(stop_patience); }));
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::sync, [&start] { return start(EtcdStart::again); }));
  HANSA_CO_CHECK(co_await alone(ports.clock, ports.channels, self));
  std::array<char, 17> id{};
  const auto end = std::to_chars(id.data(), id.data() + id.size(), member.id, 16).ptr;
  const EtcdMarker marker{.member = std::string(id.data(), end), .disk = place.disk, .cluster = begun.to};
  HANSA_CO_CHECK(write_marker(ports.disk, settings.data_dir, marker));
  HANSA_CO_CHECK(ports.disk.remove(note_path(settings)));
  HANSA_CO_CHECK(ports.disk.sync_directory(settings.data_dir));
  co_return NewCluster{
      .cluster = begun.to,
      .notes = {"The cluster has one voter now, with the data of this machine; what only the lost voters had "
                "acknowledged is missing.",
                "Members of before are refused: on each, move <root>/cluster and its etcd folder away and join with a "
                "new token; `hansa cluster forget` those that do not come back."}};
}

}  // namespace hansa::voters
