#include "cluster/missing.h"

#include <algorithm>

namespace hansa::cluster {
namespace {

constexpr io::Duration pace_window = std::chrono::seconds(30);
constexpr io::Duration pace_step = std::chrono::seconds(1);  // between samples

}  // namespace

Missing::Entry& Missing::add(const Blob& blob, io::MonotonicTime now) {
  const auto [at, added] = entries_.try_emplace(blob.digest);
  Entry& entry = at->second;
  if (!added) return entry;
  entry = {.since = blob.since, .size = blob.size, .asked = now, .due = now};
  bytes_ += blob.size;
  since_.insert(blob.since);
  queue_.insert(due_of(blob.digest, entry));
  return entry;
}

void Missing::set_left_out(Entry& entry) {
  if (entry.left_out || left_out_ >= catalog::max_but) return;
  entry.left_out = true;
  since_.erase(since_.find(entry.since));
  ++left_out_;
  ++changes_;
}

void Missing::owe(const Blob& blob, io::MonotonicTime now) {
  add(blob, now);
}

void Missing::lose(const Blob& blob, io::MonotonicTime now) {
  set_left_out(add(blob, now));
}

std::uint64_t Missing::settle(const oci::Digest& digest) {
  const auto at = entries_.find(digest);
  if (at == entries_.end()) return 0;
  const Entry& entry = at->second;
  const std::uint64_t size = entry.size;
  bytes_ -= size;
  if (!entry.taken) queue_.erase(due_of(digest, entry));
  if (entry.left_out) {
    --left_out_;
    ++changes_;
  } else {
    since_.erase(since_.find(entry.since));
  }
  entries_.erase(at);
  return size;
}

void Missing::fail(const oci::Digest& digest, io::MonotonicTime now) {
  const auto at = entries_.find(digest);
  if (at == entries_.end() || !at->second.taken) return;
  Entry& entry = at->second;
  if (now - entry.asked >= give_up_after) set_left_out(entry);
  entry.taken = false;
  entry.due = now + (entry.left_out ? retry_left_out : retry_owed);
  queue_.insert(due_of(digest, entry));
}

bool Missing::has_due(io::MonotonicTime now) const {
  return !queue_.empty() && std::get<io::MonotonicTime>(*queue_.begin()) <= now;
}

std::optional<oci::Digest> Missing::next(io::MonotonicTime now) {
  if (!has_due(now)) return std::nullopt;
  oci::Digest digest = std::get<oci::Digest>(*queue_.begin());
  queue_.erase(queue_.begin());
  entries_.at(digest).taken = true;
  return digest;
}

catalog::Revision Missing::covered(catalog::Revision taken) const {
  if (since_.empty()) return taken;
  const catalog::Revision oldest = *since_.begin();
  return std::min(taken, oldest == 0 ? 0 : oldest - 1);
}

std::vector<oci::Digest> Missing::left_out() const {
  std::vector<oci::Digest> out;
  for (const auto& [digest, entry] : entries_) {
    if (entry.left_out) out.push_back(digest);
  }
  return out;
}

void Pace::note(io::MonotonicTime now, std::uint64_t bytes) {
  if (!samples_.empty() && now - samples_.back().when < pace_step) {
    samples_.back().bytes = bytes;
    return;
  }
  samples_.push_back({.when = now, .bytes = bytes});
  while (now - samples_.front().when > pace_window) samples_.pop_front();
}

std::optional<std::chrono::seconds> Pace::left(std::uint64_t bytes) const {
  if (bytes == 0) return std::chrono::seconds(0);
  if (samples_.size() < 2) return std::nullopt;
  const std::uint64_t came = samples_.back().bytes - samples_.front().bytes;
  const auto took = std::chrono::duration<double>(samples_.back().when - samples_.front().when).count();
  if (came == 0) return std::nullopt;
  return std::chrono::seconds(static_cast<std::int64_t>(static_cast<double>(bytes) * took / static_cast<double>(came)) +
                              1);
}

}  // namespace hansa::cluster
