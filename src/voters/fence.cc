#include "voters/fence.h"

#include "catalog/member_records.h"
#include "catalog/records.h"
#include "io/wait.h"

namespace hansa::voters {
namespace {

using Channels = std::vector<std::shared_ptr<meta::etcd::Channel>>;

constexpr io::Duration ask_again = std::chrono::milliseconds(300);

io::Task<Result<std::optional<meta::KeyValue>>> read_one(meta::etcd::Channel* channel, std::string key) {
  HANSA_CO_TRY(auto found,
               co_await channel->range({.key = std::move(key), .end = {}, .serializable = true}, fence_deadline));
  if (found.values.empty()) co_return std::optional<meta::KeyValue>();
  co_return std::optional(std::move(found.values.front()));
}

io::Task<Result<Sighting>> look(meta::etcd::Channel* channel, std::string prefix, std::string id) {
  Sighting seen;
  HANSA_CO_TRY(seen.node, co_await read_one(channel, prefix + catalog::keys::node(id)));
  HANSA_CO_TRY(seen.mark, co_await read_one(channel, prefix + catalog::keys::holds(id)));
  HANSA_CO_TRY(const auto life, co_await read_one(channel, prefix + catalog::keys::alive(id)));
  seen.alive = life.has_value();
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
    const auto seen = co_await look(channel.get(), prefix, own.node);
    if (!seen && seen.error().code == ErrorCode::cancelled) co_return seen.error();
    if (!seen) continue;
    lives = lives || seen->alive;
    HANSA_CO_TRY(const Claim claim, judge(own, {.node = seen->node, .mark = seen->mark, .alive = false}));
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
  if (seen.mark) {
    HANSA_TRY(const auto mark, catalog::decode_holds(seen.mark->value));
    if (mark.disk == own.disk && mark.number > own.marks) return Claim::old_copy;
  }
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
