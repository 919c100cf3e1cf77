// The sender's side of relays. What peers keep: relay_receiver.cc.
#include "cluster/relay.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cluster/copies_parts.h"
#include "cluster/while_moving.h"

namespace hansa::cluster {

std::shared_ptr<Relay> Relays::begin(oci::Algorithm algorithm) {
  if (relays_ >= options_.max_relays) return nullptr;
  auto to = choose();
  if (!to) return nullptr;
  return std::make_shared<Relay>(*this, *std::move(to), algorithm, p_.random.hex(staging_random_bytes));
}

// The one that took the last upload, for a while: it has those bytes, while the others' links are filled with them.
std::optional<io::NodeId> Relays::choose() {
  auto order = p_.copies.second_copies();
  // One that does not answer now would hold the upload up.
  std::erase_if(order, [this](const io::NodeId& id) { return !p_.pulses.fresh(id).has_value(); });
  const io::MonotonicTime now = p_.clock.monotonic();
  const std::lock_guard guard(mutex_);
  if (order.empty()) return std::nullopt;
  const bool keep = now - chosen_at_ < options_.keep_target && std::ranges::find(order, chosen_) != order.end();
  if (!keep) chosen_ = std::move(order.front());
  chosen_at_ = now;
  return chosen_;
}

void Relays::avoid(const io::NodeId& id) {
  const std::lock_guard guard(mutex_);
  if (chosen_ == id) chosen_ = io::NodeId();
}

Relay::Relay(Relays& relays, io::NodeId to, oci::Algorithm algorithm, std::string id)
    : relays_(relays), to_(std::move(to)), algorithm_(algorithm), id_(std::move(id)) {
  ++relays_.relays_;
}

Relay::~Relay() {
  --relays_.relays_;
}

void Relay::fail(const Error& why) {
  if (pipe_) pipe_->close();
  if (std::exchange(failed_, true)) return;
  relays_.avoid(to_);
  relays_.p_.log.warn("an upload's second copy is made after it, not beside it",
                      {{"member", to_.value()}, {"error", why.message}});
}

std::string Relay::arguments(std::uint64_t offset) const {
  return nlohmann::json{{"id", id_}, {"algorithm", oci::to_string(algorithm_)}, {"offset", offset}}.dump();
}

void Relay::resume(io::TaskScope& scope, std::uint64_t offset) {
  scope_ = &scope;
  pipe_ = std::make_shared<Pipe>(relays_.options_.buffer);
  begins_ = offset;
  written_ = 0;
  carrying_ = false;
  // Bytes came that were not relayed: the start of a reopened session, or a body that was too short.
  if (offset != has_) failed_ = true;
}

io::Task<void> Relay::write(ConstBytes bytes) {
  if (failed_) co_return;
  written_ += bytes.size();
  const bool taken = co_await pipe_->write(bytes);
  if (!taken && !failed_) fail(make_error(ErrorCode::cancelled, "the upload's request was cancelled"));
  const bool short_yet = has_ == 0 && written_ < relays_.options_.relay_from;
  if (failed_ || carrying_ || short_yet) co_return;
  carrying_ = true;
  scope_->spawn("relay", carry(pipe_, begins_));
}

io::Task<void> Relay::carry(std::shared_ptr<Pipe> pipe, std::uint64_t offset) {
  const auto busy = relays_.p_.copies.relaying();
  // While the client is waited for, time does not count against the peer.
  Progress progress = [pipe, beat = std::uint64_t{0}]() mutable {
    if (pipe->starved()) ++beat;
    return pipe->taken() + beat;
  };
  Limit limit = [stall = relays_.options_.stall_limit] { return stall; };
  io::PeerRequest request{.verb = "relay.append", .arguments = arguments(offset), .body = pipe};
  auto answer =
      co_await while_moving(std::move(limit), std::move(progress), relays_.p_.peers.call(to_, std::move(request)));
  pipe->close();
  Result<std::uint64_t> size = make_error(ErrorCode::unavailable, "no answer");
  if (answer) {
    size = wire::read_size(answer->result);
  } else {
    size = std::move(answer).error();
  }
  if (size && *size == offset + written_) {
    has_ = *size;
    co_return;
  }
  fail(size ? make_error(ErrorCode::unavailable, "it has other bytes than were sent") : size.error());
}

void Relay::settle() {
  pipe_->end();
  if (carrying_ || written_ == 0) return;
  // Too short a body: nothing was begun, and nobody reads what waits.
  pipe_->close();
  failed_ = true;
}

io::Task<Result<catalog::Receipt>> Relay::finish(oci::Digest digest, std::uint64_t size) {
  pipe_.reset();
  if (failed_ || has_ != size || size == 0) {
    failed_ = true;
    co_return make_error(ErrorCode::unavailable, "the upload was not relayed");
  }
  const nlohmann::json what = {{"id", id_}, {"digest", digest.text()}, {"size", size}};
  io::PeerRequest request{.verb = "relay.finish", .arguments = what.dump(), .body = nullptr};
  const io::Duration limit = relays_.options_.sync_limit * static_cast<io::Duration::rep>(1 + size / GiB);
  auto answer = co_await io::with_deadline(limit, relays_.p_.peers.call(to_, std::move(request)));
  if (!answer) {
    fail(answer.error());
    co_return std::move(answer).error();
  }
  failed_ = true;  // the peer keeps nothing of it any more
  co_return wire::read_receipt(answer->result);
}

io::Task<void> Relay::drop() {
  if (std::exchange(failed_, true) || has_ == 0) co_return;
  io::PeerRequest request{.verb = "relay.drop", .arguments = arguments(0), .body = nullptr};
  // What the peer does not hear of it drops by itself later.
  auto told = co_await io::with_deadline(relays_.options_.ask_limit, relays_.p_.peers.call(to_, std::move(request)));
  if (!told) relays_.p_.log.debug("a peer was not told of an upload's end", {{"error", told.error().message}});
}

}  // namespace hansa::cluster
