// The streaming calls: watches, and a lease's keep-alive as one round trip. Private to this room.
#pragma once

#include <memory>
#include <string>

#include "meta/etcd/grpc_pump.h"

namespace hansa::meta::etcd {

// Opens the stream and asks for the watch; what the server says of it comes with the first replies.
io::Task<Result<std::unique_ptr<Watch>>> open_watch(std::shared_ptr<Wire> wire, std::string key, std::string end,
                                                    Revision from);

io::Task<Result<io::Duration>> keep_alive_logged_in(std::shared_ptr<Wire> wire, LeaseId lease, Deadline deadline);

}  // namespace hansa::meta::etcd
