#include "voters/backup.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/wait.h"
#include "pki/cluster_folder.h"
#include "pki/files.h"
#include "pki/sha256.h"
#include "voters/program.h"
#include "voters/renew_cluster.h"

namespace hansa::voters {
namespace {

constexpr int backup_format = 1;
constexpr io::Duration call_deadline = std::chrono::seconds(5);
constexpr std::size_t read_piece = 1 * MiB;
// Views and clients that knew the old cluster must never meet a revision again (3.6 and later can do that).
constexpr const char* revision_bump = "1000000000";

Error not_understood(const std::string& why) {
  return make_error(
      ErrorCode::corrupt, Subject::file,
      "the description beside the snapshot (.json) cannot be understood (" + why + "); take another backup");
}

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

}  // namespace

std::string encode(const BackupInfo& info) {
  return nlohmann::json({{"format", backup_format},
                         {"cluster", info.cluster},
                         {"revision", info.revision},
                         {"head", info.head},
                         {"size", info.size},
                         {"etcd", info.version},
                         {"wall_ms", info.wall_ms}})
             .dump(1) +
         "\n";
}

Result<BackupInfo> decode_backup(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return not_understood("it is no JSON object");
  const auto has = [&json](const char* name, bool (nlohmann::json::*is)() const noexcept) {
    const auto field = json.find(name);
    return field != json.end() && ((*field).*is)();
  };
  if (!has("format", &nlohmann::json::is_number) || json["format"] != backup_format) {
    return not_understood("its format is unknown");
  }
  for (const char* name : {"cluster", "head", "etcd"}) {
    if (!has(name, &nlohmann::json::is_string)) return not_understood(std::string("no ") + name);
  }
  for (const char* name : {"revision", "size"}) {
    if (!has(name, &nlohmann::json::is_number_unsigned)) return not_understood(std::string("no ") + name);
  }
  BackupInfo out{.cluster = json["cluster"],
                 .revision = json["revision"],
                 .head = json["head"],
                 .size = json["size"],
                 .version = json["etcd"]};
  if (has("wall_ms", &nlohmann::json::is_number_integer)) out.wall_ms = json["wall_ms"];
  return out;
}

Result<void> check_snapshot(io::Disk& disk, const std::string& file) {
  const auto damaged = [&file](const std::string& why) {
    return make_error(ErrorCode::corrupt, Subject::file,
                      file + " is no whole snapshot of etcd (" + why + "); take another backup");
  };
  HANSA_TRY(auto open, disk.open(file, io::OpenMode::read));
  HANSA_TRY(const std::uint64_t size, open->size());
  if (size <= pki::sha256_bytes) return damaged("it is too short");
  pki::Sha256 hash;
  std::vector<std::byte> piece(read_piece);
  const std::uint64_t body = size - pki::sha256_bytes;
  for (std::uint64_t at = 0; at < body;) {
    const Bytes want(piece.data(), std::min<std::uint64_t>(piece.size(), body - at));
    HANSA_TRY(const std::size_t got, open->read(at, want));
    if (got == 0) return damaged("it became shorter");
    hash.add(want.first(got));
    at += got;
  }
  const Bytes end(piece.data(), pki::sha256_bytes);
  HANSA_TRY(const std::size_t got, open->read(body, end));
  if (got != end.size() || as_text(end) != hash.finish()) return damaged("its checksum does not fit");
  return {};
}

namespace {

io::Task<Result<BackupInfo>> take_backup(io::Disk& disk, io::Clock& clock, BackupSource source, std::string file,
                                         std::string fresh) {
  BackupInfo info;
  info.cluster = source.cluster;
  meta::etcd::RangeRequest request;
  request.key = source.prefix + std::string(meta::head_key);
  HANSA_CO_TRY(const auto head, co_await source.channel->range(request, call_deadline));
  info.revision = head.header.revision;
  if (!head.values.empty()) info.head = head.values.front().value;
  HANSA_CO_TRY(const auto status, co_await source.maintenance->status(call_deadline));
  info.version = status.version;
  HANSA_CO_TRY(auto opened, disk.open(fresh, io::OpenMode::create_private));
  HANSA_CO_CHECK(opened->truncate(0));
  const std::shared_ptr<io::File> out = std::move(opened);
  const auto written = std::make_shared<std::uint64_t>(0);
  const auto take = [out, written](std::string_view piece) -> Result<void> {
    HANSA_CHECK(out->write(*written, as_bytes(piece)));
    *written += piece.size();
    return {};
  };
  HANSA_CO_CHECK(co_await source.maintenance->snapshot(take, snapshot_deadline));
  info.size = *written;
  info.wall_ms = std::chrono::duration_cast<std::chrono::milliseconds>(clock.wall().time_since_epoch()).count();
  const auto keep = [&]() -> Result<void> {
    HANSA_CHECK(out->sync());
    HANSA_CHECK(check_snapshot(disk, fresh));
    HANSA_CHECK(disk.rename(fresh, file));
    HANSA_CHECK(disk.sync_directory(folder_of(file)));
    return pki::replace_file(disk, file + ".json", encode(info), io::OpenMode::create);
  };
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::sync, keep));
  co_return info;
}

}  // namespace

