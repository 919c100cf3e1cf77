// The streams of watches: what each has sent, and how it goes wrong.
#include <algorithm>
#include <deque>

#include "sim/ports/etcd_model.h"

namespace hansa::sim {

using meta::Revision;
using meta::etcd::Event;
using meta::etcd::WatchReply;

namespace {

constexpr std::size_t most_repeated = 30;  // events

bool is_head(std::string_view key) {
  return key.ends_with(meta::head_key);
}

Error broke() {
  return make_error(ErrorCode::unavailable, "the stream broke");
}

}  // namespace

struct EtcdModel::Stream {
  Way way;
  std::string key;
  std::string end;
  Revision from = 0;  // what came before it was sent, or lost
  bool created = false;
  bool broken = false;
  bool waking = false;  // an event that looks after it is on its way
  std::deque<WatchReply> ready;
  std::optional<io::Completion<Result<WatchReply>>> waiting;

  void answer(Result<WatchReply> reply) {
    if (waiting) std::exchange(waiting, std::nullopt)->complete(std::move(reply));
  }
};

class EtcdModel::ModelWatch final : public meta::etcd::Watch {
 public:
  ModelWatch(EtcdModel& etcd, std::shared_ptr<Stream> stream) : etcd_(etcd), stream_(std::move(stream)) {}
  io::Task<Result<WatchReply>> next() override {
    auto wait = io::wait_for<Result<WatchReply>>([this](io::Completion<Result<WatchReply>> done) -> io::Work {
      stream_->waiting = done;
      etcd_.wake(stream_);
      return [done] { done.complete(make_error(ErrorCode::cancelled, "the watch was cancelled")); };
    });
    co_return co_await wait;
  }

 private:
  EtcdModel& etcd_;
  const std::shared_ptr<Stream> stream_;
};

std::unique_ptr<meta::etcd::Watch> EtcdModel::open_stream(Way way, std::string key, std::string end, Revision from) {
  auto stream = std::make_shared<Stream>();
  stream->way = std::move(way);
  stream->key = std::move(key);
  stream->end = std::move(end);
  stream->from = from;
  std::erase_if(streams_, [](const auto& one) { return one.expired(); });
  streams_.push_back(stream);
  return std::make_unique<ModelWatch>(*this, std::move(stream));
}

void EtcdModel::wake_streams() {
  for (const auto& one : streams_) {
    if (const auto stream = one.lock()) wake(stream);
  }
}

void EtcdModel::wake(const std::shared_ptr<Stream>& stream) {
  if (std::exchange(stream->waking, true)) return;
  executor_.start_timer(draw_delay(), [this, stream] { deliver(stream); });
}

void EtcdModel::break_watches() {
  for (const auto& one : streams_) {
    if (const auto stream = one.lock()) break_stream(*stream);
  }
}

void EtcdModel::break_stream(Stream& stream) {
  stream.broken = true;
  stream.answer(broke());
}

// Who cannot be reached any more loses its streams, soon or at once.
void EtcdModel::check_ways() {
  for (const auto& one : streams_) {
    const auto stream = one.lock();
    if (!stream) continue;
    if (is_away(stream->way)) {
      break_stream(*stream);
    } else if (is_cut(stream->way)) {
      executor_.start_timer(break_after, [this, stream] {
        if (is_cut(stream->way)) break_stream(*stream);
      });
    }
  }
}

void EtcdModel::deliver(const std::shared_ptr<Stream>& stream) {
  stream->waking = false;
  if (!stream->waiting) return;  // next() looks again
  if (stream->broken || is_away(stream->way)) {
    break_stream(*stream);
    return;
  }
  if (is_cut(stream->way)) {
    check_ways();
    return;
  }
  if (paused_.contains(stream->way.endpoint)) return;  // resume() wakes it
  if (stream->ready.empty()) prepare(*stream);
  if (stream->broken) {
    break_stream(*stream);
  } else if (!stream->ready.empty()) {
    auto reply = std::move(stream->ready.front());
    stream->ready.pop_front();
    stream->answer(std::move(reply));
  }
}

void EtcdModel::prepare(Stream& stream) {
  WatchReply reply;
  reply.header = header();
  reply.created = !std::exchange(stream.created, true);
  if (reply.created) {
    stream.ready.push_back(std::move(reply));
    return;
  }
  if (stream.from < state_.compacted) {
    reply.canceled = true;
    reply.compacted = state_.compacted;
    stream.ready.push_back(std::move(reply));
    return;
  }
  auto events = state_.since(stream.from, stream.key, stream.end);
  if (events.empty() && !repeat_all_) return;
  if (draw(warts_.broken)) {
    stream.broken = true;
    return;
  }
  // "Everything up to here was sent", said before it is (etcd before 3.4.25 and 3.5.8).
  if (draw(warts_.early_progress)) stream.ready.push_back(reply);
  lose_some(events);
  if (std::exchange(repeat_all_, false) || draw(warts_.repeated)) {
    auto before = state_.since(0, stream.key, stream.end);
    std::erase_if(before, [&stream](const Event& event) { return event.now.mod >= stream.from; });
    const std::size_t skip = before.size() - std::min<std::size_t>(before.size(), random_.between(1, most_repeated));
    before.erase(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(skip));
    events.insert(events.begin(), before.begin(), before.end());
  }
  stream.from = state_.revision + 1;
  reply.events = std::move(events);
  if (reply.events.empty()) return;
  split(stream, std::move(reply));
}

void EtcdModel::lose_some(std::vector<Event>& events) {
  std::erase_if(events, [this](const Event& event) { return lost_.contains(event.now.mod); });
  std::erase_if(lost_, [this](Revision at) { return at <= state_.revision; });
  if (draw(warts_.lost_event)) lose_one(events, true, false);
  if (draw(warts_.lost_revision)) lose_one(events, true, true);
  if (draw(warts_.lost_end)) lose_one(events, false, true);
}

// One of the events, or all of its revision.
void EtcdModel::lose_one(std::vector<Event>& events, bool with_head, bool whole) {
  std::set<Revision> heads;
  for (const auto& event : events) {
    if (is_head(event.now.key)) heads.insert(event.now.mod);
  }
  std::vector<Event> chosen;
  std::ranges::copy_if(events, std::back_inserter(chosen), [&](const Event& event) {
    return heads.contains(event.now.mod) == with_head && (whole || !is_head(event.now.key));
  });
  if (chosen.empty()) return;
  const Event lost = chosen[random_.below(chosen.size())];
  std::erase_if(events, [&](const Event& event) {
    return event.now.mod == lost.now.mod && (whole || event.now.key == lost.now.key);
  });
}

void EtcdModel::split(Stream& stream, WatchReply reply) {
  while (reply.events.size() > 1 && draw(warts_.fragments)) {
    const auto cut = static_cast<std::ptrdiff_t>(random_.between(1, reply.events.size() - 1));
    WatchReply part;
    part.header = reply.header;
    part.fragment = true;
    part.events.assign(reply.events.begin(), reply.events.begin() + cut);
    reply.events.erase(reply.events.begin(), reply.events.begin() + cut);
    stream.ready.push_back(std::move(part));
  }
  stream.ready.push_back(std::move(reply));
}

}  // namespace hansa::sim
