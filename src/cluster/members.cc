#include "cluster/members.h"

#include <algorithm>

namespace hansa::cluster {

Result<std::unique_ptr<Members>> Members::open(meta::MetadataStore& store, catalog::Catalog& catalog, io::NodeId self) {
  std::unique_ptr<Members> members(new Members(catalog, std::move(self)));
  meta::Revision revision = 0;
  {
    HANSA_TRY(auto view, catalog.snapshot());
    revision = view.revision();
  }
  const auto listener = [changes = &members->changes_](const meta::ChangeSet& set) {
    const auto concerns = [](const meta::Change& change) {
      const std::string_view key = change.now.key;
      return key.starts_with("node/") || key.starts_with("alive/") || key.starts_with("holds/") ||
             key == catalog::keys::layout;
    };
    if (std::ranges::any_of(set.changes, concerns)) ++*changes;
  };
  HANSA_TRY(members->subscription_, store.follow(revision, listener));
  return members;
}

Result<MemberState> member_state(catalog::Snapshot& view, catalog::Member entry, const catalog::LayoutRecord& layout) {
  MemberState state;
  state.id = io::NodeId(entry.id);
  state.in_layout = std::ranges::find(layout.members, entry.id) != layout.members.end();
  HANSA_TRY(const auto alive, view.alive(entry.id));
  state.alive = alive.has_value();
  if (alive) {
    state.load = {.requests = alive->record.requests,
                  .uploads = alive->record.uploads,
                  .disk_total = alive->record.disk_total,
                  .disk_available = alive->record.disk_available,
                  .applied = alive->record.applied,
                  .missing = alive->record.missing,
                  .missing_bytes = alive->record.missing_bytes,
                  .filled_bytes = alive->record.filled_bytes,
                  .seconds_left = alive->record.seconds_left,
                  .sent = alive->record.sent,
                  .received = alive->record.received};
  }
  HANSA_TRY(auto holds, view.holds(entry.id));
  if (holds) state.holds = std::make_shared<const catalog::HoldsRecord>(std::move(holds->record));
  state.record = std::move(entry.record);
  return state;
}

Result<std::vector<MemberState>> Members::look() const {
  HANSA_TRY(auto view, catalog_.snapshot());
  HANSA_TRY(const auto layout, view.layout());
  HANSA_TRY(auto nodes, view.nodes());
  std::vector<MemberState> out;
  for (auto& entry : nodes) {
    if (entry.record.state == "gone") continue;
    HANSA_TRY(auto state, member_state(view, std::move(entry), layout ? layout->record : catalog::LayoutRecord{}));
    out.push_back(std::move(state));
  }
  return out;
}

std::vector<MemberState> Members::members() const {
  const std::lock_guard guard(mutex_);
  const std::uint64_t changes = changes_;
  if (changes == seen_) return members_;
  auto fresh = look();
  if (!fresh) return members_;
  members_ = std::move(*fresh);
  seen_ = changes;
  return members_;
}

}  // namespace hansa::cluster