// What was not finished takes space of no use.
io::Task<Result<BackupInfo>> backup(io::Disk& disk, io::Clock& clock, BackupSource source, std::string file) {
  const std::string fresh = file + ".new";
  auto taken = co_await take_backup(disk, clock, std::move(source), std::move(file), fresh);
  if (!taken) {
    auto drop = [&disk, &fresh] { return disk.remove(fresh); };
    const auto dropped = co_await io::blocking(io::Pool::sync, std::move(drop));
    static_cast<void>(dropped.has_value());  // or it was never there
  }
  co_return taken;
}

Result<NewCluster> restore(io::Disk& disk, io::Clock& clock, io::Random& random, ClusterPlace place,
                           EtcdSettings settings, std::string tool, std::string file) {
  HANSA_TRY(const auto folder, pki::read_cluster_folder(disk, place.root));
  EtcdProcess process(disk, clock, settings);
  HANSA_TRY(const bool data, process.has_data());
  if (folder || data || process.running()) {
    return make_error(ErrorCode::exists, Subject::file,
                      (folder ? place.root + "/cluster" : settings.data_dir) +
                          " belongs to a cluster already; restore onto a bare machine, or move it away");
  }
  HANSA_TRY(const std::string text, pki::read_file(disk, file + ".json"));
  HANSA_TRY(const BackupInfo info, decode_backup(text));
  HANSA_CHECK(check_snapshot(disk, file));
  const std::string nonce = random.hex(nonce_bytes);
  const std::string fresh = settings.data_dir + "/restoring-" + nonce;  // one that was broken off is left aside
  HANSA_CHECK(disk.make_directories(settings.data_dir));
  std::vector<std::string> words{tool,
                                 "snapshot",
                                 "restore",
                                 file,
                                 "--name=" + settings.name,
                                 "--initial-cluster=" + settings.name + "=" + peer_url(settings),
                                 "--initial-advertise-peer-urls=" + peer_url(settings),
                                 "--initial-cluster-token=" + nonce,
                                 "--data-dir=" + fresh};
  if (tool.ends_with("etcdutl")) {
    words.insert(words.end(), {"--bump-revision", revision_bump, "--mark-compacted"});
  }
  HANSA_CHECK(run_program(std::move(words)));
  HANSA_CHECK(write_marker(disk, settings.data_dir, {.member = {}, .disk = place.disk, .cluster = nonce}));
  HANSA_CHECK(write_new_cluster(disk, clock, random, place, settings, nonce));
  HANSA_CHECK(disk.rename(fresh, settings.data_dir + "/member"));
  HANSA_CHECK(disk.sync_directory(settings.data_dir));
  return NewCluster{
      .cluster = nonce,
      .notes = {"The metadata are those of revision " + std::to_string(info.revision) + " of cluster " + info.cluster +
                    "; whatever was acknowledged later is missing.",
                "Blobs are not part of a backup: bring the blobs folder of a former member, or let the members that "
                "join bring theirs.",
                "Members of the former cluster are refused: on each, move <root>/cluster away and join with a new "
                "token; `hansa cluster forget` those that do not come back."}};
}

}  // namespace hansa::voters
