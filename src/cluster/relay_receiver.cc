// What this node keeps of its peers' uploads.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cluster/copies_parts.h"
#include "cluster/json_fields.h"
#include "cluster/relay.h"
#include "cluster/while_moving.h"

namespace hansa::cluster {
namespace {

constexpr io::Duration expire_interval = std::chrono::minutes(1);
constexpr io::Duration wanted_interval = std::chrono::milliseconds(100);  // of looking whether it is to leave off
constexpr std::size_t max_id = 128;                                       // characters

struct Asked {
  RelayedUpload upload;
  std::optional<oci::Digest> digest;
  std::uint64_t number = 0;  // offset or size
};

Result<Asked> read_asked(std::string_view text, const char* number) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  auto id = json.is_object() ? text_in(json, "id") : std::nullopt;
  if (!id || id->empty() || id->size() > max_id) {
    return make_error(ErrorCode::invalid, Subject::request, "a member sent a malformed request about an upload");
  }
  Asked asked;
  asked.upload.id = *std::move(id);
  asked.upload.term = number_in(json, "term").value_or(0);
  asked.upload.keep = flag_in(json, "keep");
  if (json.contains("algorithm")) {
    HANSA_TRY(asked.upload.algorithm, oci::parse_algorithm(text_in(json, "algorithm").value_or("")));
  }
  if (json.contains("digest")) {
    HANSA_TRY(asked.digest, oci::Digest::parse(text_in(json, "digest").value_or("")));
  }
  asked.number = number_in(json, number).value_or(0);
  return asked;
}

bool is_failed_disk(ErrorCode code) {
  return code == ErrorCode::io || code == ErrorCode::out_of_space;
}

Error under_way() {
  return make_error(ErrorCode::unavailable, Subject::upload, "another request of this upload is under way");
}

Error not_kept() {
  return make_error(ErrorCode::not_found, Subject::upload, "this member keeps nothing of that upload");
}

// A body without its first bytes, which are here already.
class Rest final : public io::ByteSource {
 public:
  Rest(std::shared_ptr<io::ByteSource> body, std::uint64_t skip) : body_(std::move(body)), left_(skip) {}

  io::Task<Result<std::size_t>> read(Bytes out) override {
    while (true) {
      HANSA_CO_TRY(const std::size_t got, co_await body_->read(out));
      const auto skipped = static_cast<std::size_t>(std::min<std::uint64_t>(got, left_));
      left_ -= skipped;
      if (got > 0 && skipped == got) continue;
      std::memmove(out.data(), out.data() + skipped, got - skipped);
      co_return got - skipped;
    }
  }
  std::uint64_t left() const { return left_; }  // bytes to skip

 private:
  const std::shared_ptr<io::ByteSource> body_;
  std::uint64_t left_;
};

}  // namespace

void Relays::serve(PeerDispatch& dispatch) {
  dispatch.on("relay.append", [this](io::NodeId from, io::PeerRequest request) {
    return on_append(std::move(from), std::move(request));
  });
  dispatch.on("relay.finish", [this](io::NodeId from, io::PeerRequest request) {
    return on_finish(std::move(from), std::move(request));
  });
  dispatch.on("relay.drop", [this](io::NodeId from, io::PeerRequest request) {
    return on_drop(std::move(from), std::move(request));
  });
}

bool Relays::is_staging(const std::string& id) const {
  const std::lock_guard guard(mutex_);
  return received_.contains(id);
}

std::optional<Relays::Kept> Relays::kept(const std::string& id) const {
  const std::lock_guard guard(mutex_);
  const auto known = received_.find(id);
  if (known == received_.end() || known->second->staged == nullptr) return std::nullopt;
  return Kept{.term = known->second->upload.term, .size = known->second->size};
}

// ---- one request --------------------------------------------------------------------------------------------------

