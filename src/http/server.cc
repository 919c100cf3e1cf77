#include "http/server.h"

#include <pthread.h>
#include <signal.h>

#include "http/acceptor.h"
#include "http/listener.h"
#include "http/loop_state.h"

namespace hansa::http {
namespace {

// sendfile and OpenSSL's writes to a connection that the peer has reset raise SIGPIPE, which no flag prevents.
void block_sigpipe() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

io::Task<void> stop_accepting(LoopState& loop) {
  co_await loop.acceptors.close();
}

io::Task<void> begin_drain(LoopState& loop) {
  loop.draining = true;
  loop.wake_idle();
  co_return;
}

// Waits for the connections to end by themselves; after `limit` they are cancelled.
io::Task<void> finish_drain(LoopState& loop, io::Duration limit) {
  const io::TimerId timer = loop.executor.start_timer(limit, [&loop] { loop.connections.cancel(); });
  co_await loop.connections.join();
  loop.executor.cancel_timer(timer);
  loop.stop_sweeping();
}

class RealServer final : public Server {
 public:
  RealServer(io::asio::EventLoops& loops, ServerOptions options, Handler handler, Logger& log)
      : state_(std::move(options), std::move(handler), log) {
    for (std::size_t i = 0; i < loops.size(); ++i) {
      state_.loops.push_back(std::make_unique<LoopState>(state_, loops.loop(i), loops.executor(i)));
    }
  }
  ~RealServer() override { stop(); }

  Result<void> start() {
    if (state_.options.tls) {
      HANSA_TRY(state_.tls, TlsContext::load(*state_.options.tls));
    }
    HANSA_TRY(Listeners listeners, open_listeners(state_.options.address, state_.options.port, state_.loops.size()));
    port_ = listeners.port;
    running_ = true;
    for (std::size_t i = 0; i < state_.loops.size(); ++i) {
      LoopState& loop = *state_.loops[i];
      loop.executor.post([&loop, descriptor = listeners.descriptors[i]] {
        block_sigpipe();
        loop.acceptors.spawn("http accept", accept_loop(loop, descriptor));
      });
    }
    return {};
  }

  std::uint16_t port() const override { return port_; }

  Result<void> reload_tls() override {
    if (!state_.options.tls) {
      return make_error(ErrorCode::unsupported, Subject::config, "this listener has no TLS to reload");
    }
    HANSA_TRY(auto fresh, TlsContext::load(*state_.options.tls));
    const std::scoped_lock lock(state_.tls_lock);
    state_.tls = std::move(fresh);
    return {};
  }

  void stop() override {
    const std::scoped_lock lock(stop_lock_);
    if (!std::exchange(running_, false)) return;
    // Loop by loop and step by step: an acceptor may still hand a connection to a loop that has stopped accepting.
    for (auto& loop : state_.loops) io::asio::run_and_wait(loop->executor, stop_accepting(*loop));
    for (auto& loop : state_.loops) io::asio::run_and_wait(loop->executor, begin_drain(*loop));
    const io::MonotonicTime began = state_.clock->monotonic();
    for (auto& loop : state_.loops) {
      const io::Duration used = state_.clock->monotonic() - began;
      const io::Duration left = std::max(io::Duration(0), state_.options.limits.drain_timeout - used);
      io::asio::run_and_wait(loop->executor, finish_drain(*loop, left));
    }
  }

  Counters counters() const override {
    return {.connections = state_.open_connections(),
            .accepted = state_.accepted.load(std::memory_order_relaxed),
            .refused = state_.refused.load(std::memory_order_relaxed),
            .refused_clients = state_.refused_clients.load(std::memory_order_relaxed)};
  }

 private:
  ServerState state_;
  std::uint16_t port_ = 0;
  std::mutex stop_lock_;
  bool running_ = false;
};

}  // namespace

Result<std::unique_ptr<Server>> listen(io::asio::EventLoops& loops, ServerOptions options, Handler handler,
                                       Logger& log) {
  auto server = std::make_unique<RealServer>(loops, std::move(options), std::move(handler), log);
  HANSA_CHECK(server->start());
  return server;
}

}  // namespace hansa::http
