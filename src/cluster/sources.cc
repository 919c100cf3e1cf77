#include "cluster/sources.h"

#include <algorithm>
#include <cmath>

#include "catalog/member_records.h"

namespace hansa::cluster {

double Sources::lately(const Account& account, io::MonotonicTime now) const {
  const double lives =
      std::chrono::duration<double>(now - account.at) / std::chrono::duration<double>(account_half_life);
  return account.bytes * std::exp2(-lives);
}

// With mutex_ held.
std::optional<io::NodeId> Sources::sent_before(const std::string& key, io::MonotonicTime now) const {
  const auto known = sent_.find(key);
  if (known == sent_.end() || now - known->second.at >= asks_again_within) return std::nullopt;
  return known->second.to;
}

// With mutex_ held.
void Sources::note_sent(std::string key, io::NodeId to, io::MonotonicTime now) {
  if (sent_.size() >= max_sent) {
    std::erase_if(sent_, [now](const auto& one) { return now - one.second.at >= asks_again_within; });
  }
  if (sent_.size() >= max_sent) sent_.clear();  // it only helps those that come back at once
  sent_.insert_or_assign(std::move(key), Sent{.to = std::move(to), .at = now});
}

Result<std::optional<std::string>> Sources::elsewhere(catalog::Snapshot& view, const Wanted& wanted) {
  const std::optional<std::string> here;
  if (route_ != Route::redirect || wanted.bytes < redirect_least) return here;
  HANSA_TRY(const auto layout, view.layout());
  if (!layout || layout->record.members.size() < 2) return here;
  HANSA_TRY(const catalog::Revision since, view.since_of(wanted.digest));
  std::vector<Source> sources;
  std::vector<std::string> urls;
  for (const auto& member : members_.members()) {
    const bool self = member.id == members_.self();
    if (!member.holds ||
        !catalog::holds_digest(member.id.value(), member.record, *member.holds, layout->record, wanted.digest, since)) {
      continue;
    }
    const std::string& url = member.record.addresses.client;
    if (!self && (!member.alive || !may_redirect_to(url, wanted.secure))) continue;
    const auto sending = pulses_.fresh(member.id);
    if (!self && (!sending || pulses_.leaving(member.id))) continue;
    sources.push_back({.id = member.id, .load = sending.value_or(0)});
    urls.push_back(self ? std::string() : url);
  }
  const auto now = clock_.monotonic();
  const std::string asked = wanted.client + " " + wanted.digest.text() + " " + std::to_string(wanted.offset);
  const std::lock_guard guard(mutex_);
  if (const auto before = wanted.client.empty() ? std::nullopt : sent_before(asked, now)) {
    const auto at = std::ranges::find(sources, *before, &Source::id);
    if (at != sources.end()) {
      urls.erase(urls.begin() + (at - sources.begin()));
      sources.erase(at);
    }
  }
  for (auto& source : sources) source.load += static_cast<std::uint64_t>(lately(accounts_[source.id], now));
  const auto chosen = choose_source(sources, source_key(wanted.digest, wanted.offset), wanted.bytes);
  if (!chosen) return here;
  Account& account = accounts_[sources[*chosen].id];
  account = {.bytes = lately(account, now) + static_cast<double>(wanted.bytes), .at = now};
  if (urls[*chosen].empty()) {
    sent_.erase(asked);  // whoever asks next from there, many perhaps behind one address, is no second try of this one
    return here;
  }
  if (!wanted.client.empty()) note_sent(asked, sources[*chosen].id, now);
  ++redirects_;
  return std::optional(urls[*chosen]);
}

}  // namespace hansa::cluster
