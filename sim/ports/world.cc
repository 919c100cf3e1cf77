#include "sim/ports/world.h"

#include <algorithm>

namespace hansa::sim {

World::World(WorldOptions options) : options_(options), random_(options.seed, "world"), trace_(mix(options.seed)) {}

World::~World() {
  HANSA_ASSERT(running_ == nullptr, "a world does not end inside one of its events");
}

std::uint64_t World::add(SimExecutor& executor, Kind kind, io::Duration delay, io::Work work) {
  const std::uint64_t id = ++last_id_;
  Event event{id, &executor, kind, std::move(work)};
  if (delay <= io::Duration::zero()) {
    ready_.push_back(std::move(event));
    return id;
  }
  const io::Duration left = io::Duration::max() - now_;
  const io::Duration at = now_ + std::min(delay, left);
  due_.emplace(id, at);
  later_.emplace(Key{at, id}, std::move(event));
  return id;
}

void World::cancel(std::uint64_t id) {
  if (const auto found = due_.find(id); found != due_.end()) {
    later_.erase(Key{found->second, id});
    due_.erase(found);
    return;
  }
  std::erase_if(ready_, [id](const Event& event) { return event.id == id; });
}

void World::forget(SimExecutor& executor) {
  // What the dropped work holds may call back here when it dies, so it dies after the queues are in order.
  std::deque<Event> dropped;
  std::deque<Event> kept;
  for (auto& event : ready_) (event.executor == &executor ? dropped : kept).push_back(std::move(event));
  ready_.swap(kept);
  for (auto at = later_.begin(); at != later_.end();) {
    if (at->second.executor != &executor) {
      ++at;
      continue;
    }
    due_.erase(at->second.id);
    dropped.push_back(std::move(at->second));
    at = later_.erase(at);
  }
}

void World::collect_due() {
  while (!later_.empty() && later_.begin()->first.first <= now_) {
    auto node = later_.extract(later_.begin());
    due_.erase(node.mapped().id);
    ready_.push_back(std::move(node.mapped()));
  }
}

World::Event World::take_ready() {
  std::size_t index = options_.order == Order::posted ? 0 : random_.below(ready_.size());
  if (options_.order == Order::between_executors) {
    const SimExecutor* const executor = ready_[index].executor;
    const auto first = std::ranges::find(ready_, executor, &Event::executor);
    index = static_cast<std::size_t>(first - ready_.begin());
  }
  Event event = std::move(ready_[index]);
  ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(index));
  return event;
}

bool World::step_until(io::Duration end) {
  HANSA_ASSERT(running_ == nullptr, "an event must not run the world");
  for (;;) {
    collect_due();
    if (ready_.empty()) {
      if (later_.empty() || later_.begin()->first.first > end) return false;
      now_ = later_.begin()->first.first;
      continue;
    }
    Event event = take_ready();
    const io::Duration until = event.executor->paused_until_;
    if (until <= now_) {
      execute(std::move(event));
      return true;
    }
    // Later events of this executor come by here too, so their order stays. The id stays valid for cancel().
    const Key key{until, event.id};
    due_.emplace(event.id, until);
    later_.emplace(key, std::move(event));
  }
}

void World::execute(Event event) {
  ++events_;
  HANSA_ASSERT(events_ <= options_.max_events, "the world never comes to rest (WorldOptions::max_events)");
  const auto kind = static_cast<std::uint64_t>(event.kind);
  trace_ = mix(trace_ ^ mix(static_cast<std::uint64_t>(now_.count())) ^ mix(event.id * 4 + kind) ^ event.executor->id_);
  running_ = event.executor;
  in_blocking_ = event.kind == Kind::blocking;
  charged_ = io::Duration::zero();
  {
    io::Work work = std::move(event.work);
    work();
  }
  running_ = nullptr;
  in_blocking_ = false;
  charged_ = io::Duration::zero();
}

void World::run_until_idle() {
  while (step()) {
  }
}

bool World::run_until(const std::function<bool()>& done, io::Duration limit) {
  const io::Duration end = now_ + std::min(limit, io::Duration::max() - now_);
  while (!done()) {
    if (!step_until(end)) return false;
  }
  return true;
}

void World::run_for(io::Duration duration) {
  const io::Duration end = now_ + duration;
  run_until([] { return false; }, duration);
  now_ = std::max(now_, end);
}

void World::note(std::string_view text) {
  trace_ = mix(trace_ ^ derive_seed(events_, text));
}

void World::charge(io::Duration time) {
  if (in_blocking_) charged_ += time;
}

SimExecutor::SimExecutor(World& world, std::string_view name)
    : world_(world), id_(++world.last_executor_), delays_(world.seed(), std::string("delays ").append(name)) {}

SimExecutor::~SimExecutor() {
  world_.forget(*this);
}

void SimExecutor::post(io::Work work) {
  // What blocking work posts is seen once that work has taken its time.
  world_.add(*this, World::Kind::posted, world_.charged_, std::move(work));
}

io::TimerId SimExecutor::start_timer(io::Duration delay, io::Work fire) {
  return world_.add(*this, World::Kind::timer, delay, std::move(fire));
}

void SimExecutor::cancel_timer(io::TimerId id) {
  world_.cancel(id);
}

void SimExecutor::run_blocking(io::Pool, io::Work work) {
  const auto most = static_cast<std::uint64_t>(world_.options_.max_blocking_delay.count());
  const io::Duration delay(delays_.between(0, most));
  world_.add(*this, World::Kind::blocking, delay, std::move(work));
}

bool SimExecutor::on_this_thread() const {
  return world_.running_ == this && !world_.in_blocking_;
}

void SimExecutor::pause(io::Duration duration) {
  paused_until_ = std::max(paused_until_, world_.now() + duration);
}

void run(World& world, io::Executor& executor, io::Task<void> task) {
  io::TaskScope scope(executor);
  scope.spawn("sim::run", std::move(task));
  const bool ended = world.run_until([&scope] { return scope.running() == 0; });
  HANSA_ASSERT(ended, "the world came to rest, but the task waits for something that never comes");
}

}  // namespace hansa::sim
