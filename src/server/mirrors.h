// Files for clients that choose among the members themselves: containerd's hosts.toml, podman's and skopeo's
// registries.conf. Such a client needs no load balancer, and goes on when the member that it asked is away.
//
// Pure. Formats: containerd docs/hosts.md; containers-registries.conf(5).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace hansa::server {

enum class MirrorFormat : std::uint8_t { containerd, podman };
// invalid: neither "containerd" nor "podman".
Result<MirrorFormat> parse_mirror_format(std::string_view text);

// The addresses of those that take clients, from a cluster's status (see cluster/status.h): the living first, in an
// order that is `client`'s own, so that many machines do not all ask the same member first. unavailable: nobody is
// left; corrupt: this is no status.
Result<std::vector<std::string>> mirror_addresses(const std::string& status, const std::string& client);

// `name`: under which images are known ("registry.example"); empty: the first address's host and port. invalid: a name
// that is none.
Result<std::string> mirror_file(MirrorFormat format, const std::vector<std::string>& addresses, std::string name);

}  // namespace hansa::server
