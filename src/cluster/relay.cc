// The sender's side of relays. What peers keep: relay_receiver.cc.
#include "cluster/relay.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cluster/copies_parts.h"
#include "cluster/while_moving.h"

namespace hansa::cluster {

std::shared_ptr<Relay> Relays::begin(RelayedUpload upload, const io::NodeId& except) {
  auto to = choose(except);
  if (!to) return nullptr;
  return std::make_shared<Relay>(*this, *std::move(to), std::move(upload));
}

// The one that took the last upload, for a while: it has those bytes, while the others' links are filled with them.
std::optional<io::NodeId> Relays::choose(const io::NodeId& except) {
  auto order = p_.copies.second_copies();
  // One that does not answer now would hold the upload up.
  std::erase_if(order, [this](const io::NodeId& id) { return !p_.pulses.fresh(id).has_value(); });
  if (order.size() > 1) std::erase(order, except);
  const io::MonotonicTime now = p_.clock.monotonic();
  const std::lock_guard guard(mutex_);
  if (order.empty()) return std::nullopt;
  const bool keep = now - chosen_at_ < options_.keep_target && std::ranges::find(order, chosen_) != order.end();
  if (!keep) chosen_ = std::move(order.front());
  chosen_at_ = now;
  return chosen_;
}

void Relays::used(const io::NodeId& id) {
  const std::lock_guard guard(mutex_);
  if (chosen_ == id) chosen_at_ = p_.clock.monotonic();
}

void Relays::avoid(const io::NodeId& id) {
  const std::lock_guard guard(mutex_);
  if (chosen_ == id) chosen_ = io::NodeId();
}

Relay::Relay(Relays& relays, io::NodeId to, RelayedUpload upload)
    : relays_(relays), to_(std::move(to)), upload_(std::move(upload)) {}

Relay::~Relay() {
  end_request();
}

void Relay::fail(const Error& why) {
  if (feed_) feed_->close();
  if (std::exchange(failed_, true)) return;
  relays_.avoid(to_);
  relays_.p_.log.warn("an upload's second copy broke off", {{"member", to_.value()}, {"error", why.message}});
}

std::string Relay::arguments(std::uint64_t offset) const {
  return nlohmann::json{{"id", upload_.id},
                        {"algorithm", oci::to_string(upload_.algorithm)},
                        {"term", upload_.term},
                        {"keep", upload_.keep},
                        {"offset", offset}}
      .dump();
}

void Relay::end_request() {
  if (!std::exchange(counted_, false)) return;
  --relays_.relays_;
  relays_.used(to_);
}

void Relay::resume(io::TaskScope& scope, std::uint64_t offset, std::size_t from) {
  end_request();
  if (relays_.relays_ >= relays_.options_.max_relays) failed_ = true;
  // It can have more only if bytes were lost here.
  if (has_ > offset) failed_ = true;
  counted_ = true;
  ++relays_.relays_;
  scope_ = &scope;
  from_ = has_ > 0 && has_ == offset ? 0 : from;
  begins_ = offset;
  ends_ = offset;
  carrying_ = false;
  if (has_ == offset) {
    feed_ = std::make_shared<Pipe>(relays_.options_.buffer);
  } else {
    feed_ = std::make_shared<Follower>(relays_.p_.blobs, upload_.id, std::min(has_, offset), offset);
  }
}

void Relay::start() {
  carrying_ = true;
  scope_->spawn("relay", carry(feed_));
}

io::Task<void> Relay::write(ConstBytes bytes) {
  if (failed_) co_return;
  ends_ += bytes.size();
  const bool taken = co_await feed_->write(bytes);
  if (!taken && !failed_) fail(make_error(ErrorCode::cancelled, "the upload's request was cancelled"));
  if (failed_ || carrying_ || ends_ - begins_ < from_) co_return;
  start();
}

void Relay::catch_up(io::TaskScope& scope, std::uint64_t size) {
  resume(scope, size, 0);
  if (!failed_ && has_ < size) start();
  settle();
}

io::Task<void> Relay::carry(std::shared_ptr<Feed> feed) {
  const auto busy = relays_.p_.copies.relaying();
  // While the client is waited for, time does not count against the peer.
  Progress progress = [feed, beat = std::uint64_t{0}]() mutable {
    if (feed->starved()) ++beat;
    return feed->taken() + beat;
  };
  Limit limit = [stall = relays_.options_.stall_limit] { return stall; };
  io::PeerRequest request{.verb = "relay.append", .arguments = arguments(has_), .body = feed};
  auto answer =
      co_await while_moving(std::move(limit), std::move(progress), relays_.p_.peers.call(to_, std::move(request)));
  feed->close();
  end_request();
  note(answer);
}

// What the peer has now.
void Relay::note(const Result<io::PeerResponse>& answer) {
  Result<std::uint64_t> size = make_error(ErrorCode::unavailable, "no answer");
  if (answer) {
    size = wire::read_size(answer->result);
  } else {
    superseded_ = answer.error().code == ErrorCode::conflict;
    size = answer.error();
  }
  if (size && *size == ends_) {
    has_ = *size;
  } else {
    fail(size ? make_error(ErrorCode::unavailable, "it has other bytes than were sent") : size.error());
  }
}

void Relay::settle() {
  feed_->end();
  if (carrying_) return;
  end_request();
  if (ends_ == begins_) return;
  // Too short a body: nothing was begun, and nobody reads what waits.
  feed_->close();
  failed_ = true;
}

io::Task<void> Relay::check() {
  if (failed_ || has_ == 0) co_return;
  ends_ = has_;
  io::PeerRequest request{.verb = "relay.append", .arguments = arguments(has_), .body = nullptr};
  auto answer = co_await io::with_deadline(relays_.options_.ask_limit, relays_.p_.peers.call(to_, std::move(request)));
  note(answer);
}

io::Task<Result<catalog::Receipt>> Relay::finish(oci::Digest digest, std::uint64_t size) {
  end_request();
  feed_.reset();
  if (failed_ || has_ != size || size == 0) {
    failed_ = true;
    co_return make_error(ErrorCode::unavailable, "the upload was not relayed");
  }
  const nlohmann::json what = {{"id", upload_.id}, {"digest", digest.text()}, {"size", size}};
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
