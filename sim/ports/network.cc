#include "sim/ports/network.h"

#include "base/assert.h"

namespace hansa::sim {

// Until the sender takes it back.
struct SimLoan {
  std::shared_ptr<io::ByteSource> body;
  int reading = 0;
};

namespace {

constexpr io::Duration look_again = std::chrono::milliseconds(1);

}  // namespace

// A body on its way: gone when the link is.
class LinkedSource final : public io::ByteSource {
 public:
  LinkedSource(const SimNetwork& network, io::NodeId sender, io::NodeId reader, std::shared_ptr<SimLoan> loan)
      : network_(network), sender_(std::move(sender)), reader_(std::move(reader)), loan_(std::move(loan)) {}

  io::Task<Result<std::size_t>> read(Bytes out) override {
    const auto loan = loan_;
    const auto body = loan->body;
    if (!body || !network_.streams(sender_, reader_)) {
      co_return make_error(ErrorCode::disconnected, "the peer " + sender_.value() + " cannot be reached any more");
    }
    ++loan->reading;
    auto got = co_await body->read(out);
    --loan->reading;
    co_return got;
  }

 private:
  const SimNetwork& network_;
  const io::NodeId sender_;
  const io::NodeId reader_;
  const std::shared_ptr<SimLoan> loan_;
};

SimNetwork::SimNetwork(World& world, NetworkOptions options) : options_(options), random_(world.seed(), "network") {}

void SimNetwork::heal() {
  cuts_.clear();
  lossy_.clear();
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

void SimNetwork::send(Journey journey) {
  if (!connected(journey.from, journey.to)) {
    journey.done.complete(make_error(ErrorCode::unavailable, "the peer " + journey.to.value() + " cannot be reached"));
    return;
  }
  const bool twice = !journey.body && draw(options_.duplicate_per_mille);
  for (int i = 0; i < (twice ? 2 : 1); ++i) {
    if (draw(options_.drop_per_mille)) continue;
    peers_.at(journey.to)->executor_.start_timer(draw_delay(), [this, journey] { deliver(journey); });
  }
}

void SimNetwork::deliver(const Journey& journey) {
  if (!connected(journey.from, journey.to) || loses(journey.from, journey.to)) return;
  SimPeer& peer = *peers_.at(journey.to);
  io::PeerRequest copy = journey.request;
  if (journey.body) copy.body = peers_.at(journey.from)->lend(journey.body, journey.to);
  peer.scope_.spawn("peer request", SimPeer::answer(&peer, journey.from, std::move(copy), journey.done));
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

io::Task<void> SimPeer::close() {
  co_await scope_.close();
  for (const auto& one : loans_) {
    const auto loan = one.lock();
    if (!loan) continue;
    loan->body.reset();
    while (loan->reading > 0) {
      auto wait = io::wait_for<bool>([this](io::Completion<bool> done) -> io::Work {
        executor_.start_timer(look_again, [done] { done.complete(true); });
        return nullptr;  // a read that is under way ends by itself
      });
      co_await wait;
    }
  }
}

std::shared_ptr<io::ByteSource> SimPeer::lend(std::shared_ptr<SimLoan> loan, const io::NodeId& reader) {
  std::erase_if(loans_, [](const auto& one) { return one.expired(); });
  loans_.push_back(loan);
  return std::make_shared<LinkedSource>(network_, self_, reader, std::move(loan));
}

io::Task<Result<io::PeerResponse>> SimPeer::call(io::NodeId to, io::PeerRequest request) {
  io::TimerId timer = 0;
  std::shared_ptr<SimLoan> body;
  if (request.body) body = std::make_shared<SimLoan>(SimLoan{.body = std::exchange(request.body, nullptr)});
  auto wait = io::wait_for<Result<io::PeerResponse>>([&](SimNetwork::Done done) -> io::Work {
    timer = executor_.start_timer(network_.options_.answer_timeout, [done] {
      done.complete(make_error(ErrorCode::ambiguous, "the peer did not answer; the request may have been served"));
    });
    network_.send({.from = self_, .to = to, .request = request, .body = body, .done = done});
    return [done] { done.complete(make_error(ErrorCode::cancelled, "cancelled while waiting for a peer")); };
  });
  auto answer = co_await wait;
  executor_.cancel_timer(timer);
  if (body) body->body.reset();
  co_return answer;
}

io::Task<void> SimPeer::answer(SimPeer* self, io::NodeId from, io::PeerRequest request, SimNetwork::Done done) {
  SimNetwork& network = self->network_;
  Result<io::PeerResponse> response = make_error(ErrorCode::unavailable, "the peer does not serve yet");
  if (self->handler_) response = co_await self->handler_(from, std::move(request));
  if (response && response->body) {
    response->body = self->lend(std::make_shared<SimLoan>(SimLoan{.body = std::move(response->body)}), from);
  }
  if (!network.connected(self->self_, from) || network.loses(self->self_, from)) co_return;
  if (network.draw(network.options_.drop_per_mille)) co_return;
  // On the caller's executor: once sent, the answer does not need its sender any more.
  network.peers_.at(from)->executor_.start_timer(
      network.draw_delay(), [network = &network, sender = self->self_, from, done, kept = std::move(response)] {
        if (network->connected(sender, from)) done.complete(kept);
      });
}

}  // namespace hansa::sim
