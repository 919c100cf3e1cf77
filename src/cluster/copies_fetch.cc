// Blobs that are missing here: one fetch for all who want one, from one source after the other.
#include <algorithm>

#include "cluster/copies.h"
#include "cluster/copies_parts.h"

namespace hansa::cluster {

// One fetch and those who wait for it. The first caller carries it out; if it is cancelled, another takes over.
struct Copies::Flight {
  std::vector<io::Completion<Result<void>>> waiting;
  std::shared_ptr<Growth> growth;  // once a source has answered
  bool urgent = false;             // a client waits
};

struct Copies::Fetching {
  oci::Digest digest;
  const Staging& staging;
  std::shared_ptr<blob::StagedBlob> staged;
  bool bulk = false;
  std::shared_ptr<Growth> growth;
  std::string trouble;  // what came of the sources of this round
  bool busy = false;    // one of them had no free slot
};

// ---- one for all ------------------------------------------------------------------------------------------------

void Copies::end_flight(const oci::Digest& digest, const Result<void>& outcome) {
  std::shared_ptr<Flight> ended;
  {
    const std::lock_guard guard(mutex_);
    const auto flight = flights_.find(digest);
    ended = std::move(flight->second);
    flights_.erase(flight);
  }
  if (ended->growth) ended->growth->end();
  for (const auto& waiter : ended->waiting) waiter.complete(outcome);
}

bool Copies::is_urgent(const oci::Digest& digest) const {
  const std::lock_guard guard(mutex_);
  const auto flight = flights_.find(digest);
  return flight != flights_.end() && flight->second->urgent;
}

void Copies::show(const oci::Digest& digest, std::shared_ptr<Growth> growth) {
  const std::lock_guard guard(mutex_);
  const auto flight = flights_.find(digest);
  if (flight != flights_.end()) flight->second->growth = std::move(growth);
}

io::Task<Result<void>> Copies::fetch_once(oci::Digest digest, bool background) {
  while (true) {
    bool leads = false;
    auto landed = io::wait_for<Result<void>>([this, &digest](io::Completion<Result<void>> completion) -> io::Work {
      const std::lock_guard guard(mutex_);
      const auto flight = flights_.find(digest);
      if (flight == flights_.end()) {
        completion.complete(make_error(ErrorCode::cancelled, "the fetch ended meanwhile"));
        return nullptr;
      }
      flight->second->waiting.push_back(completion);
      return [completion] { completion.complete(make_error(ErrorCode::cancelled, "cancelled while fetching a blob")); };
    });
    {
      const std::lock_guard guard(mutex_);
      auto& flight = flights_[digest];
      leads = flight == nullptr;
      if (leads) flight = std::make_shared<Flight>();
      if (!background) flight->urgent = true;
    }
    if (leads) {
      auto outcome = co_await fetch(digest, background);
      end_flight(digest, outcome);
      co_return outcome;
    }
    auto outcome = co_await landed;
    io::TaskContext& context = co_await io::current_context();
    // The one who fetched was cancelled, not this caller: take over, or see that it is here.
    if (outcome || outcome.error().code != ErrorCode::cancelled || context.cancelled()) co_return outcome;
    auto here = co_await ports_.blobs.stat(digest);
    if (here) co_return Result<void>{};
  }
}

io::Task<Result<std::shared_ptr<blob::BlobReader>>> Copies::obtain(oci::Digest digest) {
  auto local = co_await ports_.blobs.open(digest);
  if (local) co_return local;
  const auto code = local.error().code;
  if (code != ErrorCode::not_found && code != ErrorCode::corrupt) co_return local;
  HANSA_CO_CHECK(co_await fetch_once(digest, false));
  auto opened = co_await ports_.blobs.open(digest);
  if (!opened && opened.error().code == ErrorCode::not_found) {
    co_return make_error(ErrorCode::unavailable, Subject::blob,
                         "the bytes of " + digest.text() + " were swept at once");
  }
  co_return opened;
}

io::Task<Result<void>> Copies::fill(oci::Digest digest) {
  auto here = co_await ports_.blobs.stat(digest);
  if (here) co_return Result<void>{};
  if (here.error().code != ErrorCode::not_found) co_return std::move(here).error();
  co_return co_await fetch_once(std::move(digest), true);
}

// ---- the fetch --------------------------------------------------------------------------------------------------

io::Task<Result<void>> Copies::fetch(oci::Digest digest, bool background) {
  HANSA_CO_TRY(const auto slot, co_await fetches_.take(options_.own_patience));
  const Staging staging(mutex_, staging_, "fetch-" + ports_.random.hex(staging_random_bytes));
  Fetching fetching{.digest = digest, .staging = staging, .staged = nullptr, .growth = nullptr, .trouble = {}};
  HANSA_CO_TRY(fetching.staged, co_await ports_.blobs.create_staged(staging.id(), digest.algorithm()));
  Result<void> done;
  for (int round = 0;; ++round) {
    fetching.bulk = background && round < options_.bulk_rounds && !is_urgent(digest);
    done = co_await fetch_round(&fetching);
    if (done) {
      ++fetched_;
      co_return done;
    }
    const bool again = fetching.bulk && fetching.busy && done.error().code == ErrorCode::unavailable;
    if (!again) break;
    auto slept = co_await io::sleep_for(options_.bulk_pause);
    if (!slept) {
      done = std::move(slept);
      break;
    }
  }
  show(digest, nullptr);
  if (fetching.growth) fetching.growth->end();
  co_await drop_staged(std::move(fetching.staged), staging.id());
  if (done.error().code == ErrorCode::unavailable) {
    ports_.log.error("no member gave the bytes of a blob", {{"digest", digest.text()}, {"tried", fetching.trouble}});
  }
  co_return done;
}

// From one source after the other; what came from one that broke off is kept, and the next goes on after it.
io::Task<Result<void>> Copies::fetch_round(Fetching* fetching) {
  fetching->trouble.clear();
  fetching->busy = false;
  for (auto& source : candidates(Purpose::fetch)) {
    auto got = co_await fetch_from(source.id, fetching);
    if (got) {
      auto finished = co_await ports_.blobs.finish(fetching->staged, fetching->digest);
      if (finished) co_return Result<void>{};
      got = Result<void>(std::move(finished).error());
    }
    fetching->busy = fetching->busy || got.error().code == ErrorCode::too_many;
    // Damaged at its source or on the way; its bytes are of no use to the next one.
    const bool rotten = got.error().code == ErrorCode::invalid;
    fetching->trouble += (fetching->trouble.empty() ? ": " : "; ") + source.id.value() + ": " + got.error().message;
    if (is_local(got.error().code)) co_return std::move(got).error();
    if (!rotten) continue;
    ports_.log.error("a member sent other bytes than the digest's",
                     {{"member", source.id.value()}, {"digest", fetching->digest.text()}});
    HANSA_CO_CHECK(co_await begin_anew(fetching));
  }
  co_return make_error(
      ErrorCode::unavailable, Subject::blob,
      "the bytes of " + fetching->digest.text() + " cannot be had now; try again later" + fetching->trouble);
}

io::Task<Result<void>> Copies::begin_anew(Fetching* fetching) {
  show(fetching->digest, nullptr);
  if (fetching->growth) fetching->growth->end();
  fetching->growth.reset();
  co_await drop_staged(std::move(fetching->staged), fetching->staging.id());
  HANSA_CO_TRY(fetching->staged,
               co_await ports_.blobs.create_staged(fetching->staging.id(), fetching->digest.algorithm()));
  co_return Result<void>{};
}

io::Task<Result<void>> Copies::fetch_from(io::NodeId source, Fetching* fetching) {
  const std::uint64_t offset = fetching->staged->size();
  // Only nearer to a whole one than this node is itself, or two could wait for each other for ever.
  const std::uint64_t own = fetching->growth ? fetching->growth->distance() : max_distance;
  auto answer =
      co_await ask(std::move(source), "blob.get",
                   wire::get_arguments(fetching->digest, offset, {.background = fetching->bulk, .distance = own - 1}));
  if (!answer) co_return of_peer(answer.error());
  HANSA_CO_TRY(const auto size, wire::read_size(answer->result));
  auto body = std::move(answer->body);
  if (body == nullptr && size > offset) {
    co_return make_error(ErrorCode::disconnected, "the answer has no body");
  }
  if (!fetching->growth) {
    const std::uint64_t distance = std::min(wire::read_distance(answer->result), max_distance - 1) + 1;
    fetching->growth = std::make_shared<Growth>(fetching->staging.id(), size, distance);
    show(fetching->digest, fetching->growth);
  }
  const auto grew = [growth = fetching->growth](std::uint64_t have) { growth->grew(have); };
  co_return co_await append_all(std::move(body), fetching->staged, size, options_.stall_limit, grew);
}

io::Task<void> Copies::drop_staged(std::shared_ptr<blob::StagedBlob> staged, std::string id) {
  staged.reset();
  auto gone = co_await ports_.blobs.discard_staged(id);
  if (!gone) ports_.log.warn("cannot remove what was staged", {{"id", id}, {"error", gone.error().message}});
}

// ---- to those that fetch it meanwhile -----------------------------------------------------------------------------

// With a slot of its own kind: nobody waits for a background fetch, so it never takes what clients wait for.
io::Task<Result<Slots::Held>> Copies::serving_slot(GetTerms terms, std::uint64_t size) {
  if (!terms.background || size < options_.bulk_from) co_return co_await serves_.take(options_.patience);
  if (*relaying_ > 0) co_return make_error(ErrorCode::too_many, "this member relays an upload now; ask another");
  co_return co_await bulk_serves_.take(io::Duration::zero());
}

io::Task<Result<io::PeerResponse>> Copies::serve_growing(oci::Digest digest, std::uint64_t offset, GetTerms terms) {
  std::shared_ptr<Growth> growth;
  {
    const std::lock_guard guard(mutex_);
    const auto flight = flights_.find(digest);
    if (flight != flights_.end()) growth = flight->second->growth;
  }
  if (!growth || growth->distance() > terms.distance || offset > growth->size()) {
    co_return make_error(ErrorCode::not_found, Subject::blob, "this member lacks " + digest.text());
  }
  HANSA_CO_TRY(auto slot, co_await serving_slot(terms, growth->size()));
  HANSA_CO_TRY(auto reader, co_await ports_.blobs.read_staged(growth->file()));
  std::string result = wire::size_text(growth->size(), growth->distance());
  ++served_growing_;
  auto body = std::make_shared<GrowthSource>(std::move(growth), std::move(reader), offset, std::move(slot));
  co_return io::PeerResponse{.result = std::move(result), .body = std::move(body)};
}

std::shared_ptr<const void> Copies::relaying() {
  ++*relaying_;
  return {relaying_.get(), [count = relaying_](const void*) { --*count; }};
}

}  // namespace hansa::cluster
