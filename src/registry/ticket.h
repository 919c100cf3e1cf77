// Tickets: what a client takes along when a member sends it to another for a blob. A ticket stands for the right to
// read one digest in one repository for a short while, since clients drop their credentials across hosts. It replaces
// credentials and not existence: who is shown it looks up by its own barrier whether the repository holds the digest.
//
//   <expiry in seconds since 1970, hexadecimal>.<MAC, hexadecimal>
//
// Pure functions. The members' wall clocks decide how long one works, never more than that.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "io/time.h"
#include "oci/digest.h"
#include "oci/name.h"

namespace hansa::registry {

inline constexpr io::Duration ticket_life = std::chrono::minutes(2);
inline constexpr io::Duration longest_ticket = std::chrono::minutes(5);  // clocks of members may differ

std::string make_ticket(std::string_view secret, const oci::RepositoryName& repository, const oci::Digest& digest,
                        io::WallTime now);
// denied(blob): it is of another repository, digest or cluster, malformed, or over.
Result<void> check_ticket(std::string_view secret, std::string_view ticket, const oci::RepositoryName& repository,
                          const oci::Digest& digest, io::WallTime now);

}  // namespace hansa::registry
