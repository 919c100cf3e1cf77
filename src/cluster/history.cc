#include "cluster/history.h"

#include <algorithm>

namespace hansa::cluster {
namespace {

std::uint64_t step_of(io::MonotonicTime time) {
  return static_cast<std::uint64_t>(std::max(time.since_origin, io::Duration::zero()) / history_step);
}

double seconds(io::Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

io::MonotonicTime start_of(std::uint64_t step) {
  return {history_step * static_cast<std::int64_t>(step)};
}

std::uint64_t rate(double bytes) {
  return static_cast<std::uint64_t>(bytes / seconds(history_step));
}

}  // namespace

History::Cell& History::cell(Series& series, Step step) {
  Cell& place = series.cells[step % kept_steps];
  if (place.step != step) place = Cell{.step = step};
  place.known = true;
  return place;
}

// Over the steps between the two times, each by its part. What lies before the oldest kept step is dropped.
void History::spread(Series& series, double sent, double received, io::MonotonicTime from, io::MonotonicTime to) {
  const Step last = step_of(to);
  if (from >= to) from = to + io::Duration(-1);
  const double whole = seconds(to - from);
  for (Step step = step_of(from); step <= last; ++step) {
    if (last - step >= kept_steps) continue;
    const io::MonotonicTime begin = std::max(from, start_of(step));
    const io::MonotonicTime end = std::min(to, start_of(step + 1));
    const double part = seconds(end - begin) / whole;
    Cell& place = cell(series, step);
    place.sent += sent * part;
    place.received += received * part;
  }
}

void History::note(Series& series, const Said& said, io::MonotonicTime now) {
  const bool anew = said.boot != series.boot || said.sent < series.sent || said.received < series.received;
  const std::uint64_t sent = anew ? said.sent : said.sent - series.sent;
  const std::uint64_t received = anew ? said.received : said.received - series.received;
  cell(series, step_of(now));
  if (sent + received > 0) {
    // Nobody looked for a while: nothing tells when in that time it was.
    const bool silent = now - series.looked > history_spread;
    const io::MonotonicTime recent = std::max(series.changed, now + -history_spread);
    spread(series, static_cast<double>(sent), static_cast<double>(received), silent ? series.looked : recent, now);
    series.changed = now;
  }
  series.boot = said.boot;
  series.sent = said.sent;
  series.received = said.received;
  series.looked = now;
}

void History::look(const std::vector<Said>& members, io::MonotonicTime now) {
  if (!first_) first_ = now;
  const Step newest = step_of(now);
  std::erase_if(series_, [newest](const auto& entry) { return newest - step_of(entry.second.looked) > history_steps; });
  for (const Said& said : members) {
    const auto found = series_.find(said.id);
    if (found != series_.end()) {
      note(found->second, said, now);
      continue;
    }
    if (series_.size() >= history_members) continue;
    // What it moved before it was first seen belongs to no step.
    Series& fresh = series_[said.id];
    fresh.boot = said.boot;
    fresh.sent = said.sent;
    fresh.received = said.received;
    fresh.looked = fresh.changed = now;
    cell(fresh, step_of(now));
  }
}

std::vector<History::Member> History::show(io::MonotonicTime now) const {
  std::vector<Member> out;
  if (!first_) return out;
  const Step end = step_of(now + -history_settle);  // the first that is not shown
  const Step begin = std::max(step_of(*first_), end - std::min<Step>(end, history_steps));
  for (const auto& [id, series] : series_) {
    Member member{.id = id, .sent = {}, .received = {}};
    bool any = false;
    for (Step step = begin; step < end; ++step) {
      const Cell& place = series.cells[step % kept_steps];
      const bool known = place.known && place.step == step;
      any = any || known;
      member.sent.push_back(known ? std::optional(rate(place.sent)) : std::nullopt);
      member.received.push_back(known ? std::optional(rate(place.received)) : std::nullopt);
    }
    if (any) out.push_back(std::move(member));
  }
  return out;
}

}  // namespace hansa::cluster
