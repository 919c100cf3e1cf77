// Blobs that are missing here: one fetch for all who want one, from one source after the other.
#include <algorithm>

#include "cluster/copies.h"
#include "cluster/copies_parts.h"

namespace hansa::cluster {

// One fetch and those who wait for it.
struct Copies::Flight {
  using Waiter = io::Completion<Result<std::shared_ptr<Growth>>>;
  std::vector<Waiter> for_end;
  std::vector<Waiter> for_begin;   // or its end, where it fails
  std::shared_ptr<Growth> growth;  // once a source has answered
  bool urgent = false;             // a client waits
};

struct Copies::Fetching {
  oci::Digest digest;
  const Staging& staging;
  std::shared_ptr<blob::StagedBlob> staged;
  bool background = false;  // as it began; a client may have come to wait since
  bool bulk = false;        // this round is from free slots only
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
  if (ended->growth) ended->growth->end(outcome.has_value());
  const auto result =
      outcome ? Result<std::shared_ptr<Growth>>(nullptr) : Result<std::shared_ptr<Growth>>(outcome.error());
  for (const auto* waiting : {&ended->for_end, &ended->for_begin}) {
    for (const auto& waiter : *waiting) waiter.complete(result);
  }
}

bool Copies::is_urgent(const oci::Digest& digest) const {
  const std::lock_guard guard(mutex_);
  const auto flight = flights_.find(digest);
  return flight != flights_.end() && flight->second->urgent;
}

// Null: what grew is of no use any more.
void Copies::show(const oci::Digest& digest, std::shared_ptr<Growth> growth) {
  std::vector<Flight::Waiter> begun;
  {
    const std::lock_guard guard(mutex_);
    const auto flight = flights_.find(digest);
    if (flight == flights_.end()) return;
    flight->second->growth = growth;
    if (growth) begun.swap(flight->second->for_begin);
  }
  for (const auto& waiter : begun) waiter.complete(growth);
}

// Whether this began it.
bool Copies::join_flight(const oci::Digest& digest, bool background, Until until, const Flight::Waiter& completion) {
  std::shared_ptr<Growth> growth;
  bool first = false;
  {
    const std::lock_guard guard(mutex_);
    auto& flight = flights_[digest];
    first = flight == nullptr;
    if (first) flight = std::make_shared<Flight>();
    if (!background) flight->urgent = true;
    if (until == Until::begun) growth = flight->growth;
    if (!growth) (until == Until::ended ? flight->for_end : flight->for_begin).push_back(completion);
  }
  if (growth) completion.complete(std::move(growth));
  return first;
}

// The scope's tasks are its own thread's.
void Copies::start_fetch(oci::Digest digest, bool background) {
  HANSA_ASSERT(scope_ != nullptr, "run() comes before the first fetch");
  scope_->executor().post(
      [this, digest = std::move(digest), background] { scope_->spawn("fetch", fly(digest, background)); });
}

io::Task<void> Copies::fly(oci::Digest digest, bool background) {
  Result<void> outcome;
  bool here = false;
  // It may have come between the caller's look and this. Who waits for the first byte does not wait for a second look.
  if (background) here = (co_await ports_.blobs.stat(digest)).has_value();
  if (!here) outcome = co_await fetch(digest, background);
  end_flight(digest, outcome);
}

// Until::begun: what grows, or null if it is whole already. Until::ended: null.
io::Task<Result<std::shared_ptr<Growth>>> Copies::join_fetch(oci::Digest digest, bool background, Until until) {
  auto wait = io::wait_for<Result<std::shared_ptr<Growth>>>([&](Flight::Waiter completion) -> io::Work {
    if (join_flight(digest, background, until, completion)) start_fetch(digest, background);
    return [completion] { completion.complete(make_error(ErrorCode::cancelled, "cancelled while fetching a blob")); };
  });
  co_return co_await wait;
}

namespace {

// Another member may have what is missing or damaged here; a disk that fails is another matter.
bool must_fetch(ErrorCode code) {
  return code == ErrorCode::not_found || code == ErrorCode::corrupt;
}

}  // namespace

io::Task<Result<std::shared_ptr<blob::BlobReader>>> Copies::open_here(oci::Digest digest) {
  auto opened = co_await ports_.blobs.open(digest);
  if (!opened && opened.error().code == ErrorCode::not_found) {
    co_return make_error(ErrorCode::unavailable, Subject::blob,
                         "the bytes of " + digest.text() + " were swept at once");
  }
  co_return opened;
}

io::Task<Result<std::shared_ptr<blob::BlobReader>>> Copies::obtain(oci::Digest digest) {
  auto local = co_await ports_.blobs.open(digest);
  if (local) co_return local;
  if (!must_fetch(local.error().code)) co_return local;
  HANSA_CO_CHECK(co_await join_fetch(digest, false, Until::ended));
  co_return co_await open_here(std::move(digest));
}

io::Task<Result<std::shared_ptr<blob::BlobReader>>> Copies::stream(oci::Digest digest) {
  auto local = co_await ports_.blobs.open(digest);
  if (local) co_return local;
  if (!must_fetch(local.error().code)) co_return local;
  HANSA_CO_TRY(auto growth, co_await join_fetch(digest, false, Until::begun));
  if (growth) {
    auto staged = co_await ports_.blobs.read_staged(growth->file());
    if (staged) {
      co_return std::shared_ptr<blob::BlobReader>(
          std::make_shared<GrowthReader>(std::move(growth), *std::move(staged)));
    }
    if (staged.error().code != ErrorCode::not_found) co_return std::move(staged).error();
    // It has ended meanwhile, well or not.
    HANSA_CO_CHECK(co_await join_fetch(digest, false, Until::ended));
  }
  co_return co_await open_here(std::move(digest));
}

io::Task<Result<void>> Copies::fill(oci::Digest digest) {
  auto here = co_await ports_.blobs.stat(digest);
  if (here) co_return Result<void>{};
  if (here.error().code != ErrorCode::not_found) co_return std::move(here).error();
  HANSA_CO_CHECK(co_await join_fetch(std::move(digest), true, Until::ended));
  co_return Result<void>{};
}

// ---- the fetch --------------------------------------------------------------------------------------------------

io::Task<Result<void>> Copies::fetch(oci::Digest digest, bool background) {
  HANSA_CO_TRY(const auto slot, co_await fetches_.take(options_.own_patience));
  const Staging staging(mutex_, staging_, "fetch-" + ports_.random.hex(staging_random_bytes));
  Fetching fetching{.digest = digest,
                    .staging = staging,
                    .staged = nullptr,
                    .background = background,
                    .growth = nullptr,
                    .trouble = {}};
  HANSA_CO_TRY(fetching.staged, co_await ports_.blobs.create_staged(staging.id(), digest.algorithm()));
  Result<void> done;
  std::uint64_t had = 0;
  for (int round = 0;; ++round) {
    fetching.bulk = background && round < options_.bulk_rounds && !is_urgent(digest);
    done = co_await fetch_round(&fetching);
    if (done) {
      ++fetched_;
      fetched_bytes_ += fetching.growth->size();
      co_return done;
    }
    // What came from sources that then broke off is not thrown away as long as more comes.
    const bool moved = fetching.staged != nullptr && fetching.staged->size() > had;
    const bool again = (moved || (fetching.bulk && fetching.busy)) && done.error().code == ErrorCode::unavailable;
    if (!again) break;
    had = fetching.staged->size();
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
  if (fetching->background && body != nullptr) {
    auto held = [this, digest = fetching->digest](std::size_t bytes) -> io::Duration {
      return is_urgent(digest) ? io::Duration::zero() : fill_throttle_.take(bytes, ports_.clock.monotonic());
    };
    body = std::make_shared<ThrottledSource>(std::move(body), std::move(held));
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
