// What a service manager (systemd's Type=notify, or anything that speaks its protocol) is told: one datagram to the
// socket that NOTIFY_SOCKET names, as sd_notify(3) says. Without libsystemd, which brings five more libraries into a
// process that listens on a network, a megabyte for one datagram (ADR 9).
#pragma once

#include <string_view>

#include "base/result.h"

namespace hansa::server {

// `state`: "READY=1", "STOPPING=1". Nothing to do without NOTIFY_SOCKET. Never waits: io if nobody takes it; invalid
// for an address that is neither an absolute path nor "@" and a name, or too long. Any thread.
Result<void> tell_service_manager(std::string_view state);

}  // namespace hansa::server