// Busy for the caller; made when the upload begins. A sender that begins anew finds what it had sent: that may be the
// only other copy of what a client was told to be there, until all has come again.
io::Task<Result<std::shared_ptr<Relays::Received>>> Relays::take(io::NodeId from, RelayedUpload upload,
                                                                 std::uint64_t offset) {
  std::shared_ptr<Received> received;
  std::shared_ptr<Received> old;
  {
    const std::lock_guard guard(mutex_);
    auto& slot = received_[upload.id];
    if (slot) {
      if (upload.term < slot->upload.term) {
        co_return make_error(ErrorCode::conflict, Subject::upload, "another member has taken this upload up since");
      }
      if (slot->busy) co_return under_way();
      slot->busy = true;
      if (slot->from == from && slot->upload.term == upload.term && (slot->size == offset || offset == 0)) {
        co_return slot;
      }
      old = slot;
    } else if (received_.size() > options_.max_received) {
      received_.erase(upload.id);
      co_return make_error(ErrorCode::too_many, "this member keeps as many uploads of others as it may");
    }
    if (old && offset != 0) {
      old->busy = false;
      co_return make_error(ErrorCode::range, Subject::upload, "the bytes do not follow on those that are here");
    }
    received = std::make_shared<Received>();
    received->from = std::move(from);
    received->upload = std::move(upload);
    slot = received;
  }
  if (old) old->staged.reset();
  auto made = co_await make(received, offset);
  if (!made) {
    forget(received->upload.id);
    co_return std::move(made).error();
  }
  co_return received;
}

io::Task<Result<void>> Relays::make(std::shared_ptr<Received> received, std::uint64_t offset) {
  const RelayedUpload& upload = received->upload;
  if (make_way_) {
    HANSA_CO_CHECK(co_await make_way_(received->from, upload.id, upload.term));
  }
  if (offset != 0) co_return not_kept();
  auto staged = co_await p_.blobs.create_staged(upload.id, upload.algorithm);
  if (!staged && staged.error().code == ErrorCode::exists) {
    // An older part of it, which was replaced, or was left by an earlier process.
    HANSA_CO_CHECK(co_await p_.blobs.discard_staged(upload.id));
    staged = co_await p_.blobs.create_staged(upload.id, upload.algorithm);
  }
  if (!staged) co_return std::move(staged).error();
  const std::lock_guard guard(mutex_);
  received->staged = *std::move(staged);
  co_return Result<void>{};
}

// What is here, busy for the caller.
Result<std::shared_ptr<Relays::Received>> Relays::take_known(const io::NodeId& from, const std::string& id) {
  const std::lock_guard guard(mutex_);
  const auto known = received_.find(id);
  if (known == received_.end() || known->second->from != from) return not_kept();
  if (known->second->busy) return under_way();
  known->second->busy = true;
  return known->second;
}

void Relays::give_back(Received& received) {
  std::vector<io::Completion<bool>> waiting;
  {
    const std::lock_guard guard(mutex_);
    received.busy = false;
    received.size = received.staged->size();
    received.used = p_.clock.monotonic();
    waiting.swap(received.waiting);
  }
  for (const auto& one : waiting) one.complete(true);
}

void Relays::forget(const std::string& id) {
  std::shared_ptr<Received> gone;
  {
    const std::lock_guard guard(mutex_);
    const auto known = received_.find(id);
    gone = std::move(known->second);
    received_.erase(known);
  }
  for (const auto& one : gone->waiting) one.complete(true);
}

// Of one that is busy for the caller.
io::Task<void> Relays::discard(std::shared_ptr<Received> received) {
  {
    const std::lock_guard guard(mutex_);
    received->staged.reset();
  }
  auto gone = co_await p_.blobs.discard_staged(received->upload.id);
  if (!gone) p_.log.warn("cannot remove a peer's upload", {{"error", gone.error().message}});
  forget(received->upload.id);
}

io::Task<Result<void>> Relays::take_in(std::shared_ptr<Received> received, std::shared_ptr<io::ByteSource> body) {
  Limit limit = [] { return wanted_interval; };
  Progress progress = [received, beat = std::uint64_t{0}]() mutable { return received->wanted ? 0 : ++beat; };
  auto append = append_stream(std::move(body), received->staged, options_.body_limit);
  co_return co_await while_moving(std::move(limit), std::move(progress), std::move(append));
}

