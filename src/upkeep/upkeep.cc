#include "upkeep/upkeep.h"

#include <algorithm>

#include "io/wait.h"

namespace hansa::upkeep {
namespace {

constexpr std::size_t scrub_page = 200;  // blobs listed at a time

}  // namespace

io::Duration tick_length(const Options& options) {
  // The smallest time that is counted, in eighths.
  const io::Duration untagged = options.untagged_grace == io::Duration::zero() ? options.grace : options.untagged_grace;
  return std::max(std::min(options.grace, untagged), smallest_grace) / catalog::ticks_per_grace;
}

Upkeep::Upkeep(Ports ports, Options options)
    : ports_(std::move(ports)),
      options_(std::move(options)),
      ticker_(ports_.store, ports_.catalog, "tick"),
      collector_(ports_.store, ports_.catalog, "collect") {
  if (options_.untagged_grace == io::Duration::zero()) options_.untagged_grace = options_.grace;
  options_.grace = std::max(options_.grace, smallest_grace);
  options_.untagged_grace = std::max(options_.untagged_grace, smallest_grace);
  const io::Duration credit = std::min(options_.measured, tick_length(options_));
  tick_started_ = (ports_.clock.monotonic().since_origin - credit).count();
  measured_tick_ = ports_.catalog.newest_tick();
}

void Upkeep::run(io::TaskScope& scope) {
  scope.spawn("tick", tick_loop());
  if (options_.collect) scope.spawn("collect", collect_loop());
  if (options_.scrub_interval > io::Duration::zero()) scope.spawn("scrub", scrub_loop());
  if (ports_.open_body) scope.spawn("references", references_loop());
}

// A member hears of large manifests that were pushed through others: it soon reads what they refer to, since nothing of
// their repositories can be removed before.
io::Task<void> Upkeep::references_loop() {
  constexpr io::Duration look_again = std::chrono::seconds(1);
  while (true) {
    auto slept = co_await io::sleep_for(look_again);
    if (!slept) co_return;
    auto loaded = co_await load_references();
    if (!loaded && loaded.error().code == ErrorCode::cancelled) co_return;
  }
}

io::Duration Upkeep::measured() const {
  return ports_.clock.monotonic().since_origin - io::Duration(tick_started_.load());
}

// ---- the slow clock ---------------------------------------------------------------------------------------------

// Whether the tick that was measured is still the newest; else another node began one since, and measuring starts anew.
bool Upkeep::still_measuring() {
  const auto newest = ports_.catalog.newest_tick();
  if (newest <= measured_tick_) return true;
  measured_tick_ = newest;
  tick_started_ = ports_.clock.monotonic().since_origin.count();
  return false;
}

io::Task<void> Upkeep::tick_loop() {
  while (true) {
    const io::Duration left = tick_length(options_) - measured();
    if (left > io::Duration::zero()) {
      auto slept = co_await io::sleep_for(left);
      if (!slept) co_return;
      continue;  // timers may fire early by a hair
    }
    Result<void> advanced;
    if (still_measuring()) advanced = co_await advance_tick();
    if (!advanced) {
      ports_.log.warn("the slow clock could not advance", {{"error", advanced.error().message}});
      auto slept = co_await io::sleep_for(std::chrono::seconds(1));
      if (!slept) co_return;
      continue;
    }
    auto expired = co_await ports_.expire_uploads();
    if (!expired) ports_.log.warn("uploads could not be expired", {{"error", expired.error().message}});
    io::TaskContext& context = co_await io::current_context();
    if (context.cancelled()) co_return;
  }
}

io::Task<Result<void>> Upkeep::advance_tick() {
  // Whatever comes of it, a whole tick is measured before the next try.
  const auto current = measured_tick_;
  HANSA_CO_TRY(const auto leader, co_await ticker_.hold());
  if (!leader) {
    tick_started_ = ports_.clock.monotonic().since_origin.count();
    co_return Result<void>{};  // another node advances it
  }
  catalog::Planner plan = [current, length = tick_length(options_)](const catalog::Planning& planning) {
    return plan_tick(planning, current, length);
  };
  auto done = co_await ports_.catalog.submit(std::move(plan));
  if (!done) co_return done.error();
  measured_tick_ = current + 1;
  tick_started_ = ports_.clock.monotonic().since_origin.count();
  co_return Result<void>{};
}

// ---- scrub ------------------------------------------------------------------------------------------------------

io::Task<void> Upkeep::scrub_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(options_.scrub_interval);
    if (!slept) co_return;
    auto report = co_await scrub(nullptr, options_.scrub_bytes_per_second);
    if (!report) {
      if (report.error().code == ErrorCode::cancelled) co_return;
      ports_.log.warn("scrub did not finish", {{"error", report.error().message}});
      continue;
    }
    ports_.log.info("scrub finished", {{"blobs", report->checked},
                                       {"bytes", report->checked_bytes},
                                       {"corrupt", report->corrupt.size()},
                                       {"unreadable", report->unreadable.size()}});
  }
}

io::Task<Result<blob::ScrubReport>> Upkeep::scrub(std::function<void(const blob::ScrubReport&)> progress,
                                                  std::uint64_t rate) {
  const Turn turn(scrubbing_);
  if (!turn.mine()) co_return make_error(ErrorCode::conflict, "a scrub is under way; wait for its end");
  io::TaskContext& context = co_await io::current_context();
  blob::ScrubReport report;
  std::optional<oci::Digest> after;
  while (true) {
    HANSA_CO_TRY(const auto page, co_await ports_.maintenance.list(after, scrub_page));
    if (page.empty()) co_return report;
    for (const auto& entry : page) {
      if (context.cancelled()) co_return make_error(ErrorCode::cancelled, "the scrub was stopped");
      auto checked = co_await ports_.maintenance.scrub(entry.digest);
      if (!checked && checked.error().code == ErrorCode::corrupt) {
        report.corrupt.push_back(entry.digest);
      } else if (!checked && checked.error().code == ErrorCode::io) {
        // A bad sector must not keep everything behind it from being checked.
        report.unreadable.push_back(entry.digest);
        ports_.log.error("a blob cannot be read, so that nobody knows whether it is whole",
                         {{"digest", entry.digest.text()}, {"error", checked.error().message}});
      } else if (!checked) {
        co_return checked.error();
      }
      ++report.checked;
      report.checked_bytes += entry.size;
      if (progress) progress(report);
      if (rate == 0) continue;
      auto slept = co_await io::sleep_for(std::chrono::nanoseconds(entry.size * 1'000'000 / rate * 1000));
      if (!slept) co_return slept.error();
    }
    after = page.back().digest;
  }
}

}  // namespace hansa::upkeep
