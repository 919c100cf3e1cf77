#include "sim/ports/network.h"

#include "base/assert.h"

namespace hansa::sim {
namespace {

// A body on its way: gone when the link is.
class LinkedSource final : public io::ByteSource {
 public:
  LinkedSource(const SimNetwork& network, io::NodeId sender, io::NodeId reader, std::shared_ptr<io::ByteSource> body)
      : network_(network), sender_(std::move(sender)), reader_(std::move(reader)), body_(std::move(body)) {}

  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (!network_.connected(sender_, reader_)) {
      co_return make_error(ErrorCode::disconnected, "the peer " + sender_.value() + " cannot be reached any more");
    }
    co_return co_await body_->read(out);
  }

 private:
  const SimNetwork& network_;
  const io::NodeId sender_;
  const io::NodeId reader_;
  const std::shared_ptr<io::ByteSource> body_;
};

}  // namespace

SimNetwork::SimNetwork(World& world, NetworkOptions options) : options_(options), random_(world.seed(), "network") {}

void SimNetwork::heal() {
  cuts_.clear();
  isolated_.clear();
}

bool SimNetwork::connected(const io::NodeId& a, const io::NodeId& b) const {
  if (!peers_.contains(a) || !peers_.contains(b)) return false;
  if (a == b) return true;
  return !isolated_.contains(a) && !isolated_.contains(b) && !cuts_.contains(std::minmax(a, b));
}

io::Duration SimNetwork::draw_delay() {
  return io::Duration(random_.between(static_cast<std::uint64_t>(options_.min_delay.count()),
                                      static_cast<std::uint64_t>(options_.max_delay.count())));
}

void SimNetwork::send(const io::NodeId& from, const io::NodeId& to, const io::PeerRequest& request, const Done& done) {
  if (!connected(from, to)) {
    done.complete(make_error(ErrorCode::unavailable, "the peer " + to.value() + " cannot be reached"));
    return;
  }
  const bool twice = !request.body && draw(options_.duplicate_per_mille);
  for (int i = 0; i < (twice ? 2 : 1); ++i) {
    if (draw(options_.drop_per_mille)) continue;
    peers_.at(to)->executor_.start_timer(draw_delay(),
                                         [this, from, to, request, done] { deliver(from, to, request, done); });
  }
}

void SimNetwork::deliver(const io::NodeId& from, const io::NodeId& to, const io::PeerRequest& request,
                         const Done& done) {
  if (!connected(from, to)) return;
  SimPeer& peer = *peers_.at(to);
  io::PeerRequest copy = request;
  if (copy.body) copy.body = std::make_shared<LinkedSource>(*this, from, to, copy.body);
  peer.scope_.spawn("peer request", SimPeer::answer(&peer, from, std::move(copy), done));
}

SimPeer::SimPeer(SimNetwork& network, io::NodeId self, io::Executor& executor)
    : network_(network), self_(std::move(self)), executor_(executor), scope_(executor) {
  const bool fresh = network_.peers_.emplace(self_, this).second;
  HANSA_ASSERT(fresh, "two nodes of one name would answer for each other");
}

SimPeer::~SimPeer() {
  network_.peers_.erase(self_);
}

void SimPeer::serve(Handler handler) {
  handler_ = std::move(handler);
}

io::Task<Result<io::PeerResponse>> SimPeer::call(io::NodeId to, io::PeerRequest request) {
  io::TimerId timer = 0;
  auto wait = io::wait_for<Result<io::PeerResponse>>([&](SimNetwork::Done done) -> io::Work {
    timer = executor_.start_timer(network_.options_.answer_timeout, [done] {
      done.complete(make_error(ErrorCode::ambiguous, "the peer did not answer; the request may have been served"));
    });
    network_.send(self_, to, request, done);
    return [done] { done.complete(make_error(ErrorCode::cancelled, "cancelled while waiting for a peer")); };
  });
  auto answer = co_await wait;
  executor_.cancel_timer(timer);
  co_return answer;
}

io::Task<void> SimPeer::answer(SimPeer* self, io::NodeId from, io::PeerRequest request, SimNetwork::Done done) {
  SimNetwork& network = self->network_;
  Result<io::PeerResponse> response = make_error(ErrorCode::unavailable, "the peer does not serve yet");
  if (self->handler_) response = co_await self->handler_(from, std::move(request));
  if (response && response->body) {
    response->body = std::make_shared<LinkedSource>(network, self->self_, from, response->body);
  }
  if (!network.connected(self->self_, from) || network.draw(network.options_.drop_per_mille)) co_return;
  // On the caller's executor: once sent, the answer does not need its sender any more.
  network.peers_.at(from)->executor_.start_timer(
      network.draw_delay(), [network = &network, sender = self->self_, from, done, kept = std::move(response)] {
        if (network->connected(sender, from)) done.complete(kept);
      });
}

}  // namespace hansa::sim
