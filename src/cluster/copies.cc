// Where copies are asked for: confirm. What is missing here: copies_fetch.cc. What peers ask of us: copies_serve.cc.
#include "cluster/copies.h"

#include <algorithm>

#include "cluster/copies_parts.h"
#include "cluster/while_moving.h"

namespace hansa::cluster {

Copies::Copies(Ports ports, CopiesOptions options)
    : ports_(ports),
      options_(options),
      sends_("sending blobs to members", options.max_sends),
      receives_("receiving blobs from members", options.max_receives),
      fetches_("fetching blobs from members", options.max_fetches),
      serves_("blobs read by members", options.max_serves),
      bulk_serves_("large blobs read by members for whom nobody waits", options.max_bulk_serves),
      fill_throttle_(options.fill_rate) {}

bool Copies::is_staging(const std::string& id) const {
  const std::lock_guard guard(mutex_);
  return staging_.contains(id);
}

// Who may be asked, best first: those that live, the least loaded of them first; for new copies, those that lack
// nothing before them. Whose lease has ended comes last: it may be the store that is away, not the member.
std::vector<MemberState> Copies::candidates(Purpose purpose) {
  struct Rank {
    bool dead;
    bool behind;  // its link is filled with what it lacks
    std::uint64_t load;
    std::uint64_t tie;
    auto operator<=>(const Rank&) const = default;
  };
  std::vector<std::pair<Rank, MemberState>> ranked;
  for (auto& member : ports_.members.members()) {
    if (member.id == ports_.members.self()) continue;
    if (purpose == Purpose::confirm && (!member.in_layout || member.record.state != "active")) continue;
    std::uint64_t load = member.load.requests + member.load.uploads;
    {
      const std::lock_guard guard(mutex_);
      if (const auto busy = sending_.find(member.id); busy != sending_.end()) load += busy->second;
    }
    const bool behind = purpose == Purpose::confirm && member.load.missing_bytes > 0;
    ranked.emplace_back(Rank{.dead = !member.alive, .behind = behind, .load = load, .tie = ports_.random.next()},
                        std::move(member));
  }
  std::ranges::sort(ranked, {}, &std::pair<Rank, MemberState>::first);
  std::vector<MemberState> order;
  for (auto& [rank, member] : ranked) order.push_back(std::move(member));
  return order;
}

std::vector<io::NodeId> Copies::others(bool in_layout) {
  std::vector<io::NodeId> ids;
  for (auto& member : candidates(in_layout ? Purpose::confirm : Purpose::fetch)) ids.push_back(std::move(member.id));
  return ids;
}

io::Task<Result<io::PeerResponse>> Copies::ask(io::NodeId to, std::string verb, std::string arguments) {
  io::PeerRequest request{.verb = std::move(verb), .arguments = std::move(arguments), .body = nullptr};
  co_return co_await io::with_deadline(options_.ask_limit, ports_.peers.call(std::move(to), std::move(request)));
}

// ---- confirm ----------------------------------------------------------------------------------------------------

// How many others must hold what this node holds.
Result<std::uint64_t> Copies::copies_needed() {
  HANSA_TRY(auto view, ports_.catalog.snapshot());
  HANSA_TRY(const auto layout, view.layout());
  if (!layout)
    return make_error(ErrorCode::unavailable, "the catalogue has no layout yet: the first start is not done");
  const auto& members = layout->record.members;
  const bool own_counts = std::ranges::find(members, ports_.members.self().value()) != members.end();
  const std::uint64_t wanted = layout->record.write_copies;
  return own_counts && wanted > 0 ? wanted - 1 : wanted;
}

// The commit decides; this only avoids sending it what it would refuse.
bool Copies::counts(const MemberState& member, const catalog::Receipt& receipt) const {
  return receipt.node == member.id.value() && receipt.disk == member.record.disk &&
         receipt.tick + 1 >= ports_.catalog.newest_tick();
}

std::vector<io::NodeId> Copies::second_copies() {
  const auto needed = copies_needed();
  if (!needed || *needed == 0) return {};
  return others(true);
}

io::Task<Result<std::vector<catalog::Receipt>>> Copies::confirm(oci::Digest digest, std::uint64_t size,
                                                                blob::Receipt own,
                                                                std::optional<catalog::Receipt> relayed) {
  std::vector<catalog::Receipt> receipts{{.node = std::move(own.node), .disk = std::move(own.disk), .tick = own.tick}};
  HANSA_CO_TRY(const auto needed, copies_needed());
  if (needed == 0) co_return receipts;
  std::string trouble;
  auto order = candidates(Purpose::confirm);
  if (relayed) {
    const auto by = std::ranges::find(order, relayed->node, [](const MemberState& one) { return one.id.value(); });
    if (by != order.end() && counts(*by, *relayed)) {
      receipts.push_back(*std::move(relayed));
      if (receipts.size() > needed) co_return receipts;
      order.erase(by);
    }
  }
  for (auto& member : order) {
    auto receipt = co_await receipt_from(member, digest, size);
    if (receipt && counts(member, *receipt)) {
      receipts.push_back(*std::move(receipt));
      if (receipts.size() > needed) co_return receipts;
      continue;
    }
    if (!receipt && receipt.error().code == ErrorCode::cancelled) co_return receipt.error();
    const std::string why = receipt ? "its receipt is of another disk or too old" : receipt.error().message;
    ports_.log.warn("a member did not take a copy",
                    {{"member", member.id.value()}, {"digest", digest.text()}, {"error", why}});
    trouble += (trouble.empty() ? ": " : "; ") + member.id.value() + ": " + why;
  }
  co_return make_error(ErrorCode::unavailable, Subject::blob,
                       std::to_string(receipts.size()) + " of " + std::to_string(needed + 1) + " needed copies of " +
                           digest.text() + " can be made now; try again later" + trouble);
}

io::Task<Result<catalog::Receipt>> Copies::receipt_from(MemberState member, oci::Digest digest, std::uint64_t size) {
  auto known = co_await ask(member.id, "blob.receipt", wire::digest_arguments(digest));
  if (known) co_return wire::read_receipt(known->result);
  if (known.error().code != ErrorCode::not_found) co_return known.error();
  co_return co_await send(member.id, digest, size);
}

io::Task<Result<catalog::Receipt>> Copies::send(io::NodeId to, oci::Digest digest, std::uint64_t size) {
  HANSA_CO_TRY(const auto slot, co_await sends_.take(options_.own_patience));
  HANSA_CO_TRY(auto reader, co_await ports_.blobs.open(digest));
  const Counted busy(mutex_, sending_, to);
  auto source = std::make_shared<BlobSource>(std::move(reader), 0, std::nullopt);
  io::PeerRequest request{.verb = "blob.put", .arguments = wire::put_arguments(digest, size), .body = source};
  // While the last bytes lie with the peer's fsync nothing moves that could be seen from here.
  const io::Duration sync = options_.sync_limit * static_cast<io::Duration::rep>(1 + size / GiB);
  Limit limit = [source, sync, stall = options_.send_stall_limit] { return source->ended() ? sync : stall; };
  Progress progress = [source] { return source->given(); };
  HANSA_CO_TRY(const auto answer, co_await while_moving(std::move(limit), std::move(progress),
                                                        ports_.peers.call(std::move(to), std::move(request))));
  ++sent_;
  co_return wire::read_receipt(answer.result);
}

}  // namespace hansa::cluster
