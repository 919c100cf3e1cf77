#include "cluster/holder.h"

#include <algorithm>

#include "io/wait.h"

namespace hansa::cluster {

namespace {

constexpr io::Duration round_interval = std::chrono::milliseconds(200);
constexpr io::Duration retry_interval = std::chrono::seconds(60);  // of what a mark leaves out
constexpr std::size_t scan_page = 200;                             // rows in one transaction (trap T7)

bool names(catalog::KeyKind kind) {
  return kind == catalog::KeyKind::manifest || kind == catalog::KeyKind::link || kind == catalog::KeyKind::grave;
}

Error not_yet(std::string why) {
  return make_error(ErrorCode::unavailable, std::move(why));
}

// The digests that a record names, once its references are known.
Result<std::vector<oci::Digest>> named_by(std::string_view key, std::string_view value) {
  const catalog::KeyParts parts = catalog::split_key(key);
  HANSA_TRY(oci::Digest own, oci::Digest::parse(parts.rest));
  std::vector<oci::Digest> digests;
  if (parts.kind == catalog::KeyKind::link) {
    HANSA_TRY(const auto link, catalog::decode_link(value));
    if (!link.gone) digests.push_back(std::move(own));
    return digests;
  }
  digests.push_back(std::move(own));
  catalog::ManifestRecord record;
  if (parts.kind == catalog::KeyKind::manifest) {
    HANSA_TRY(record, catalog::decode_manifest(value));
  } else {
    HANSA_TRY(auto grave, catalog::decode_grave(value));
    record = std::move(grave.was);
  }
  if (record.details_in_body) return not_yet("the references stand in the body");
  for (const catalog::ReferenceItem& item : record.references) {
    if (item.kind != catalog::ReferenceKind::foreign) digests.push_back(item.descriptor.digest);
  }
  return digests;
}

}  // namespace

void Holder::run(io::TaskScope& scope) {
  scope.spawn("holds", loop());
}

void Holder::note_lost(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  lost_.push_back(digest);
}

HolderProgress Holder::progress() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

io::Task<Result<void>> Holder::lose(oci::Digest digest) {
  note_lost(digest);
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (std::ranges::find(lost_, digest) == lost_.end()) co_return Result<void>{};
    }
    HANSA_CO_CHECK(co_await io::sleep_for(round_interval));
  }
}

io::Task<void> Holder::loop() {
  while (true) {
    auto done = co_await round();
    if (!done && done.error().code == ErrorCode::cancelled) co_return;
    if (!done) ports_.log.warn("the mark of this disk does not move", {{"error", done.error().message}});
    auto slept = co_await io::sleep_for(done ? round_interval : publish_interval);
    if (!slept) co_return;
  }
}

io::Task<Result<void>> Holder::round() {
  std::vector<oci::Digest> lost;
  {
    const std::lock_guard lock(mutex_);
    lost = lost_;
  }
  for (const oci::Digest& digest : lost) but_changed_ = but_.insert(digest).second || but_changed_;
  if (!lost.empty()) {
    HANSA_CO_CHECK(co_await publish(true));
    const std::lock_guard lock(mutex_);
    lost_.erase(lost_.begin(), lost_.begin() + static_cast<std::ptrdiff_t>(lost.size()));
  }
  if (!subscription_) HANSA_CO_CHECK(follow());
  if (!scanned_) HANSA_CO_CHECK(co_await scan());
  HANSA_CO_CHECK(co_await take_feed());
  HANSA_CO_CHECK(co_await settle());
  HANSA_CO_CHECK(co_await retry_left_out());
  {
    const std::lock_guard lock(mutex_);
    progress_.scanned = scanned_;
    progress_.owed = owed_.size();
    progress_.but = but_.size();
  }
  co_return co_await publish(false);
}

// ---- what is named
// ----------------------------------------------------------------------------------------------

Result<void> Holder::follow() {
  catalog::Revision from = 0;
  {
    HANSA_TRY(auto view, ports_.catalog.snapshot());
    from = view.revision();
  }
  const auto listener = [this](const meta::ChangeSet& changes) {
    const std::lock_guard lock(mutex_);
    for (const meta::Change& change : changes.changes) {
      if (change.deleted || !names(catalog::split_key(change.now.key).kind)) continue;
      overflow_ = overflow_ || feed_.size() >= max_feed_queue;
      if (!overflow_) feed_.push_back({changes.revision, change.now.key, change.now.value});
    }
    fed_ = std::max(fed_, changes.revision);
  };
  {
    const std::lock_guard lock(mutex_);
    fed_ = from;
  }
  HANSA_TRY(subscription_, ports_.store.follow(from, listener));
  return {};
}

io::Task<Result<void>> Holder::scan() {
  catalog::Revision began = 0;
  {
    HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
    HANSA_CO_TRY(const auto unloaded, view.unloaded(1));
    // What such a manifest refers to is not in the view, so that "everything"
    // is not known (H15).
    if (!unloaded.empty()) co_return not_yet("references of " + unloaded.front().digest.text() + " are not loaded");
    began = view.revision();
  }
  std::optional<std::int64_t> after = 0;
  while (after) {
    catalog::NamedPage page;
    {
      HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
      HANSA_CO_TRY(page, view.named(*after, scan_page));
    }
    after = page.next;
    for (const oci::Digest& digest : page.digests) HANSA_CO_CHECK(co_await want(digest, began));
    HANSA_CO_CHECK(co_await io::sleep_for(io::Duration::zero()));
  }
  taken_ = std::max(taken_, began);
  scanned_ = true;
  co_return Result<void>{};
}

