// PeerNetwork: requests between the members of a cluster (blob bytes and forwarded upload requests; never metadata).
// Declared now so that `cluster` and the simulator have their seam. The real one speaks authenticated HTTP/1.1, the
// simulated one delays, drops, repeats and reorders.
//
// Delivery is at most once per call; a lost answer is ErrorCode::ambiguous for the caller.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/strong.h"
#include "io/byte_source.h"
#include "io/task.h"

namespace hansa::io {

using NodeId = Strong<struct NodeIdTag, std::string>;

struct PeerRequest {
  std::string verb;                  // one of the peer protocol's verbs, e.g. "blob.get"
  std::string arguments;             // compact JSON
  std::shared_ptr<ByteSource> body;  // null: none
};

struct PeerResponse {
  std::string result;                // compact JSON
  std::shared_ptr<ByteSource> body;  // null: none
};

class PeerNetwork {
 public:
  using Handler = std::function<Task<Result<PeerResponse>>(NodeId from, PeerRequest request)>;
  virtual ~PeerNetwork() = default;
  virtual Task<Result<PeerResponse>> call(NodeId to, PeerRequest request) = 0;
  // Sets what answers the peers' calls; once, before the node announces itself.
  virtual void serve(Handler handler) = 0;
};

}  // namespace hansa::io
