#include "server/config/key_rows.h"

namespace hansa::server::config {

using enum Type;
using enum State;

// clang-format off: a table, one key a line
const std::array<Key, 36> cluster_rows =
  {{
    {"cluster", object, built, "", "several nodes that are one registry"},
    {"cluster.node", object, built, "", "this member"},
    {"cluster.node.url", text, built, "", "where clients reach this node, http(s)://host:port; default: http.address"},
    {"cluster.node.peer", text, built, "", "where members reach this node, host:port; default: url, http.port + 1"},
    {"cluster.node.listen", text, built, "", "address to listen on for members; default: the host of peer"},
    {"cluster.metadata", object, built, "", "where the metadata of all members lies"},
    {"cluster.metadata.etcd", object, built, "", "an etcd of your own"},
    {"cluster.metadata.etcd.endpoints", texts, built, "", "client addresses of its members; required"},
    {"cluster.metadata.etcd.prefix", text, built, "hansa/", "what every key begins with"},
    {"cluster.metadata.etcd.username", text, built, "", "user, where etcd wants one"},
    {"cluster.metadata.etcd.password", text, built, "", "the user's password"},
    {"cluster.metadata.etcd.quota", integer, built, "2147483648", "etcd's --quota-backend-bytes; pushes end at 80 %"},
    {"cluster.metadata.etcd.tls", object, built, "", "TLS to etcd"},
    {"cluster.metadata.etcd.tls.cert", text, built, "", "client certificate"},
    {"cluster.metadata.etcd.tls.key", text, built, "", "its key"},
    {"cluster.metadata.etcd.tls.cacert", text, built, "", "authorities of etcd's certificates"},
    {"cluster.metadata.managed", object, built, "", "an etcd that Hansa runs beside itself"},
    {"cluster.metadata.managed.binary", text, built, "/usr/bin/etcd", "the etcd program"},
    {"cluster.metadata.managed.dataDir", text, built, "", "etcd's folder, best on its own disk; empty: <root>/etcd"},
    {"cluster.metadata.managed.clientPort", integer, built, "5379", "port for the members' requests to etcd"},
    {"cluster.metadata.managed.peerPort", integer, built, "5380", "port between the etcds"},
    {"cluster.metadata.managed.voters", integer, built, "3", "members that hold the metadata: 3 or 5"},
    {"cluster.metadata.managed.quota", integer, built, "2147483648", "bytes of metadata; pushes end at 80 %"},
    {"cluster.metadata.managed.snapshotInterval", duration, built, "1h", "between snapshots of the metadata; 0: none"},
    {"cluster.route", text, built, "redirect", "who sends blobs: redirect (least loaded), proxy, local (who is asked)"},
    {"cluster.limits", object, built, "", "what copies between members may take"},
    {"cluster.limits.fillRate", integer, built, "0", "bytes a second for copies that nobody waits for; 0: no limit"},
    {"cluster.limits.fills", integer, built, "4", "such copies at a time, 1 to 64"},
    {"cluster.maxStaleness", duration, built, "1h", "how long reads go on while the metadata is out of reach"},
    {"cluster.stopDelay", duration, built, "5s", "after SIGTERM: how long requests go on while /readyz says no"},
    {"cluster.members", texts, built, "", "host:port of all members, as in zot; they become equals"},
    {"cluster.hashKey", text, built, "", "16 characters, the same on all members: their shared secret"},
    {"cluster.tls", object, built, "", "TLS between members, with certificates of your own"},
    {"cluster.tls.cert", text, built, "", "certificate of this member"},
    {"cluster.tls.key", text, built, "", "its key"},
    {"cluster.tls.cacert", text, built, "", "authorities of the members' certificates"},
}};
// clang-format on

}  // namespace hansa::server::config
