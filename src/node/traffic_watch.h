// TrafficWatch: keeps the history of what the members move (cluster/history.h) on this node: looks once a second, at
// this node's own counters and at the signs of life of the others. Thread-safe; the loop runs in the node's scope.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "cluster/history.h"
#include "io/clock.h"
#include "io/scope.h"
#include "io/traffic.h"

namespace hansa::node {

inline constexpr io::Duration traffic_look = std::chrono::seconds(1);  // between looks

class TrafficWatch {
 public:
  // The other members that are alive, as their leases show them.
  using Others = std::function<std::vector<cluster::History::Said>()>;
  struct Self {
    std::string id;
    std::string boot;
  };
  // `clock` and `traffic` outlive it. `others` null: there are none.
  TrafficWatch(io::Clock& clock, const io::Traffic& traffic, Self self, Others others)
      : clock_(clock), traffic_(traffic), self_(std::move(self)), others_(std::move(others)) {}

  void run(io::TaskScope& scope) { scope.spawn("watch traffic", loop()); }
  std::vector<cluster::History::Member> show() const;

 private:
  io::Task<void> loop();
  void look();

  io::Clock& clock_;
  const io::Traffic& traffic_;
  const Self self_;
  const Others others_;
  mutable std::mutex mutex_;
  cluster::History history_;  // under mutex_
};

}  // namespace hansa::node
