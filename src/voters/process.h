// EtcdProcess: the etcd that Hansa runs beside itself on one machine, as files and a process.
//
//   <data_dir>/member/     etcd's own data (etcd makes it)
//   <data_dir>/marker.json whose data that is: etcd's member id, this disk's nonce, the cluster's nonce (H3)
//   <data_dir>/etcd.pid    process id and start time of the etcd that was started last
//   <data_dir>/etcd.log    what it prints
//
// etcd is started in a session of its own and outlives Hansa: a restart of Hansa is none of etcd, and adopts it. It
// listens on ports of its own, never on 2379 and 2380 by default, so an etcd of the system is not disturbed.
//
// Calls block (files, signals, waits): use them from a pool. One user at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/time.h"

namespace hansa::voters {

struct EtcdSettings {
  std::string binary = "/usr/bin/etcd";
  std::string data_dir;  // absolute
  std::string name;      // of the member: the node's id
  std::string host;      // where the other members reach this machine, by name
  std::string listen;    // address to listen on; empty: host
  std::uint16_t client_port = 5379;
  std::uint16_t peer_port = 5380;
  std::string ca;  // PEM files
  std::string certificate;
  std::string key;
  std::uint64_t quota = 2ULL * 1024 * 1024 * 1024;  // bytes
};
std::string client_url(const EtcdSettings& settings);  // https://host:port
std::string peer_url(const EtcdSettings& settings);

struct EtcdMarker {
  std::string member;   // etcd's member id, hexadecimal; empty: not known yet (founding)
  std::string disk;     // nonce of the disk that the data was made on
  std::string cluster;  // nonce of the cluster
  bool operator==(const EtcdMarker&) const = default;
};
// nullopt: none. corrupt(file): it cannot be understood.
Result<std::optional<EtcdMarker>> read_marker(io::Disk& disk, const std::string& data_dir);
Result<void> write_marker(io::Disk& disk, const std::string& data_dir, const EtcdMarker& marker);

enum class EtcdStart : std::uint8_t {
  founding,     // the first voter of a new cluster
  joining,      // as a member that was added just now: its data begins empty
  again,        // with the data that is there
  force_alone,  // with the data that is there, as the only member of a new cluster (recover)
};

// Pure: the command line. `members`: "name=url,..." for founding and joining. `minor`: of etcd 3.x, for its flags.
std::vector<std::string> etcd_arguments(const EtcdSettings& settings, EtcdStart start, const std::string& members,
                                        unsigned minor);

// Pure: whether the end of etcd's log says what EtcdProcess::forgot_entries() tells. The leader of its group speaks of
// commits that its own log does not reach; etcd panics then (3.4 to 3.6), and that is the last that it says: a later
// line of a log entry is of an etcd that was started since.
bool tells_of_forgotten_entries(std::string_view log);

class EtcdProcess {
 public:
  EtcdProcess(io::Disk& disk, io::Clock& clock, EtcdSettings settings);

  const EtcdSettings& settings() const { return settings_; }
  // "3.4.23". not_found with advice: there is no such program.
  Result<std::string> version();
  // The process id of our etcd, if it runs; never another's that got its number.
  std::optional<int> running();
  // Whether that one listens where the settings say: it outlives a change of them.
  bool listens_as_set();
  // Whether etcd has a log here. What it makes before it has found its cluster is no data: it has not taken part.
  Result<bool> has_data();
  // exists: it runs already. unavailable: it ended at once, with the end of its log. An error of the disk: its process
  // id could not be kept. After an error none runs that was started here.
  Result<void> start(EtcdStart start, const std::string& members);
  // SIGTERM, and SIGKILL after `patience`.
  Result<void> stop(io::Duration patience);
  // Whether it ended because another voter knew more of what it had acknowledged than its data do: they were set back
  // to a copy of themselves, and must not vote (H3).
  bool forgot_entries();
  // Moves all data away (a voter that begins anew): <data_dir>/member.old-<n>, with its log. Never while it runs.
  Result<void> put_data_aside();
  // The last lines of its log.
  std::string log_tail();
  // The 99th percentile of a small write with fsync in the data folder.
  Result<io::Duration> probe_disk();

 private:
  std::string end_of_log(std::uint64_t bytes);
  std::string path(const char* name) const { return settings_.data_dir + "/" + name; }

  io::Disk& disk_;
  io::Clock& clock_;
  EtcdSettings settings_;
};

}  // namespace hansa::voters
