// The system's limit of open files, which bounds connections before any limit of ours does: a process often gets 1,024
// of them, and a client that takes those keeps everybody out.
#pragma once

#include <cstdint>

#include "server/config/limits.h"

namespace hansa::server {

// Sets the limit of this process as high as it may be. Returns it.
std::uint64_t raise_open_files();

// Pure: the limits that `files` open files leave room for, each at most what is wanted. A connection needs its socket
// and the file that it sends, an upload the file that it writes.
config::Limits fit(config::Limits wanted, std::uint64_t files);

}  // namespace hansa::server
