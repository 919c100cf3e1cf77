#include "cluster/holder.h"

#include <algorithm>

#include "io/wait.h"

namespace hansa::cluster {

namespace {

constexpr io::Duration round_interval = std::chrono::milliseconds(200);
constexpr io::Duration full_disk_pause = std::chrono::seconds(10);  // each try would fetch until the disk is full
constexpr std::size_t scan_page = 200;                              // rows in one transaction (trap T7)

bool is_news(catalog::KeyKind kind) {
  using enum catalog::KeyKind;
  return kind == repo || kind == manifest || kind == tag || kind == link || kind == grave;
}

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
  scope_ = &scope;
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

void Holder::show_progress() {
  pace_.note(ports_.clock.monotonic(), filled_bytes_);
  const std::lock_guard lock(mutex_);
  progress_.scanned = scanned_;
  progress_.owed = missing_.owed();
  progress_.but = missing_.left_out_count();
  progress_.bytes = missing_.bytes();
  progress_.filled = filled_;
  progress_.filled_bytes = filled_bytes_;
  progress_.left = scanned_ ? pace_.left(missing_.bytes()) : std::nullopt;
}

io::Task<void> Holder::loop() {
  while (true) {
    auto done = co_await round();
    if (!done && done.error().code == ErrorCode::cancelled) co_return;
    if (!done) ports_.log.warn("the mark of this disk does not move", {{"error", done.error().message}});
    start_fills();
    show_progress();
    auto slept = co_await io::sleep_for(done ? round_interval : publish_interval);
    if (!slept) co_return;
  }
}

io::Task<Result<void>> Holder::round() {
  const bool believed = !ports_.believed || ports_.believed();  // before what the check found is taken
  take_lost();
  if (urgent_) HANSA_CO_CHECK(co_await publish(believed));
  if (!subscription_) HANSA_CO_CHECK(follow());
  if (!scanned_) HANSA_CO_CHECK(co_await scan());
  HANSA_CO_CHECK(co_await take_feed());
  co_return co_await publish(believed);
}

void Holder::take_lost() {
  std::vector<oci::Digest> lost;
  {
    const std::lock_guard lock(mutex_);
    lost.swap(lost_);
  }
  if (lost.empty()) return;
  auto view = ports_.catalog.snapshot();
  for (const oci::Digest& digest : lost) {
    Missing::Blob blob{.digest = digest};
    // While the catalogue cannot be asked it counts as named before everything, and the mark names it nonetheless.
    if (view) {
      blob.since = view->since_of(digest).value_or(0);
      blob.size = view->size_of(digest).value_or(0);
    }
    missing_.lose(blob, ports_.clock.monotonic());
    urgent_ = true;
  }
}

// ---- what is named ----------------------------------------------------------------------------------------------

Result<void> Holder::follow() {
  catalog::Revision from = 0;
  {
    HANSA_TRY(auto view, ports_.catalog.snapshot());
    from = view.revision();
  }
  const auto listener = [this](const meta::ChangeSet& changes) {
    const std::lock_guard lock(mutex_);
    for (const meta::Change& change : changes.changes) {
      const catalog::KeyKind kind = catalog::split_key(change.now.key).kind;
      if (is_news(kind)) fed_news_ = std::max(fed_news_, changes.revision);
      if (change.deleted || !names(kind)) continue;
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
  std::optional<catalog::HoldsRecord> mark;  // of this disk, by an earlier run
  {
    HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
    HANSA_CO_TRY(const auto unloaded, view.unloaded(1));
    // What such a manifest refers to is not in the view, so that "everything"
    // is not known (H15).
    if (!unloaded.empty()) co_return not_yet("references of " + unloaded.front().digest.text() + " are not loaded");
    began = view.revision();
    HANSA_CO_TRY(auto stored, view.holds(ports_.node));
    if (stored && stored->record.disk == ports_.disk) mark = std::move(stored->record);
  }
  std::optional<std::int64_t> after = 0;
  while (after) {
    catalog::NamedPage page;
    {
      HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
      HANSA_CO_TRY(page, view.named(*after, scan_page));
    }
    after = page.next;
    for (const oci::Digest& digest : page.digests) {
      HANSA_CO_CHECK(co_await want(digest, began, mark ? &*mark : nullptr));
    }
    HANSA_CO_CHECK(co_await io::sleep_for(io::Duration::zero()));
  }
  taken_ = std::max(taken_, began);
  scanned_ = true;
  co_return Result<void>{};
}

io::Task<Result<void>> Holder::take_feed() {
  std::vector<Named> fed;
  catalog::Revision end = 0;
  catalog::Revision news = 0;
  bool overflow = false;
  {
    const std::lock_guard lock(mutex_);
    overflow = std::exchange(overflow_, false);
    if (overflow) feed_.clear();
    fed.swap(feed_);
    end = fed_;
    news = fed_news_;
  }
  if (overflow) {
    scanned_ = false;
    subscription_ = nullptr;  // followed anew before the next scan
    co_return not_yet("more changed than could be followed; everything is looked at anew");
  }
  for (auto change = fed.begin(); change != fed.end(); ++change) {
    auto taken = co_await take_change(*change);
    if (taken) continue;
    // What was not looked at is looked at in the next round; until then the mark stays before it.
    const std::lock_guard lock(mutex_);
    feed_.insert(feed_.begin(), std::move_iterator(change), std::move_iterator(fed.end()));
    co_return taken;
  }
  taken_ = std::max(taken_, end);
  relevant_ = std::max(relevant_, news);
  co_return Result<void>{};
}

io::Task<Result<void>> Holder::take_change(Named change) {
  const auto digests = named_by(change.key, change.value);
  if (!digests) scanned_ = false;  // the scan finds what this record refers to, once it is loaded
  if (digests) {
    for (const oci::Digest& digest : *digests) HANSA_CO_CHECK(co_await want(digest, change.revision, &put_));
  }
  co_return Result<void>{};
}

// `named`: by a change of that revision, or by it or earlier; the catalogue may know better. `mark`: what the cluster
// was told of this disk, or null.
io::Task<Result<void>> Holder::want(oci::Digest digest, catalog::Revision named, const catalog::HoldsRecord* mark) {
  auto here = co_await ports_.blobs.stat(digest);
  if (here) co_return Result<void>{};
  if (here.error().code != ErrorCode::not_found) co_return here.error();
  HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
  HANSA_CO_TRY(const auto first, view.since_of(digest));
  HANSA_CO_TRY(const auto size, view.size_of(digest));
  // Later than what named it first, and a mark between the two would cover it.
  const catalog::Revision since = first == 0 ? named : std::min(first, named);
  const Missing::Blob blob{.digest = digest, .since = since, .size = size};
  const bool left_out = mark != nullptr && std::ranges::binary_search(mark->but, digest);
  const bool marked = mark != nullptr && !mark->at.empty() && since <= mark->at.rbegin()->second;
  if (!left_out && !marked) {
    missing_.owe(blob, ports_.clock.monotonic());
    co_return Result<void>{};
  }
  if (!left_out) {
    ports_.log.error("a blob that was here is missing; it is fetched from another member", {{"digest", digest.text()}});
  }
  missing_.lose(blob, ports_.clock.monotonic());
  urgent_ = urgent_ || !left_out;
  co_return Result<void>{};
}

// ---- what is missing --------------------------------------------------------------------------------------------

void Holder::start_fills() {
  if (!ports_.fetch || ports_.clock.monotonic() < fills_from_) return;
  for (; filling_ < ports_.fills && missing_.has_due(ports_.clock.monotonic()); ++filling_) {
    scope_->spawn("fill", fill_loop());
  }
}

io::Task<void> Holder::fill_loop() {
  while (const auto digest = missing_.next(ports_.clock.monotonic())) {
    auto done = co_await fill(*digest);
    if (done) continue;
    missing_.fail(*digest, ports_.clock.monotonic());
    if (done.error().code == ErrorCode::cancelled) break;
    if (done.error().code != ErrorCode::out_of_space) continue;
    if (ports_.clock.monotonic() >= fills_from_) {
      ports_.log.error("the disk is full, so that blobs that are missing here cannot be fetched; free space",
                       {{"disk", ports_.disk}});
    }
    fills_from_ = ports_.clock.monotonic() + full_disk_pause;
    break;
  }
  --filling_;
}

io::Task<Result<void>> Holder::fill(oci::Digest digest) {
  {
    HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
    HANSA_CO_TRY(const bool named, view.named_anywhere(digest));
    if (!named) {
      missing_.settle(digest);
      co_return Result<void>{};
    }
  }
  HANSA_CO_CHECK(co_await ports_.fetch(digest));
  filled_bytes_ += missing_.settle(digest);
  ++filled_;
  co_return Result<void>{};
}

// ---- the mark ---------------------------------------------------------------------------------------------------

// A mark that takes back is put from a disk that takes no number too.
io::Task<std::uint64_t> Holder::number_mark() {
  if (!ports_.number_mark) co_return std::uint64_t{0};
  const auto number = co_await ports_.number_mark();
  if (number) co_return *number;
  ports_.log.warn(
      "the number of a mark cannot be written to disk.json; an old copy of this disk may not be known as one",
      {{"error", number.error().message}});
  co_return put_.number;
}

io::Task<Result<void>> Holder::publish(bool believed) {
  const io::MonotonicTime now = ports_.clock.monotonic();
  if (!urgent_ && now - put_when_ < publish_interval) co_return Result<void>{};
  catalog::LayoutRecord layout;
  {
    HANSA_CO_TRY(auto view, ports_.catalog.snapshot());
    HANSA_CO_TRY(auto stored, view.layout());
    if (!stored) co_return Result<void>{};
    layout = std::move(stored->record);
    // The feed may be behind the layout that this snapshot shows; a mark never claims more than was looked at.
    if (stored->mod > taken_ && !urgent_) co_return Result<void>{};
  }
  const bool inside = std::ranges::find(layout.members, ports_.node) != layout.members.end();
  if (!inside) co_return Result<void>{};
  catalog::HoldsRecord mark = put_;
  mark.disk = ports_.disk;
  mark.but = missing_.left_out();
  // Every layout gives everything to each of its members, so that a scan under an older one serves.
  if (scanned_ && believed) mark.at = {{layout.number, missing_.covered(taken_)}};
  // Marks that tell nothing new of any blob would only keep the cluster's log busy.
  const bool news = put_relevant_ != relevant_ || put_layout_ != layout.number || put_.at.empty() || put_owing_;
  const bool moved = mark.at != put_.at && news;
  const bool alone = layout.members.size() == 1 && put_layout_ == layout.number && !put_.at.empty();
  const std::uint64_t left_out_changes = missing_.left_out_changes();
  if (!urgent_ && put_left_out_ == left_out_changes && (!moved || alone)) co_return Result<void>{};
  const catalog::Revision relevant = relevant_;
  const bool owing = missing_.owed() != 0;
  mark.number = co_await number_mark();
  catalog::Planner plan = [id = ports_.node, boot = ports_.boot, mark](const catalog::Planning& planning) {
    return plan_hold(planning, id, boot, mark);
  };
  urgent_ = false;
  auto done = co_await ports_.catalog.submit(std::move(plan));
  if (!done) {
    urgent_ = true;
    co_return done.error();
  }
  put_ = mark;
  put_layout_ = mark.at.contains(layout.number) ? layout.number : 0;
  put_left_out_ = left_out_changes;
  put_relevant_ = relevant;
  put_owing_ = owing;
  put_when_ = ports_.clock.monotonic();
  const std::lock_guard lock(mutex_);
  progress_.marked = mark.at.empty() ? 0 : mark.at.rbegin()->second;
  co_return Result<void>{};
}

}  // namespace hansa::cluster
