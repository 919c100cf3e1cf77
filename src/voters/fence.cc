#include "voters/fence.h"

#include "catalog/records.h"
#include "io/wait.h"

namespace hansa::voters {
namespace {

using Channels = std::vector<std::shared_ptr<meta::etcd::Channel>>;

constexpr io::Duration ask_again = std::chrono::milliseconds(300);

io::Task<Result<Sighting>> look(meta::etcd::Channel* channel, std::string node, std::string alive) {
  HANSA_CO_TRY(auto record,
               co_await channel->range({.key = std::move(node), .end = {}, .serializable = true}, fence_deadline));
  HANSA_CO_TRY(const auto life,
               co_await channel->range({.key = std::move(alive), .end = {}, .serializable = true}, fence_deadline));
  Sighting seen;
  if (!record.values.empty()) seen.node = std::move(record.values.front());
  seen.alive = !life.values.empty();
  co_return seen;
}

// Only a quorum takes away a sign of life whose lease has ended: without one nothing can be said.
io::Task<Result<bool>> lives_for_sure(Channels others, std::string alive) {
  for (const auto& channel : others) {
    const auto now = co_await channel->range({.key = alive, .end = {}}, fence_deadline);
    if (now) co_return !now->values.empty();
    if (now.error().code == ErrorCode::cancelled) co_return now.error();
  }
  co_return false;
}

io::Task<Result<Claim>> ask_once(Channels others, std::string prefix, OwnStart own) {
  const std::string alive = prefix + catalog::keys::alive(own.node);
  bool old = false;
  bool lives = false;
  for (const auto& channel : others) {
    const auto seen = co_await look(channel.get(), prefix + catalog::keys::node(own.node), alive);
    if (!seen && seen.error().code == ErrorCode::cancelled) co_return seen.error();
    if (!seen) continue;
    lives = lives || seen->alive;
    HANSA_CO_TRY(const Claim claim, judge(own, {.node = seen->node, .alive = false}));
    old = old || claim == Claim::old_copy;
  }
  if (lives) {
    HANSA_CO_TRY(lives, co_await lives_for_sure(others, alive));
  }
  co_return lives ? Claim::lives : old ? Claim::old_copy : Claim::good;
}

}  // namespace

Result<Claim> judge(const OwnStart& own, const Sighting& seen) {
  if (seen.alive) return Claim::lives;
  if (!seen.node) return Claim::good;
  HANSA_TRY(const auto record, catalog::decode_node(seen.node->value));
  const bool known = record.disk == own.disk && (record.boot == own.boot || record.boot == own.next);
  return known || seen.node->mod <= own.at ? Claim::good : Claim::old_copy;
}

io::Task<Result<Claim>> ask_others(Channels others, std::string prefix, OwnStart own) {
  for (io::Duration waited{};; waited += ask_again) {
    HANSA_CO_TRY(const Claim claim, co_await ask_once(others, prefix, own));
    if (claim != Claim::lives || waited >= fence_patience) co_return claim;
    HANSA_CO_CHECK(co_await io::sleep_for(ask_again));
  }
}

}  // namespace hansa::voters
