#include "registry/session_search.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "cluster/json_fields.h"
#include "io/scope.h"

namespace hansa::registry {
namespace {

Error nobody_has_it() {
  return make_error(ErrorCode::not_found, Subject::upload,
                    "no member has this upload: it ended, expired, or was lost with its member; start a new one");
}

Error not_asked(const std::string& members) {
  return make_error(ErrorCode::unavailable, Subject::upload,
                    "the member that may have this upload does not answer now; try again later (" + members + ")");
}

std::optional<SessionClaim> read_claim(io::NodeId node, const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto term = cluster::number_in(json, "term");
  const auto received = cluster::number_in(json, "received");
  if (!term || !received) return std::nullopt;
  return SessionClaim{
      .node = std::move(node), .term = *term, .open = cluster::flag_in(json, "open"), .received = *received};
}

}  // namespace

std::optional<SessionChoice> choose_owner(const std::vector<SessionClaim>& claims, const io::NodeId& opened_by) {
  if (claims.empty()) return std::nullopt;
  const auto rank = [&opened_by](const SessionClaim& claim) {
    return std::tuple(claim.term, claim.open, claim.received, claim.node == opened_by, claim.node);
  };
  SessionChoice choice{.best = *std::ranges::max_element(claims, {}, rank)};
  choice.next_term = choice.best.term + 1;
  const auto differs = [&choice](const SessionClaim& claim) { return claim.received != choice.best.received; };
  choice.unsure = choice.best.node != opened_by || std::ranges::any_of(claims, differs);
  return choice;
}

// ---- what the members have ----------------------------------------------------------------------------------------

struct SessionSearch::Heard {
  std::vector<SessionClaim> claims;
  std::string silent_now;   // answers pings, and not this
  std::string silent;       // its lease stands
  bool comes_back = false;  // one that did not answer said that it stops
};

io::Task<void> SessionSearch::ask(cluster::MemberState member, std::string arguments, Heard* heard) {
  io::PeerRequest request{.verb = "upload.find", .arguments = std::move(arguments), .body = nullptr};
  auto answer = co_await io::with_deadline(search_limit, p_.peers.call(member.id, std::move(request)));
  if (answer) {
    auto claim = read_claim(member.id, answer->result);
    if (claim) heard->claims.push_back(*std::move(claim));
    co_return;
  }
  // An older member does not know the question, and keeps nothing that could be taken up.
  if (answer.error().code == ErrorCode::not_found || answer.error().code == ErrorCode::unsupported) co_return;
  if (p_.pulses.leaving(member.id)) heard->comes_back = true;
  const std::string what = member.id.value() + ": " + answer.error().message;
  if (p_.pulses.fresh(member.id)) heard->silent_now += (heard->silent_now.empty() ? "" : "; ") + what;
  if (member.alive) heard->silent += (heard->silent.empty() ? "" : "; ") + what;
}

io::Task<std::optional<SessionClaim>> SessionSearch::own_claim(std::string id) {
  SessionClaim claim{.node = p_.members.self()};
  if (const auto open = p_.sessions.find_open(id)) {
    claim.term = open->term;
    claim.open = true;
    claim.received = open->received;
    co_return claim;
  }
  if (const auto kept = p_.relays.kept(id)) {
    claim.term = kept->term;
    claim.received = kept->size;
    co_return claim;
  }
  auto file = co_await p_.blobs.read_staged(id);
  if (!file) co_return std::nullopt;
  const auto size = co_await (*file)->size();
  if (!size) co_return std::nullopt;
  claim.received = *size;
  co_return claim;
}

io::Task<Result<io::PeerResponse>> SessionSearch::on_find(io::PeerRequest request) {
  const auto json = nlohmann::json::parse(request.arguments, nullptr, false);
  if (!json.is_object()) co_return make_error(ErrorCode::invalid, Subject::request, "malformed question for an upload");
  HANSA_CO_TRY(const auto repository, oci::RepositoryName::parse(cluster::text_in(json, "repository").value_or("")));
  std::string id = cluster::text_in(json, "session").value_or("");
  if (!p_.sessions.opened_by(repository, cluster::text_in(json, "user").value_or(""), id)) co_return nobody_has_it();
  const auto claim = co_await own_claim(std::move(id));
  if (!claim) co_return nobody_has_it();
  const nlohmann::json answer = {{"term", claim->term}, {"open", claim->open}, {"received", claim->received}};
  co_return io::PeerResponse{.result = answer.dump(), .body = nullptr};
}

io::Task<SessionSearch::Heard> SessionSearch::hear(Wanted wanted, bool only_living) {
  const std::string arguments =
      nlohmann::json{{"repository", wanted.repository.text()}, {"user", wanted.user}, {"session", wanted.id}}.dump();
  Heard heard;
  io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  for (auto& member : p_.members.members()) {
    if (member.id == p_.members.self() || (only_living && !member.alive)) continue;
    scope.spawn("ask for an upload", ask(std::move(member), arguments, &heard));
  }
  co_await scope.join();
  co_return heard;
}

io::Task<std::uint64_t> SessionSearch::highest_term(Wanted wanted) {
  const auto heard = co_await hear(std::move(wanted), true);
  std::uint64_t highest = 0;
  for (const auto& claim : heard.claims) highest = std::max(highest, claim.term);
  co_return highest;
}

io::Task<Result<io::NodeId>> SessionSearch::find(Wanted wanted) {
  const io::BootTime began = p_.boot_time();
  while (true) {
    bool comes_back = false;
    auto found = co_await find_once(wanted, &comes_back);
    if (found || found.error().code != ErrorCode::unavailable) co_return found;
    if (!comes_back || p_.boot_time() - began >= restart_patience) co_return found;
    HANSA_CO_CHECK(co_await io::sleep_for(cluster::pulse_interval));
  }
}

io::Task<Result<io::NodeId>> SessionSearch::find_once(Wanted wanted, bool* comes_back) {
  auto heard = co_await hear(wanted, false);
  // Last: what the others were asked about may have come here meanwhile.
  if (auto own = co_await own_claim(wanted.id)) heard.claims.push_back(*std::move(own));
  *comes_back = heard.comes_back;
  if (!heard.silent_now.empty()) co_return not_asked(heard.silent_now);
  auto choice = choose_owner(heard.claims, wanted.opened_by);
  if (!choice) co_return heard.silent.empty() ? nobody_has_it() : not_asked(heard.silent);
  const io::NodeId at = choice->best.node;
  if (at == p_.members.self() && !choice->best.open) {
    HANSA_CO_CHECK(co_await take_up(std::move(wanted), *std::move(choice)));
  }
  co_return at;
}

// ---- what this one takes up ---------------------------------------------------------------------------------------

// One at a time: two would write to one file.
io::Task<Result<void>> SessionSearch::take_up(Wanted wanted, SessionChoice choice) {
  const std::string id = wanted.id;
  {
    const std::lock_guard guard(mutex_);
    if (!taking_.insert(id).second) {
      co_return make_error(ErrorCode::too_many, Subject::upload, "another request of this upload is under way");
    }
  }
  auto taken = co_await take_up_alone(std::move(wanted), std::move(choice));
  const std::lock_guard guard(mutex_);
  taking_.erase(id);
  co_return taken;
}

io::Task<Result<void>> SessionSearch::take_up_alone(Wanted wanted, SessionChoice choice) {
  if (p_.sessions.full()) {
    co_return make_error(ErrorCode::too_many, Subject::upload, "too many uploads are open; try again later");
  }
  auto kept = co_await p_.relays.take_over(wanted.id);
  if (!kept && kept.error().code == ErrorCode::timeout) {
    co_return make_error(ErrorCode::unavailable, Subject::upload,
                         "bytes of this upload are still being written; try again later");
  }
  HANSA_CO_TRY(auto relayed, std::move(kept));
  if (relayed) {
    const std::uint64_t received = relayed->size();
    HANSA_CO_CHECK(p_.sessions.adopt(wanted.id, wanted.user, std::move(relayed), choice.next_term, choice.unsure));
    p_.log.info("an upload of a member that does not answer goes on here",
                {{"opened_by", wanted.opened_by.value()}, {"bytes", std::to_string(received)}});
    co_return Result<void>{};
  }
  if (p_.sessions.find_open(wanted.id)) co_return Result<void>{};  // by another request, meanwhile
  HANSA_CO_TRY(const auto held, co_await p_.sessions.acquire(std::move(wanted.repository), std::move(wanted.user),
                                                             std::move(wanted.id)));
  p_.sessions.take_up(*held, choice.next_term, choice.unsure);
  co_return Result<void>{};
}

// ---- hints --------------------------------------------------------------------------------------------------------

std::optional<io::NodeId> SessionSearch::hint(const std::string& id) const {
  const std::lock_guard guard(mutex_);
  const auto known = hints_.find(id);
  if (known == hints_.end()) return std::nullopt;
  return known->second;
}

void SessionSearch::note(const std::string& id, io::NodeId at) {
  const std::lock_guard guard(mutex_);
  if (hints_.size() >= max_hints) hints_.clear();
  hints_[id] = std::move(at);
}

void SessionSearch::forget(const std::string& id) {
  const std::lock_guard guard(mutex_);
  hints_.erase(id);
}

}  // namespace hansa::registry
