// What this node keeps of its peers' uploads.
#include <nlohmann/json.hpp>

#include "cluster/copies_parts.h"
#include "cluster/relay.h"

namespace hansa::cluster {
namespace {

constexpr std::string_view file_prefix = "relay-";
constexpr io::Duration expire_interval = std::chrono::minutes(1);
constexpr std::size_t max_id = 64;  // characters

struct Asked {
  std::string id;
  oci::Algorithm algorithm = oci::Algorithm::sha256;
  std::optional<oci::Digest> digest;
  std::uint64_t number = 0;  // offset or size
};

Result<Asked> read_asked(std::string_view text, const char* number) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto text_of = [&json](const char* name) -> std::string {
    const auto field = json.find(name);
    return field != json.end() && field->is_string() ? field->get<std::string>() : std::string();
  };
  if (!json.is_object() || text_of("id").empty() || text_of("id").size() > max_id) {
    return make_error(ErrorCode::invalid, Subject::request, "a member sent a malformed request about an upload");
  }
  Asked asked;
  asked.id = text_of("id");
  if (json.contains("algorithm")) {
    HANSA_TRY(asked.algorithm, oci::parse_algorithm(text_of("algorithm")));
  }
  if (json.contains("digest")) {
    HANSA_TRY(asked.digest, oci::Digest::parse(text_of("digest")));
  }
  const auto found = json.find(number);
  if (found != json.end() && found->is_number_unsigned()) asked.number = found->get<std::uint64_t>();
  return asked;
}

Error not_kept() {
  return make_error(ErrorCode::not_found, Subject::upload, "this member keeps nothing of that upload");
}

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
  if (!id.starts_with(file_prefix)) return false;
  const std::lock_guard guard(mutex_);
  for (const auto& [key, received] : received_) {
    if (received->file == id) return true;
  }
  return false;
}

// Busy for the caller; made when the upload begins.
io::Task<Result<std::shared_ptr<Relays::Received>>> Relays::take(Key key, oci::Algorithm algorithm,
                                                                 std::uint64_t offset) {
  std::shared_ptr<Received> received;
  {
    const std::lock_guard guard(mutex_);
    const auto known = received_.find(key);
    if (known != received_.end()) {
      if (known->second->busy) co_return make_error(ErrorCode::conflict, "another request of this upload is under way");
      known->second->busy = true;
      co_return known->second;
    }
    if (offset != 0) co_return not_kept();
    if (received_.size() >= options_.max_received) {
      co_return make_error(ErrorCode::too_many, "this member keeps as many uploads of others as it may");
    }
    received = std::make_shared<Received>();
    received->file = std::string(file_prefix) + p_.random.hex(staging_random_bytes);
    received->busy = true;
    received_.emplace(key, received);
  }
  auto staged = co_await p_.blobs.create_staged(received->file, algorithm);
  if (!staged) {
    const std::lock_guard guard(mutex_);
    received_.erase(key);
    co_return std::move(staged).error();
  }
  received->staged = *std::move(staged);
  co_return received;
}

void Relays::give_back(Received& received) {
  const std::lock_guard guard(mutex_);
  received.busy = false;
  received.used = p_.clock.monotonic();
}

// Of one that is busy for the caller.
io::Task<void> Relays::discard(Key key, std::shared_ptr<Received> received) {
  received->staged.reset();
  auto gone = co_await p_.blobs.discard_staged(received->file);
  if (!gone) p_.log.warn("cannot remove a peer's upload", {{"error", gone.error().message}});
  const std::lock_guard guard(mutex_);
  received_.erase(key);
}

io::Task<Result<io::PeerResponse>> Relays::on_append(io::NodeId from, io::PeerRequest request) {
  HANSA_CO_TRY(const auto asked, read_asked(request.arguments, "offset"));
  const Key key(std::move(from), asked.id);
  HANSA_CO_TRY(auto received, co_await take(key, asked.algorithm, asked.number));
  Result<void> done;
  if (received->staged->size() != asked.number) {
    done = make_error(ErrorCode::range, Subject::upload, "the bytes do not follow on those that are here");
  } else if (request.body != nullptr) {
    done = co_await append_stream(std::move(request.body), received->staged, options_.body_limit);
  }
  if (!done) {
    co_await discard(key, std::move(received));
    co_return std::move(done).error();
  }
  const std::uint64_t size = received->staged->size();
  give_back(*received);
  co_return io::PeerResponse{.result = wire::size_text(size), .body = nullptr};
}

io::Task<Result<io::PeerResponse>> Relays::on_finish(io::NodeId from, io::PeerRequest request) {
  HANSA_CO_TRY(const auto asked, read_asked(request.arguments, "size"));
  if (!asked.digest) co_return make_error(ErrorCode::invalid, Subject::request, "an upload ends with its digest");
  const Key key(std::move(from), asked.id);
  // No bytes: not one that would be begun now.
  HANSA_CO_TRY(auto received, co_await take(key, asked.digest->algorithm(), 1));
  Result<blob::Receipt> finished = make_error(ErrorCode::range, Subject::upload, "this member has other bytes of it");
  if (received->staged->size() == asked.number) {
    finished = co_await p_.blobs.finish(received->staged, *asked.digest);
  }
  // What is stored is no staged file any more; what is not is of no use.
  co_await discard(key, std::move(received));
  if (!finished) co_return std::move(finished).error();
  co_return io::PeerResponse{.result = wire::receipt_text(*finished), .body = nullptr};
}

io::Task<Result<io::PeerResponse>> Relays::on_drop(io::NodeId from, io::PeerRequest request) {
  HANSA_CO_TRY(const auto asked, read_asked(request.arguments, "offset"));
  const Key key(std::move(from), asked.id);
  HANSA_CO_TRY(auto received, co_await take(key, asked.algorithm, 1));
  co_await discard(key, std::move(received));
  co_return io::PeerResponse{.result = wire::size_text(0), .body = nullptr};
}

io::Task<void> Relays::expire() {
  std::vector<std::pair<Key, std::shared_ptr<Received>>> idle;
  {
    const std::lock_guard guard(mutex_);
    const io::MonotonicTime now = p_.clock.monotonic();
    for (const auto& [key, received] : received_) {
      if (received->busy || now - received->used < options_.idle_limit) continue;
      received->busy = true;
      idle.emplace_back(key, received);
    }
  }
  for (auto& [key, received] : idle) co_await discard(key, std::move(received));
}

io::Task<void> Relays::expire_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(expire_interval);
    if (!slept) co_return;
    co_await expire();
  }
}

}  // namespace hansa::cluster