io::Task<Result<std::shared_ptr<blob::StagedBlob>>> Relays::take_over(std::string id) {
  while (true) {
    {
      const std::lock_guard guard(mutex_);
      const auto known = received_.find(id);
      if (known == received_.end()) co_return std::shared_ptr<blob::StagedBlob>();
      if (!known->second->busy) {
        auto staged = std::move(known->second->staged);
        received_.erase(known);
        co_return staged;
      }
    }
    HANSA_CO_CHECK(co_await io::with_deadline(options_.take_over_limit, given_back(id)));
  }
}

// Whoever appends to it leaves off.
io::Task<Result<void>> Relays::given_back(std::string id) {
  auto wait = io::wait_for<bool>([this, &id](io::Completion<bool> done) -> io::Work {
    const std::lock_guard guard(mutex_);
    const auto known = received_.find(id);
    if (known == received_.end() || !known->second->busy) {
      done.complete(true);
      return nullptr;
    }
    known->second->wanted = true;
    known->second->waiting.push_back(done);
    return [done] { done.complete(false); };
  });
  const bool done = co_await wait;
  if (!done) co_return make_error(ErrorCode::cancelled, "cancelled while a sender was cut off");
  co_return Result<void>{};
}

// ---- the verbs --------------------------------------------------------------------------------------------------

io::Task<Result<io::PeerResponse>> Relays::on_append(io::NodeId from, io::PeerRequest request) {
  HANSA_CO_TRY(auto asked, read_asked(request.arguments, "offset"));
  HANSA_CO_TRY(auto received, co_await take(std::move(from), std::move(asked.upload), asked.number));
  Result<void> done;
  bool fits = true;
  if (request.body != nullptr) {
    const auto rest = std::make_shared<Rest>(std::move(request.body), received->staged->size() - asked.number);
    done = co_await take_in(received, rest);
    fits = !done || rest->left() == 0;
  }
  if (!fits) done = make_error(ErrorCode::range, Subject::upload, "this member has more of the upload than was sent");
  // The sender or its client broke off, or the upload is taken over: what came is of use. A failed disk's is not.
  const bool of_use = done || (fits && received->upload.keep && !is_failed_disk(done.error().code));
  const std::uint64_t size = received->staged->size();
  if (of_use) {
    give_back(*received);
  } else {
    co_await discard(std::move(received));
  }
  if (!done) co_return std::move(done).error();
  co_return io::PeerResponse{.result = wire::size_text(size), .body = nullptr};
}

io::Task<Result<io::PeerResponse>> Relays::on_finish(io::NodeId from, io::PeerRequest request) {
  HANSA_CO_TRY(const auto asked, read_asked(request.arguments, "size"));
  if (!asked.digest) co_return make_error(ErrorCode::invalid, Subject::request, "an upload ends with its digest");
  HANSA_CO_TRY(auto received, take_known(from, asked.upload.id));
  Result<blob::Receipt> finished = make_error(ErrorCode::range, Subject::upload, "this member has other bytes of it");
  if (received->staged->size() == asked.number) {
    finished = co_await p_.blobs.finish(received->staged, *asked.digest);
  }
  // What is stored is no staged file any more; what is not is of no use.
  co_await discard(std::move(received));
  if (!finished) co_return std::move(finished).error();
  co_return io::PeerResponse{.result = wire::receipt_text(*finished), .body = nullptr};
}

io::Task<Result<io::PeerResponse>> Relays::on_drop(io::NodeId from, io::PeerRequest request) {
  HANSA_CO_TRY(const auto asked, read_asked(request.arguments, "offset"));
  HANSA_CO_TRY(auto received, take_known(from, asked.upload.id));
  co_await discard(std::move(received));
  co_return io::PeerResponse{.result = wire::size_text(0), .body = nullptr};
}

io::Task<void> Relays::expire() {
  std::vector<std::shared_ptr<Received>> idle;
  {
    const std::lock_guard guard(mutex_);
    const io::MonotonicTime now = p_.clock.monotonic();
    for (const auto& [id, received] : received_) {
      if (received->busy || now - received->used < options_.idle_limit) continue;
      received->busy = true;
      idle.push_back(received);
    }
  }
  for (auto& received : idle) co_await discard(std::move(received));
}

io::Task<void> Relays::expire_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(expire_interval);
    if (!slept) co_return;
    co_await expire();
  }
}

}  // namespace hansa::cluster
