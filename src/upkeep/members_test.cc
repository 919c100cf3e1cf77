// Upkeep of several members over one catalogue: one advances the clock, one sweeps records, all sweep their bytes.
#include "registry/testing/cluster_bed.h"
#include "upkeep/upkeep.h"

namespace hansa::upkeep {
namespace {

using namespace registry::testing;

const Options options{.grace = std::chrono::seconds(80), .interval = std::chrono::hours(1000)};  // a tick is 10 s

struct Keeper {
  Keeper(ClusterBed& bed, const std::string& id, Options with = options) : member(bed[id]), scope(member.executor) {
    Ports ports{.store = member.store,
                .catalog = *member.catalog,
                .blobs = *member.blobs,
                .maintenance = *member.blobs,
                .clock = member.clock,
                .log = member.log,
                .expire_uploads = [raw = &member] { return raw->registry->expire_uploads(); }};
    ports.open_body = [raw = &member](oci::Digest digest) { return raw->copies->obtain(std::move(digest)); };
    upkeep = std::make_unique<Upkeep>(std::move(ports), std::move(with));
  }
  ~Keeper() { sim::run(world, member.executor, scope.close()); }
  Result<void> collect() { return member.run(upkeep->collect()); }

  Member& member;
  sim::World& world = member.world();
  std::unique_ptr<Upkeep> upkeep;
  io::TaskScope scope;
};

class MembersTest : public ::testing::Test {
 protected:
  std::uint64_t tick() { return bed.shared.catalog->newest_tick(); }
  // Runs for that long; the shortest time between two ticks' beginnings.
  io::Duration shortest_tick(io::Duration span) {
    io::Duration shortest = io::Duration::max();
    const auto end = bed.shared.world.now() + span;
    while (bed.shared.world.now() < end) {
      bed.shared.world.run_for(std::chrono::milliseconds(20));
      if (tick() == seen_) continue;
      if (began_ > io::Duration::zero()) shortest = std::min(shortest, bed.shared.world.now() - began_);
      seen_ = tick();
      began_ = bed.shared.world.now();
    }
    return shortest;
  }
  std::unique_ptr<Keeper> start(const std::string& id) {
    auto keeper = std::make_unique<Keeper>(bed, id);
    keeper->upkeep->run(keeper->scope);
    return keeper;
  }

  ClusterBed bed{3};

 private:
  std::uint64_t seen_ = 1;
  io::Duration began_{};
};

constexpr io::Duration least = std::chrono::milliseconds(9950);  // a tick, less the pace of looking

TEST_F(MembersTest, TheClockAdvancesOnceATickWhateverTheNumberOfMembers) {
  auto one = start("n1");
  bed.shared.world.run_for(std::chrono::seconds(3));
  auto two = start("n2");
  bed.shared.world.run_for(std::chrono::seconds(4));
  auto three = start("n3");
  const auto before = tick();
  EXPECT_GE(shortest_tick(std::chrono::seconds(200)), least);
  EXPECT_GE(tick() - before, 15U);
  EXPECT_LE(tick() - before, 20U);
}

// Whoever takes over has measured the tick from where it saw it begin: no tick is cut short, so ages never run ahead.
TEST_F(MembersTest, ATakeOverCutsNoTickShort) {
  for (int phase = 1; phase < 10; ++phase) {
    auto one = start("n1");
    bed.shared.world.run_for(std::chrono::seconds(phase));
    auto two = start("n2");
    EXPECT_GE(shortest_tick(std::chrono::seconds(25)), least) << phase;
    one.reset();
    const auto before = tick();
    EXPECT_GE(shortest_tick(std::chrono::seconds(60)), least) << phase;
    EXPECT_GE(tick() - before, 2U) << phase;
  }
}

TEST_F(MembersTest, EveryMemberSweepsItsOwnBytesThoughOneSweepsTheRecords) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", "gone"));
  bed.tick(11);
  const bool on_two = bed["n2"].has_file(digest("gone"));
  Keeper one(bed, "n1");
  Keeper other(bed, on_two ? "n2" : "n3");
  ASSERT_TRUE(one.collect());
  EXPECT_FALSE(bed.shared.now().blob(name("team/app"), digest("gone")).value());
  bed.tick(3);
  ASSERT_TRUE(bed["n1"].push_blob("team/app", "stays"));
  ASSERT_TRUE(other.collect());
  EXPECT_EQ(other.upkeep->swept_blobs(), 1U);
  EXPECT_EQ(other.upkeep->swept_records(), 0U);
  ASSERT_TRUE(one.collect());
  EXPECT_EQ(bed.copies_of(digest("gone")), 0U);
  EXPECT_EQ(bed.copies_of(digest("stays")), 2U);
}

TEST_F(MembersTest, OneMemberAppliesRetentionAndAnyUndoesIt) {
  Options keeping = options;
  keeping.retention.policies.resize(1);
  keeping.retention.policies[0].repositories.push_back(oci::Glob::compile("**").value());
  keeping.retention.policies[0].keep_tags.resize(1);
  keeping.retention.policies[0].keep_tags[0].most_recently_pushed = 1;
  ASSERT_TRUE(bed["n1"].push_blob("team/app", "{}"));
  for (const char* tag : {"v1", "v2"}) {
    ASSERT_TRUE(bed["n1"].push_manifest("team/app", tag,
                                        image("{}", {}, R"(,"annotations":{"a":")" + std::string(tag) + "\"}")));
  }
  const auto tags = [this] { return bed.shared.now().list_tags(name("team/app"), {}, 10).value().names; };
  Keeper one(bed, "n1", keeping);
  Keeper other(bed, "n2", keeping);
  ASSERT_TRUE(one.collect());
  ASSERT_TRUE(other.collect());
  EXPECT_EQ(one.upkeep->expired_tags(), 1U);
  EXPECT_EQ(other.upkeep->expired_tags(), 0U);
  EXPECT_EQ(tags(), (std::vector<std::string>{"v2"}));
  const auto undone = other.member.run(other.upkeep->undo(std::nullopt, [](const std::string&) {}));
  ASSERT_TRUE(undone);
  EXPECT_EQ(undone->tags, 1U);
  EXPECT_EQ(tags(), (std::vector<std::string>{"v1", "v2"}));
}

