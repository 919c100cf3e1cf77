// The wire to etcd: Channel and MaintenanceChannel over gRPC. A thin pump: it turns values into messages and back, and
// decides nothing but whether an error proves that nothing was proposed (see channel.h).
//
// One thread takes the completions of all channels that a runtime made and hands each result to the executor of the
// task that waits. Channels keep what they need of the runtime alive; no call may be under way when the last one goes.
#pragma once

#include <memory>

#include "meta/etcd/channel.h"

namespace hansa::meta::etcd {

class GrpcRuntime {
 public:
  GrpcRuntime();
  ~GrpcRuntime();
  GrpcRuntime(const GrpcRuntime&) = delete;
  GrpcRuntime& operator=(const GrpcRuntime&) = delete;

  // invalid(config): an endpoint or a certificate file cannot be used.
  ChannelFactory channels();
  MaintenanceFactory maintenance();

  struct Pump;

 private:
  std::shared_ptr<Pump> pump_;
};

}  // namespace hansa::meta::etcd
