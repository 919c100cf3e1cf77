// Ends of leases whose events were lost. Such a revision carries no head, so that it leaves no gap: the view would show
// a dead member's sign of life, or a leadership that nobody has, for ever.
#include "meta/etcd/store_impl.h"

namespace hansa::meta::etcd {
namespace {

constexpr io::Duration ends_interval = std::chrono::seconds(4);  // two are less than a start waits for its old self
constexpr std::size_t most_leased = 10'000;                      // keys of the view that are looked at, of each kind

}  // namespace

// What etcd lacks at two looks, an interval apart, while the view still shows it as it was, will not be told any more.
io::Task<void> EtcdStore::ends_loop() {
  std::map<std::string, Revision> before;
  while (true) {
    auto slept = co_await io::sleep_for(ends_interval);
    if (!slept) co_return;
    auto ended = co_await ended_in_view();
    if (!ended) {
      before.clear();
      continue;
    }
    for (const auto& [name, mod] : *ended) {
      const auto known = before.find(name);
      if (known == before.end() || known->second != mod) continue;
      miss_event(mod);
      interrupt();
      ended->clear();
      break;
    }
    before = *std::move(ended);
  }
}

// Leased keys of the view, with their mods, that etcd has no more.
io::Task<Result<std::map<std::string, Revision>>> EtcdStore::ended_in_view() {
  std::map<std::string, Revision> ended;
  for (const std::string kind : {"alive/", "task/"}) {
    std::map<std::string, Revision> shown;
    {
      HANSA_CO_TRY(auto view, read());
      HANSA_CO_TRY(const auto records, view->range(kind, "", most_leased));
      for (const auto& record : records) shown.emplace(record.key, record.mod);
    }
    if (shown.empty()) continue;
    RangeRequest request{.key = key(kind), .end = prefix_end(key(kind)), .keys_only = true};
    const auto call = [&request](Channel& channel, io::Duration deadline) { return channel.range(request, deadline); };
    HANSA_CO_TRY(const RangeReply reply, co_await endpoints_.read<RangeReply>(call));
    for (const auto& record : reply.values) shown.erase(record.key.substr(options_.prefix.size()));
    // A stale read may be of the time before the key was made (H2).
    std::erase_if(shown, [&reply](const auto& one) { return one.second > reply.header.revision; });
    ended.merge(shown);
  }
  co_return ended;
}

}  // namespace hansa::meta::etcd
