#include "http/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "http/client_network.h"
#include "http/listener.h"
#include "http/session.h"
#include "io/wait.h"

namespace hansa::http {
namespace {

// Out of descriptors or memory: pause, so that the connections in the queue are not asked for in a busy loop.
constexpr io::Duration exhausted_pause = std::chrono::milliseconds(100);
constexpr int accepts_per_turn = 64;

LoopState& least_loaded(LoopState& own) {
  LoopState* best = &own;
  for (const auto& loop : own.server.loops) {
    if (loop->open.load(std::memory_order_relaxed) < best->open.load(std::memory_order_relaxed)) best = loop.get();
  }
  return *best;
}

void begin_session(LoopState& loop, Accepted accepted) {
  loop.connections.spawn("http connection", serve_session(loop, std::move(accepted)));
}

void refuse_session(LoopState& own, Accepted accepted) {
  if (own.refusals >= refusals_per_loop) {
    ::close(accepted.descriptor);
    return;
  }
  ++own.refusals;
  begin_session(own, std::move(accepted));
}

void place(LoopState& own, int descriptor, const sockaddr_storage& from) {
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  PeerAddress peer = peer_address(from);
  std::string network = client_network(peer.address);
  const Admission admission = own.server.admit(network);
  Accepted accepted{.descriptor = descriptor,
                    .client = std::move(peer.address),
                    .network = std::move(network),
                    .port = peer.port,
                    .admission = admission};
  if (admission != Admission::admitted) return refuse_session(own, std::move(accepted));
  own.server.accepted.fetch_add(1, std::memory_order_relaxed);
  LoopState& chosen = least_loaded(own);
  chosen.open.fetch_add(1, std::memory_order_relaxed);
  if (&chosen == &own) return begin_session(own, std::move(accepted));
  chosen.executor.post([&chosen, moved = std::move(accepted)]() mutable { begin_session(chosen, std::move(moved)); });
}

enum class Outcome : std::uint8_t { drained, busy, exhausted };

// Accepts what has arrived, but at most `most`.
Outcome accept_some(LoopState& loop, int listener, int most) {
  for (int i = 0; i < most; ++i) {
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const int descriptor =
        ::accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0) {
      place(loop, descriptor, from);
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Outcome::drained;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      loop.server.log.warn("no new connections can be accepted for a moment; raise the limit of open files",
                           {{"error", std::strerror(errno)}});
      return Outcome::exhausted;
    }
    // Anything else concerns only the connection that was being accepted (ECONNABORTED, network errors).
  }
  return Outcome::busy;
}

}  // namespace

io::Task<void> accept_loop(LoopState& loop, int descriptor) {
  Socket listener(loop.loop, descriptor);
  for (bool going = true; going;) {
    const Outcome outcome = accept_some(loop, descriptor, accepts_per_turn);
    if (outcome == Outcome::exhausted) {
      const auto slept = co_await io::sleep_for(exhausted_pause);
      going = slept.has_value();
    } else if (outcome == Outcome::busy) {
      co_await io::yield();
    } else {
      const Wake wake = co_await listener.wait(Ready::read, no_deadline);
      going = wake == Wake::ready;
    }
  }
  accept_some(loop, descriptor, accepts_per_turn);
}

}  // namespace hansa::http
