// A push against a sweep of the same digest, at any interleaving: a blob that is named has bytes (H1).
#include <chrono>
#include <thread>

#include "blob/disk/rig_test.h"

namespace hansa::blob::disk {
namespace {

using namespace std::chrono_literals;

// The node's view, as far as this race needs it: the tick and whether the blob is named. Commits compare the tick with
// the receipt's in one step, as the catalogue does.
struct View {
  std::mutex mutex;
  TickNumber tick = 0;
  bool named = false;
  int commits = 0;
  int sweeps = 0;
  int lost = 0;

  bool commit(const Receipt& receipt) {
    const std::lock_guard guard(mutex);
    if (receipt.tick + 1 < tick) return false;
    named = true;
    ++commits;
    return true;
  }
  bool unnamed() {
    const std::lock_guard guard(mutex);
    return !named;
  }
};

struct Race {
  DiskBlobStore& store;
  View& view;
  io::Random& random;
  std::string text;
  int rounds;
  io::Duration longest_wait;

  io::Duration pause() { return io::Duration(random.below(static_cast<std::uint64_t>(longest_wait.count()) + 1)); }
};

io::Task<void> push_and_delete(Race& race) {
  const auto digest = digest_of(race.text);
  for (int i = 0; i < race.rounds; ++i) {
    auto receipt = co_await race.store.put(digest, race.text);
    for (;;) {
      if (!receipt) break;
      (void)co_await io::sleep_for(race.pause());
      if (race.view.commit(*receipt)) break;
      receipt = co_await race.store.renew_receipt(digest);
      // The receipt was two ticks old and the sweep won: nothing was promised yet, the bytes are sent again.
      if (!receipt) receipt = co_await race.store.put(digest, race.text);
    }
    (void)co_await io::sleep_for(race.pause());
    const auto seen = co_await race.store.renew_receipt(digest);
    const std::lock_guard guard(race.view.mutex);
    if (race.view.named && !seen) ++race.view.lost;
    race.view.named = false;
  }
}

io::Task<void> sweep_often(Race& race, bool& done) {
  const auto digest = digest_of(race.text);
  while (!done) {
    const auto moved = co_await race.store.sweep({digest}, [&race](const oci::Digest&) { return race.view.unnamed(); });
    if (moved && *moved == 1) ++race.view.sweeps;
    (void)co_await race.store.empty_trash();
    (void)co_await io::sleep_for(race.pause());
  }
}

io::Task<void> tick_often(Race& race, bool& done) {
  while (!done) {
    (void)co_await io::sleep_for(race.pause() / 2);
    const std::lock_guard guard(race.view.mutex);
    ++race.view.tick;
  }
}

io::Task<void> push_then_stop(Race& race, bool& done) {
  co_await push_and_delete(race);
  done = true;
}

io::Task<void> run_race(Race& race, bool& done) {
  const io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  scope.spawn("sweep", sweep_often(race, done));
  scope.spawn("tick", tick_often(race, done));
  scope.spawn("push", push_then_stop(race, done));
  co_await scope.join();
}

template <class Ports>
void race_on(Ports& ports, std::uint64_t seed, int rounds, io::Duration longest_wait, View& view) {
  NullLogger log;
  DiskStoreOptions options;
  options.root = ports.folder();
  options.current_tick = [&view] {
    const std::lock_guard guard(view.mutex);
    return view.tick;
  };
  const auto store = DiskBlobStore::open(ports.disk(), ports.clock(), ports.random(), log, options).value();
  sim::SimRandom random(seed);
  Race race{*store, view, random, "text", rounds, longest_wait};
  bool done = false;
  ports.run(run_race(race, done));
}

TEST(SweepRace, ANamedBlobAlwaysHasItsBytesInEveryInterleaving) {
  int sweeps = 0;
  int commits = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SimPorts ports(seed, sim::Order::any);
    View view;
    race_on(ports, seed, 30, 20ms, view);
    ASSERT_EQ(view.lost, 0) << "seed " << seed;
    sweeps += view.sweeps;
    commits += view.commits;
  }
  EXPECT_EQ(commits, 60 * 30);
  EXPECT_GT(sweeps, 100) << "the sweep must win often enough to matter";
}

TEST(SweepRace, ANamedBlobAlwaysHasItsBytesOnRealThreads) {
  sim::RealRig ports;
  View view;
  race_on(ports, 1, 150, 4ms, view);
  EXPECT_EQ(view.lost, 0);
  EXPECT_EQ(view.commits, 150);
}

}  // namespace
}  // namespace hansa::blob::disk
