// World: a whole cluster in one thread. It owns the virtual time and runs every event (posted work, timers, blocking
// work) one after the other; the seed alone decides what happens, so a run can be repeated exactly.
//
//   World world({.seed = 7, .order = Order::between_executors});
//   SimExecutor executor(world, "node-1");        // one per node; an io::Executor
//   SimClock clock(world, "node-1");              // sim/ports/clock.h
//   SimDisk disk(world, "node-1");                // sim/ports/disk.h
//   SimRandom random = world.random("node-1");    // an independent stream by name
//   auto info = run(world, executor, store.stat(digest));  // runs a task and the world until the task ends
//   world.run_for(10min);                         // everything that happens in the next ten minutes
//   EXPECT_EQ(world.trace(), other.trace());      // same seed, same events
//
// Blocking work runs after a drawn delay, and what it completes resumes after the time that its disk calls took.
// An executor can be paused: a node that stops between any two of its events (S6).
// Only one thread may touch a world and what lives in it.
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "io/executor.h"
#include "io/scope.h"
#include "io/task.h"
#include "sim/ports/random.h"

namespace hansa::sim {

// Which of the events that could run now runs next.
enum class Order : std::uint8_t {
  posted,             // in the order of posting
  between_executors,  // drawn, but each executor's own events stay in order (all that io/executor.h promises)
  any,                // drawn: also orders that only several threads could produce
};

struct WorldOptions {
  std::uint64_t seed = 1;
  Order order = Order::posted;
  io::Duration max_blocking_delay = std::chrono::milliseconds(2);  // before blocking work runs; drawn from 0 to this
  std::uint64_t max_events = 50'000'000;                           // more in one life means that it never rests
};

class SimExecutor;

class World {
 public:
  explicit World(WorldOptions options = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::uint64_t seed() const { return options_.seed; }
  io::Duration now() const { return now_; }
  std::uint64_t random_seed(std::string_view name) const { return derive_seed(options_.seed, name); }
  SimRandom random(std::string_view name) const { return SimRandom(options_.seed, name); }

  // Runs one event, moving time on if nothing is ready; false: nothing is left at all.
  bool step() { return step_until(io::Duration::max()); }
  // Until nothing is left, timers included. Endless loops of timers never rest: use run_for or run_until.
  void run_until_idle();
  // Until `done()` holds (checked before each event) or `limit` has passed; whether it holds.
  bool run_until(const std::function<bool()>& done, io::Duration limit = std::chrono::hours(24 * 365));
  // All events of the next `duration`; time has then moved by exactly that.
  void run_for(io::Duration duration);

  // A number that depends on every event run so far and on every note.
  std::uint64_t trace() const { return trace_; }
  void note(std::string_view text);
  std::uint64_t events() const { return events_; }

  // For simulated devices: the blocking work that is running takes this much longer. Nothing outside such work.
  void charge(io::Duration time);
  // Blocking work is running, or no event at all (start-up).
  bool may_block() const { return running_ == nullptr || in_blocking_; }

 private:
  friend class SimExecutor;
  enum class Kind : std::uint8_t { posted, timer, blocking };
  struct Event {
    std::uint64_t id;
    SimExecutor* executor;
    Kind kind;
    io::Work work;
  };
  using Key = std::pair<io::Duration, std::uint64_t>;

  std::uint64_t add(SimExecutor& executor, Kind kind, io::Duration delay, io::Work work);
  void cancel(std::uint64_t id);
  void forget(SimExecutor& executor);
  void collect_due();
  // One event that is due no later than `end`; false: there is none.
  bool step_until(io::Duration end);
  Event take_ready();
  void execute(Event event);

  const WorldOptions options_;
  SimRandom random_;
  io::Duration now_{};
  std::deque<Event> ready_;
  std::map<Key, Event> later_;
  std::map<std::uint64_t, io::Duration> due_;  // of the events in later_
  std::uint64_t last_id_ = 0;
  std::uint64_t last_executor_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t trace_ = 0;
  SimExecutor* running_ = nullptr;
  bool in_blocking_ = false;
  io::Duration charged_{};
};

// The executor of one node. Work that is left when it dies is dropped with it.
class SimExecutor final : public io::Executor {
 public:
  SimExecutor(World& world, std::string_view name);
  ~SimExecutor() override;
  SimExecutor(const SimExecutor&) = delete;
  SimExecutor& operator=(const SimExecutor&) = delete;

  void post(io::Work work) override;
  io::TimerId start_timer(io::Duration delay, io::Work fire) override;
  void cancel_timer(io::TimerId id) override;
  void run_blocking(io::Pool pool, io::Work work) override;
  bool on_this_thread() const override;

  // None of this node's events runs for that long; they wait in their order.
  void pause(io::Duration duration);

 private:
  friend class World;
  World& world_;
  const std::uint64_t id_;
  SimRandom delays_;
  io::Duration paused_until_{};
};

namespace detail {
template <class T>
io::Task<void> keep_result(io::Task<T> task, std::optional<T>* out) {
  out->emplace(co_await std::move(task));
}
}  // namespace detail

// Runs a task to its end, and with it the world. Fails an assertion if the world comes to rest without that end.
template <class T>
T run(World& world, io::Executor& executor, io::Task<T> task) {
  std::optional<T> out;
  io::TaskScope scope(executor);
  scope.spawn("sim::run", detail::keep_result(std::move(task), &out));
  world.run_until([&scope] { return scope.running() == 0; });
  HANSA_ASSERT(out.has_value(), "the world came to rest, but the task waits for something that never comes");
  return std::move(*out);
}
void run(World& world, io::Executor& executor, io::Task<void> task);

}  // namespace hansa::sim
