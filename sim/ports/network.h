// SimNetwork: wires between the nodes of a world. Everything is drawn from the world's seed: each message is late by
// a time of its own (so messages overtake each other), may be lost, and a request without a body may arrive twice.
//
//   SimNetwork network(world, {.drop_per_mille = 10});
//   SimPeer one(network, io::NodeId("one"), executor_one);   // an io::PeerNetwork
//   one.serve(handler);
//   network.cut(a, b); network.isolate(a); network.heal();
//   run(world, executor_one, one.close());                   // before it dies
//
// What a caller is told: unavailable, if there is no way to the peer when the call is made (it was not delivered);
// ambiguous, if no answer came within answer_timeout; cancelled; else what the handler said. Bodies are streamed: a
// reader gets `disconnected` once the link is cut, the peer that sends is closed, or (of a request's body) the call has
// ended; nothing reads them after that, however long the reader keeps its end.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "io/peer_network.h"
#include "io/scope.h"
#include "io/wait.h"
#include "sim/ports/world.h"

namespace hansa::sim {

struct NetworkOptions {
  io::Duration min_delay = std::chrono::microseconds(100);
  io::Duration max_delay = std::chrono::milliseconds(5);
  std::uint64_t drop_per_mille = 0;       // of the messages, requests and answers alike
  std::uint64_t duplicate_per_mille = 0;  // of the requests without a body; breaks "at most once" on purpose
  io::Duration answer_timeout = std::chrono::seconds(30);
};

class SimPeer;
struct SimLoan;  // a body on its way

class SimNetwork {
 public:
  explicit SimNetwork(World& world, NetworkOptions options = {});
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  void set(NetworkOptions options) { options_ = options; }
  // No message passes between the two, in either direction.
  void cut(const io::NodeId& a, const io::NodeId& b) { cuts_.insert(std::minmax(a, b)); }
  // Messages from one to the other are lost without a word; those of the other direction arrive.
  void lose(const io::NodeId& from, const io::NodeId& to) { lossy_.emplace(from, to); }
  // Nor between this one and anybody.
  void isolate(const io::NodeId& node) { isolated_.insert(node); }
  // The last no more; what was cut one by one stays so.
  void readmit(const io::NodeId& node) { isolated_.erase(node); }
  void heal();
  // Both are there and nothing lies between them.
  bool connected(const io::NodeId& a, const io::NodeId& b) const;

 private:
  friend class SimPeer;
  friend class LinkedSource;
  using Done = io::Completion<Result<io::PeerResponse>>;
  struct Journey {
    io::NodeId from;
    io::NodeId to;
    io::PeerRequest request;
    std::shared_ptr<SimLoan> body;
    Done done;
  };
  void send(Journey journey);
  void deliver(const Journey& journey);
  bool loses(const io::NodeId& from, const io::NodeId& to) const { return lossy_.contains({from, to}); }
  // A stream needs both directions.
  bool streams(const io::NodeId& a, const io::NodeId& b) const {
    return connected(a, b) && !loses(a, b) && !loses(b, a);
  }
  io::Duration draw_delay();
  bool draw(std::uint64_t per_mille) { return random_.below(1000) < per_mille; }

  NetworkOptions options_;
  SimRandom random_;
  std::map<io::NodeId, SimPeer*> peers_;
  std::set<std::pair<io::NodeId, io::NodeId>> cuts_;
  std::set<std::pair<io::NodeId, io::NodeId>> lossy_;  // from, to
  std::set<io::NodeId> isolated_;
};

// One node's end. A node that starts again makes a new one of the same name.
class SimPeer final : public io::PeerNetwork {
 public:
  SimPeer(SimNetwork& network, io::NodeId self, io::Executor& executor);
  ~SimPeer() override;
  SimPeer(const SimPeer&) = delete;
  SimPeer& operator=(const SimPeer&) = delete;

  io::Task<Result<io::PeerResponse>> call(io::NodeId to, io::PeerRequest request) override;
  void serve(Handler handler) override;
  // Ends the handlers that run, and takes back the bodies that were sent; call before the end.
  io::Task<void> close();

 private:
  friend class SimNetwork;
  static io::Task<void> answer(SimPeer* self, io::NodeId from, io::PeerRequest request, SimNetwork::Done done);
  std::shared_ptr<io::ByteSource> lend(std::shared_ptr<SimLoan> loan, const io::NodeId& reader);

  SimNetwork& network_;
  const io::NodeId self_;
  io::Executor& executor_;
  Handler handler_;
  std::vector<std::weak_ptr<SimLoan>> loans_;
  io::TaskScope scope_;
};

}  // namespace hansa::sim