io::Task<Result<void>> Holder::take_feed() {
  std::vector<Named> fed;
  catalog::Revision end = 0;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(overflow_, false)) {
      scanned_ = false;
      feed_.clear();
      subscription_ = nullptr;  // followed anew before the next scan
      co_return not_yet("more changed than could be followed; everything is looked at anew");
    }
    fed.swap(feed_);
    end = fed_;
  }
  for (const Named& change : fed) {
    relevant_ = std::max(relevant_, change.revision);
    const auto digests = named_by(change.key, change.value);
    if (!digests) {
      scanned_ = false;  // the scan finds what this record refers to, once it is loaded
      continue;
    }
    for (const oci::Digest& digest : *digests) HANSA_CO_CHECK(co_await want(digest, change.revision));
  }
  taken_ = std::max(taken_, end);
  co_return Result<void>{};
}

io::Task<Result<void>> Holder::want(oci::Digest digest, catalog::Revision since) {
  auto here = co_await ports_.blobs.stat(digest);
  if (here) co_return Result<void>{};
  if (here.error().code != ErrorCode::not_found) co_return here.error();
  owed_.try_emplace(digest, Owed{.since = since, .asked = ports_.clock.monotonic()});
  co_return Result<void>{};
}

// ---- what is missing
// --------------------------------------------------------------------------------------------

io::Task<Result<void>> Holder::settle() {
  std::vector<oci::Digest> missing;
  for (const auto& [digest, ignored] : owed_) missing.push_back(digest);
  for (const oci::Digest& digest : missing) {
    bool named = true;
    {
      HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
      HANSA_CO_TRY(named, view.named_anywhere(digest));
    }
    Result<void> got = not_yet("nothing fetches");
    if (named && ports_.fetch) got = co_await ports_.fetch(digest);
    if (!got && got.error().code == ErrorCode::cancelled) co_return got.error();
    if (got || !named) {
      owed_.erase(digest);
      continue;
    }
    const auto owed = owed_.find(digest);
    if (owed == owed_.end() || ports_.clock.monotonic() - owed->second.asked < give_up_after) continue;
    if (but_.size() >= catalog::max_but) continue;  // the mark stays where it is
    but_.insert(digest);
    but_changed_ = true;
    owed_.erase(digest);
  }
  co_return Result<void>{};
}

io::Task<Result<void>> Holder::retry_left_out() {
  if (but_.empty() || ports_.clock.monotonic() - retried_ < retry_interval) co_return Result<void>{};
  retried_ = ports_.clock.monotonic();
  const std::set<oci::Digest> left_out = but_;
  for (const oci::Digest& digest : left_out) {
    bool named = true;
    {
      HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
      HANSA_CO_TRY(named, view.named_anywhere(digest));
    }
    bool here = false;
    if (named) here = (co_await ports_.blobs.stat(digest)).has_value();
    if (named && !here && ports_.fetch) {
      auto got = co_await ports_.fetch(digest);
      if (!got && got.error().code == ErrorCode::cancelled) co_return got.error();
      here = got.has_value();
    }
    if (!here && named) continue;
    but_.erase(digest);
    but_changed_ = true;
  }
  co_return Result<void>{};
}

// ---- the mark
// ---------------------------------------------------------------------------------------------------

bool Holder::may_move() const {
  return scanned_;
}

io::Task<Result<void>> Holder::publish(bool urgent) {
  catalog::LayoutRecord layout;
  {
    HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
    HANSA_CO_TRY(auto stored, view.layout());
    if (!stored) co_return Result<void>{};
    layout = std::move(stored->record);
    // The feed may be behind the layout that this snapshot shows; a mark never
    // claims more than was looked at.
    if (stored->mod > taken_ && !urgent) co_return Result<void>{};
  }
  const bool inside = std::ranges::find(layout.members, ports_.node) != layout.members.end();
  if (!inside) co_return Result<void>{};
  catalog::HoldsRecord mark = put_;
  mark.disk = ports_.disk;
  mark.but.assign(but_.begin(), but_.end());
  if (may_move()) {
    catalog::Revision until = taken_;
    for (const auto& [ignored, owed] : owed_) until = std::min(until, owed.since - 1);
    // Every layout gives everything to each of its members, so that a scan
    // under an older one serves.
    mark.at = {{layout.number, std::max(until, put_layout_ == layout.number ? put_.at[layout.number] : 0)}};
  }
  const bool moved =
      mark.at != put_.at && (put_relevant_ != relevant_ || put_layout_ != layout.number || put_.at.empty());
  const bool alone = layout.members.size() == 1 && put_layout_ == layout.number && !put_.at.empty();
  if (!but_changed_ && (!moved || alone)) co_return Result<void>{};
  if (!urgent && ports_.clock.monotonic() - put_when_ < publish_interval) co_return Result<void>{};
  const catalog::Revision relevant = relevant_;
  const bool caught_up = owed_.empty();
  catalog::Planner plan = [id = ports_.node, boot = ports_.boot, mark](const catalog::Planning& planning) {
    return plan_hold(planning, id, boot, mark);
  };
  but_changed_ = false;
  auto done = co_await ports_.catalog.submit(std::move(plan));
  if (!done) {
    but_changed_ = true;
    co_return done.error();
  }
  put_ = mark;
  put_layout_ = mark.at.contains(layout.number) ? layout.number : 0;
  if (caught_up) put_relevant_ = relevant;
  put_when_ = ports_.clock.monotonic();
  const std::lock_guard lock(mutex_);
  progress_.marked = mark.at.empty() ? 0 : mark.at.rbegin()->second;
  co_return Result<void>{};
}

}  // namespace hansa::cluster
