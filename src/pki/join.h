// The join protocol: what a machine that joins sends to a member, and what it gets to be one itself. JSON in a request
// and an answer of at most max_join_message each, carried by the peers' one unauthenticated route; the machine has
// checked the member's authority by the fingerprint of its token, the member checks the token.
//
// Any member can answer: each has the authority's key. The machine keeps its own private key; only the public half
// travels. The answer holds the cluster's secret and the authority's key, so it goes over TLS alone.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "io/disk.h"
#include "io/time.h"
#include "pki/authority.h"
#include "pki/cluster_folder.h"

namespace hansa::pki {

inline constexpr std::size_t max_join_message = 64 * 1024;  // bytes

struct JoinRequest {
  std::string token;
  std::string node;                // id
  std::string public_key;          // PEM
  std::vector<std::string> hosts;  // names and addresses of the machine, for its certificate
  std::string peer;                // "host:port" of its peer listener
  std::string url;                 // where clients reach it
  std::string etcd_host;           // where its etcd would be reached, if it became a voter
  std::uint16_t etcd_peer_port = 0;
};
std::string encode(const JoinRequest& request);
// invalid(request): too long, or a field is missing or of another kind.
Result<JoinRequest> decode_join_request(std::string_view text);

struct JoinAnswer {
  ClusterFolder folder;
  Authority authority;
  std::string certificate;       // the machine's chain
  std::uint64_t etcd_quota = 0;  // bytes; must agree on all voters
};
std::string encode(const JoinAnswer& answer);
// invalid(request), as above.
Result<JoinAnswer> decode_join_answer(std::string_view text);

struct JoinTerms {  // what the answering member knows
  ClusterFolder folder;
  Authority authority;
  std::uint64_t generation = 0;  // of tokens that are good now
  std::uint64_t etcd_quota = 0;
  io::WallTime now;
};
// Pure. denied: the token. invalid: a node id, name or key that cannot be used.
Result<JoinAnswer> answer_join(const JoinTerms& terms, const JoinRequest& request);

// Writes what a joined machine keeps: cluster.json comes last, so that a folder that is there is whole. `key`: the
// private half of the request's key. conflict: the machine is in another cluster already.
Result<void> keep_join_answer(io::Disk& disk, const std::string& root, const JoinAnswer& answer,
                              const std::string& key);

}  // namespace hansa::pki
