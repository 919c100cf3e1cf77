#include "registry/sessions.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "pki/mac.h"

namespace hansa::registry {
namespace {

constexpr std::size_t random_bytes = 16;
constexpr std::size_t mac_characters = 32;

Error unknown_upload() {
  return make_error(ErrorCode::not_found, Subject::upload,
                    "no such upload: it ended, expired, or belongs to another repository or user; start a new one");
}

Error too_many_of(const std::string& owner, std::size_t limit) {
  return make_error(ErrorCode::too_many, Subject::upload,
                    "the " + owner + " has as many uploads open as one may have (" + std::to_string(limit) +
                        "); finish or cancel some, or try again later");
}

Error too_many_open(std::size_t limit) {
  return make_error(ErrorCode::too_many, Subject::upload,
                    "too many uploads are open (" + std::to_string(limit) + "); try again later");
}

Error too_many_bytes(const std::string& holder, std::uint64_t limit) {
  return make_error(ErrorCode::too_many, Subject::upload,
                    "the unfinished uploads of " + holder + " may hold " + std::to_string(limit) +
                        " bytes, and these would be more; finish or cancel some, or try again later");
}

Error too_large(std::uint64_t limit) {
  return make_error(ErrorCode::too_large, Subject::upload,
                    "this upload has more than the " + std::to_string(limit) +
                        " bytes that unfinished uploads may hold here (http.limits.uploadBytes)");
}

std::string signed_text(const oci::RepositoryName& repository, std::string_view user, std::string_view start) {
  // Repository names hold no line breaks, so the parts cannot be shifted into each other.
  return std::string(start) + "\n" + repository.text() + "\n" + std::string(user);
}

}  // namespace

std::string owner_of(std::string_view user, std::string_view client) {
  if (!user.empty()) return "user " + std::string(user);
  return client.empty() ? std::string() : "client " + std::string(client);
}

// [<node>_]<random>-<algorithm>-<mac>: one path segment and a file name.
std::string UploadSessions::make_id(const oci::RepositoryName& repository, std::string_view user,
                                    oci::Algorithm algorithm) {
  const std::string owner = options_.node.empty() ? "" : options_.node + "_";
  const std::string start = owner + random_.hex(random_bytes) + "-" + std::string(oci::to_string(algorithm));
  return start + "-" +
         pki::hmac_sha256_hex(options_.secret, signed_text(repository, user, start)).substr(0, mac_characters);
}

std::optional<oci::Algorithm> UploadSessions::check_id(const oci::RepositoryName& repository, std::string_view user,
                                                       std::string_view id) const {
  const auto last = id.rfind('-');
  if (last == std::string_view::npos) return std::nullopt;
  const std::string_view start = id.substr(0, last);
  const std::string expected =
      pki::hmac_sha256_hex(options_.secret, signed_text(repository, user, start)).substr(0, mac_characters);
  if (!pki::equal_in_constant_time(expected, id.substr(last + 1))) return std::nullopt;
  const auto middle = start.rfind('-');
  if (middle == std::string_view::npos) return std::nullopt;
  auto algorithm = oci::parse_algorithm(start.substr(middle + 1));
  if (!algorithm) return std::nullopt;
  return *algorithm;
}

std::optional<std::string> UploadSessions::opened_by(const oci::RepositoryName& repository, std::string_view user,
                                                     std::string_view id) const {
  if (options_.node.empty() || !check_id(repository, user, id)) return std::nullopt;
  const auto end = id.rfind('_');
  if (end == std::string_view::npos) return std::nullopt;
  return std::string(id.substr(0, end));
}

// With mutex_ held.
Result<void> UploadSessions::admit(const std::string& owner) {
  Result<void> outcome;
  if (!shares_.take(owner)) {
    ++refusals_.of_clients;
    outcome = too_many_of(owner, options_.max_of_one);
  } else if (sessions_.size() >= options_.max_open) {
    shares_.give_back(owner);
    outcome = too_many_open(options_.max_open);
  }
  if (!outcome) ++refusals_.all;
  return outcome;
}

io::Task<Result<UploadSessions::Hold>> UploadSessions::begin(oci::RepositoryName repository, std::string user,
                                                             std::string client, oci::Algorithm algorithm) {
  auto session = std::make_shared<Session>();
  session->id = make_id(repository, user, algorithm);
  session->owner = owner_of(user, client);
  session->busy = true;
  session->used = tick_();
  {
    const std::lock_guard guard(mutex_);
    HANSA_CO_CHECK(admit(session->owner));
    sessions_.emplace(session->id, session);
  }
  auto staged = co_await blobs_.create_staged(session->id, algorithm);
  if (!staged) {
    forget(session->id);
    co_return staged.error();
  }
  session->staged = std::move(*staged);
  co_return Hold(*this, std::move(session));
}

io::Task<Result<UploadSessions::Hold>> UploadSessions::acquire(oci::RepositoryName repository, std::string user,
                                                               std::string id) {
  const auto algorithm = check_id(repository, user, id);
  if (!algorithm) co_return unknown_upload();
  std::shared_ptr<Session> session;
  bool fresh = false;
  {
    const std::lock_guard guard(mutex_);
    if (const auto done = finished_by_id_.find(id); done != finished_by_id_.end()) {
      auto remembered = std::make_shared<Session>();
      remembered->id = id;
      remembered->stored = done->second;
      remembered->finished = true;
      co_return Hold(*this, std::move(remembered));
    }
    auto& slot = sessions_[id];
    fresh = slot == nullptr;
    if (fresh) {
      slot = std::make_shared<Session>();
      slot->id = id;
      slot->owner = owner_of(user, {});
      shares_.add(slot->owner);
    } else if (slot->busy) {
      co_return make_error(ErrorCode::too_many, Subject::upload, "another request of this upload is under way");
    }
    session = slot;
    session->busy = true;
    session->used = tick_();
    strays_.erase(id);
  }
  if (fresh) {
    // Known by its MAC, not by this process: a restart lies between.
    auto staged = co_await blobs_.reopen_staged(id, *algorithm);
    if (!staged) {
      forget(id);
      if (staged.error().code == ErrorCode::not_found) co_return unknown_upload();
      co_return staged.error();
    }
    session->staged = std::move(*staged);
  }
  co_return Hold(*this, std::move(session));
}

void UploadSessions::release(Session& session) {
  const std::lock_guard guard(mutex_);
  session.busy = false;
  session.used = tick_();
  session.received = session.staged ? session.staged->size() : session.stored_size;
  const auto known = sessions_.find(session.id);
  if (known != sessions_.end() && known->second.get() == &session) {
    count(session, session.staged ? session.staged->size() : 0);
  }
}

// 0: any.
std::uint64_t UploadSessions::most_of(const std::string& owner) const {
  const std::uint64_t of_one = owner.empty() ? 0 : options_.max_bytes_of_one;
  if (options_.max_bytes == 0 || of_one == 0) return std::max(options_.max_bytes, of_one);
  return std::min(options_.max_bytes, of_one);
}

Result<void> UploadSessions::grow(Session& session, std::uint64_t bytes) {
  const std::lock_guard guard(mutex_);
  Result<void> outcome;
  if (const auto most = most_of(session.owner);
      most != 0 && (session.counted >= most || bytes > most - session.counted)) {
    return too_large(most);
  }
  if (options_.max_bytes != 0 && (bytes_ >= options_.max_bytes || bytes > options_.max_bytes - bytes_)) {
    outcome = too_many_bytes("all clients", options_.max_bytes);
  } else if (!byte_shares_.take(session.owner, bytes)) {
    ++refusals_.of_clients;
    outcome = too_many_bytes("the " + session.owner, options_.max_bytes_of_one);
  }
  if (!outcome) {
    ++refusals_.all;
    return outcome;
  }
  session.counted += bytes;
  bytes_ += bytes;
  return outcome;
}

// With mutex_ held.
void UploadSessions::count(Session& session, std::uint64_t bytes) {
  byte_shares_.give_back(session.owner, session.counted);
  byte_shares_.add(session.owner, bytes);
  bytes_ = bytes_ - session.counted + bytes;
  session.counted = bytes;
}

void UploadSessions::forget(const std::string& id) {
  const std::lock_guard guard(mutex_);
  drop(id);
}

// With mutex_ held.
void UploadSessions::drop(const std::string& id) {
  const auto known = sessions_.find(id);
  if (known == sessions_.end()) return;
  shares_.give_back(known->second->owner);
  count(*known->second, 0);
  sessions_.erase(known);
}

// ---- sessions that move -------------------------------------------------------------------------------------------

std::optional<UploadSessions::Open> UploadSessions::find_open(const std::string& id) const {
  const std::lock_guard guard(mutex_);
  if (finished_by_id_.contains(id)) return Open{};
  const auto known = sessions_.find(id);
  if (known == sessions_.end()) return std::nullopt;
  return Open{.term = known->second->term, .received = known->second->received};
}

Result<void> UploadSessions::adopt(std::string id, std::string_view user, std::shared_ptr<blob::StagedBlob> staged,
                                   std::uint64_t term, bool unsure) {
  const std::lock_guard guard(mutex_);
  if (sessions_.size() >= options_.max_open) return too_many_open(options_.max_open);
  auto& slot = sessions_[id];
  if (slot) return make_error(ErrorCode::conflict, Subject::upload, "this upload is open here already");
  slot = std::make_shared<Session>();
  slot->id = std::move(id);
  slot->owner = owner_of(user, {});
  shares_.add(slot->owner);
  slot->received = staged->size();
  count(*slot, staged->size());
  slot->staged = std::move(staged);
  slot->term = term;
  slot->unsure = unsure;
  slot->used = tick_();
  return {};
}

void UploadSessions::take_up(Session& session, std::uint64_t term, bool unsure) {
  const std::lock_guard guard(mutex_);
  session.term = term;
  session.unsure = unsure;
}

io::Task<Result<void>> UploadSessions::make_way(io::NodeId other, std::string id, std::uint64_t term) {
  std::shared_ptr<Session> session;
  {
    const std::lock_guard guard(mutex_);
    const auto known = sessions_.find(id);
    if (known == sessions_.end()) co_return Result<void>{};
    session = known->second;
    // Of two that took it up at the same time the one with the greater name is believed.
    if (std::pair(session->term, std::string_view(options_.node)) > std::pair(term, std::string_view(other.value()))) {
      co_return make_error(ErrorCode::conflict, Subject::upload, "another member has taken this upload up since");
    }
    if (session->busy) {
      co_return make_error(ErrorCode::unavailable, Subject::upload, "another request of this upload is under way");
    }
    session->busy = true;
  }
  co_return co_await discard(*session);
}

io::Task<Result<void>> UploadSessions::discard(Session& session) {
  session.staged.reset();
  if (auto relay = std::exchange(session.relay, nullptr)) co_await relay->drop();
  auto removed = co_await blobs_.discard_staged(session.id);
  // Busy until here, so nobody reopened it in between; the caller's hold keeps the object.
  forget(session.id);
  co_return removed;
}

void UploadSessions::finished(Session& session) {
  const std::lock_guard guard(mutex_);
  session.finished = true;
  session.staged.reset();
  drop(session.id);
  finished_.push_back({.id = session.id, .digest = *session.stored, .at = tick_()});
  finished_by_id_.emplace(session.id, *session.stored);
  if (finished_.size() > options_.max_remembered) drop_old_finished(0);
}

// With mutex_ held. A session is known for the whole tick after the one it finished in; `now` 0: drop the oldest.
void UploadSessions::drop_old_finished(blob::TickNumber now) {
  constexpr blob::TickNumber remembered_ticks = 2;
  while (!finished_.empty() && (now == 0 || finished_.front().at + remembered_ticks <= now)) {
    finished_by_id_.erase(finished_.front().id);
    finished_.pop_front();
    if (now == 0) return;
  }
}

std::size_t UploadSessions::open() const {
  const std::lock_guard guard(mutex_);
  return sessions_.size();
}

UploadRefusals UploadSessions::refusals() const {
  const std::lock_guard guard(mutex_);
  return refusals_;
}

io::Task<Result<std::size_t>> UploadSessions::expire() {
  const blob::TickNumber now = tick_();
  HANSA_CO_TRY(const auto staged, co_await blobs_.list_staged());
  std::vector<std::shared_ptr<Session>> expired;
  {
    const std::lock_guard guard(mutex_);
    drop_old_finished(now);
    for (const auto& [id, session] : sessions_) {
      if (session->busy || session->used + options_.idle_ticks > now) continue;
      session->busy = true;
      expired.push_back(session);
    }
    std::map<std::string, blob::TickNumber> still;
    for (const auto& id : staged) {
      if (sessions_.contains(id) || (options_.in_use && options_.in_use(id))) continue;
      const auto known = strays_.find(id);
      const blob::TickNumber seen = known == strays_.end() ? now : known->second;
      if (seen + options_.idle_ticks > now) {
        still.emplace(id, seen);
      } else {
        // Known and busy until it is gone, so that no request reopens it meanwhile.
        auto session = std::make_shared<Session>();
        session->id = id;
        session->busy = true;
        sessions_.emplace(id, session);
        expired.push_back(std::move(session));
      }
    }
    strays_ = std::move(still);
  }
  Result<void> outcome;
  for (const auto& session : expired) {
    // After an error too: a session that stayed busy could neither be used nor expire.
    auto discarded = co_await discard(*session);
    if (!discarded) outcome = std::move(discarded);
  }
  if (!outcome) co_return outcome.error();
  co_return expired.size();
}

}  // namespace hansa::registry
