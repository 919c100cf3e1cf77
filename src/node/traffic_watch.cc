#include "node/traffic_watch.h"

#include "io/wait.h"

namespace hansa::node {

std::vector<cluster::History::Member> TrafficWatch::show() const {
  const std::lock_guard guard(mutex_);
  return history_.show(clock_.monotonic());
}

void TrafficWatch::look() {
  std::vector<cluster::History::Said> said;
  if (others_) said = others_();
  said.push_back({.id = self_.id, .boot = self_.boot, .sent = traffic_.sent(), .received = traffic_.received()});
  const std::lock_guard guard(mutex_);
  history_.look(said, clock_.monotonic());
}

io::Task<void> TrafficWatch::loop() {
  while (true) {
    look();
    auto slept = co_await io::sleep_for(traffic_look);
    if (!slept) co_return;
  }
}

}  // namespace hansa::node