// References that stand in the body only: a member whose view lacks them reads the body, from a peer if it must, and
// the others have nothing to do then.
TEST_F(MembersTest, ReferencesAreLoadedFromAnyMemberOnce) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", "{}"));
  const std::string large = R"(,"annotations":{"a":")" + std::string(40'000, 'x') + "\"}";
  const std::string body = image("{}", {}, large);
  ASSERT_TRUE(bed["n1"].push_manifest("team/app", "v1", body));
  bed.rebuild_view();
  ASSERT_EQ(bed.shared.now().unloaded(10)->size(), 1U);
  const std::string lacking = bed["n2"].has_file(digest(body)) ? "n3" : "n2";
  Keeper first(bed, lacking);
  ASSERT_TRUE(first.collect());
  EXPECT_TRUE(bed.shared.now().unloaded(10)->empty());
  EXPECT_TRUE(bed[lacking].has_file(digest(body)));
  const auto revision = bed.shared.now().revision();
  Keeper second(bed, "n1");
  ASSERT_TRUE(second.collect());
  EXPECT_TRUE(bed.shared.now().mod_of(catalog::keys::manifest(name("team/app"), digest(body))).value() <= revision);
}

// A body that nobody has now does not stop the cycle; nothing is swept where it might be held.
TEST_F(MembersTest, ABodyThatCannotBeHadNowHoldsUpOnlyWhatItMightHold) {
  ASSERT_TRUE(bed["n1"].push_blob("team/app", "{}"));
  ASSERT_TRUE(bed["n1"].push_blob("team/other", "loose"));
  const std::string large = R"(,"annotations":{"a":")" + std::string(40'000, 'x') + "\"}";
  const std::string body = image("{}", {}, large);
  ASSERT_TRUE(bed["n1"].push_manifest("team/app", "v1", body));
  bed.rebuild_view();
  for (const char* id : {"n1", "n2", "n3"}) (void)bed[id].disk.remove(Member::path_of(digest(body)));
  bed.tick(11);
  Keeper keeper(bed, "n1");
  ASSERT_TRUE(keeper.collect());
  EXPECT_FALSE(bed.shared.now().blob(name("team/other"), digest("loose")).value());
  EXPECT_TRUE(bed.shared.now().blob(name("team/app"), digest("{}")).value());
  EXPECT_EQ(keeper.upkeep->swept_blobs(), 0U);
}

// A view that lags shows nothing of the commit that took the leadership; it is held all the same, by its true revision.
TEST_F(MembersTest, LeadershipIsHeldThoughTheViewLags) {
  std::vector<std::unique_ptr<meta::sqlite::ReadTransaction>> old;
  auto& shared = bed.shared;
  catalog::Catalog::Read read = [&]() -> Result<std::unique_ptr<meta::sqlite::ReadTransaction>> {
    if (old.empty()) return shared.store->read();
    auto next = std::move(old.back());
    old.pop_back();
    return next;
  };
  auto lagging = catalog::Catalog::open(*shared.store, read, shared.view, shared.clock, shared.random, shared.log);
  ASSERT_TRUE(lagging);
  TaskLeader leader(*shared.store, **lagging, "collect");
  for (int i = 0; i < 2; ++i) old.push_back(*shared.store->read());
  const auto held = sim::run(shared.world, shared.executor, leader.hold());
  ASSERT_TRUE(held && *held);
  EXPECT_EQ((*held)->create, shared.now().get(catalog::keys::task("collect")).value()->create);
  EXPECT_TRUE(old.empty());
  TaskLeader other(*shared.store, *shared.catalog, "collect");
  EXPECT_FALSE(*sim::run(shared.world, shared.executor, other.hold()));
}

// So that a leader that cannot act does not keep others from it.
TEST_F(MembersTest, WhoLetsALeadershipGoIsFollowedByAnother) {
  auto& shared = bed.shared;
  TaskLeader first(*shared.store, *shared.catalog, "etcd");
  TaskLeader second(*shared.store, *shared.catalog, "etcd");
  const auto leads = [&shared](TaskLeader& leader) {
    const auto held = sim::run(shared.world, shared.executor, leader.hold());
    return held && held->has_value();
  };
  EXPECT_TRUE(leads(first));
  EXPECT_FALSE(leads(second));
  first.release();
  shared.world.run_for(std::chrono::seconds(1));
  EXPECT_TRUE(leads(second));
  EXPECT_FALSE(leads(first));
}

}  // namespace
}  // namespace hansa::upkeep
