#include "cluster/pulses.h"

#include <nlohmann/json.hpp>

#include "cluster/json_fields.h"
#include "io/wait.h"

namespace hansa::cluster {

void Pulses::serve(PeerDispatch& dispatch, std::string boot) {
  dispatch.on("ping",
              [this, boot = std::move(boot)](io::NodeId, io::PeerRequest) -> io::Task<Result<io::PeerResponse>> {
                const nlohmann::json pong = {{"node", members_.self().value()},
                                             {"boot", boot},
                                             {"sending", sending_->load(std::memory_order_relaxed)},
                                             {"leaving", leaving_.load(std::memory_order_relaxed)}};
                co_return io::PeerResponse{.result = pong.dump(), .body = nullptr};
              });
}

void Pulses::run(io::TaskScope& scope) {
  scope.spawn("pulses", loop(scope));
}

// One that hangs holds nobody up: each ping is a task of its own.
io::Task<void> Pulses::loop(io::TaskScope& scope) {
  while (true) {
    note(members_.self(),
         {.at = clock_.monotonic(), .sending = sending_->load(std::memory_order_relaxed), .leaving = leaving_});
    for (const auto& member : members_.members()) {
      if (member.id == members_.self()) continue;
      {
        const std::lock_guard guard(mutex_);
        if (!asked_.insert(member.id).second) continue;
      }
      scope.spawn("ping", ping(member.id));
    }
    auto slept = co_await io::sleep_for(pulse_interval);
    if (!slept) co_return;
  }
}

io::Task<void> Pulses::ping(io::NodeId id) {
  auto call = peers_.call(id, {.verb = "ping", .arguments = "{}", .body = nullptr});
  const auto answer = co_await io::with_deadline(pulse_limit, std::move(call));
  if (answer) {
    const auto pong = nlohmann::json::parse(answer->result, nullptr, false);
    // An older member says nothing of its load, nor that it stops soon.
    if (pong.is_object() && text_in(pong, "node") == id.value()) {
      note(id, {.at = clock_.monotonic(),
                .sending = number_in(pong, "sending").value_or(0),
                .leaving = flag_in(pong, "leaving")});
    }
  }
  const std::lock_guard guard(mutex_);
  asked_.erase(id);
  // Refused or cut off: a client that comes back from there at once is not sent there again. One answer that is only
  // late says nothing yet.
  const bool gone = !answer && answer.error().code != ErrorCode::timeout && answer.error().code != ErrorCode::cancelled;
  const auto known = pulses_.find(id);
  if (gone && known != pulses_.end()) known->second.gone = true;
}

void Pulses::note(const io::NodeId& id, Pulse heard) {
  const std::lock_guard guard(mutex_);
  pulses_[id] = heard;
}

bool Pulses::leaving(const io::NodeId& id) const {
  const std::lock_guard guard(mutex_);
  const auto known = pulses_.find(id);
  return known != pulses_.end() && known->second.leaving;
}

std::optional<std::uint64_t> Pulses::fresh(const io::NodeId& id) const {
  const std::lock_guard guard(mutex_);
  const auto known = pulses_.find(id);
  if (known == pulses_.end() || known->second.gone) return std::nullopt;
  if (clock_.monotonic() - known->second.at > pulse_life) return std::nullopt;
  return known->second.sending;
}

std::shared_ptr<const void> Pulses::sending(std::uint64_t bytes) {
  struct Handle {
    Handle(std::shared_ptr<std::atomic<std::uint64_t>> all, std::uint64_t count) : total(std::move(all)), bytes(count) {
      total->fetch_add(bytes, std::memory_order_relaxed);
    }
    ~Handle() { total->fetch_sub(bytes, std::memory_order_relaxed); }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    const std::shared_ptr<std::atomic<std::uint64_t>> total;
    const std::uint64_t bytes;
  };
  return std::make_shared<Handle>(sending_, bytes);
}

}  // namespace hansa::cluster
