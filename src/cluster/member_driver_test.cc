// Drivers of several members over one metadata store, in virtual time: joins, drains, losses, marks.
#include "cluster/member_driver.h"

#include <gtest/gtest.h>

#include <set>

#include "catalog/bed_test.h"
#include "cluster/holder.h"
#include "cluster/members.h"
#include "io/wait.h"

namespace hansa::cluster {
namespace {

using catalog::testing::digest;

Error unused() {
  return make_error(ErrorCode::unsupported, "not in this test");
}

// Knows which digests lie here, and nothing else.
class Shelf final : public blob::BlobStore {
 public:
  io::Task<Result<blob::BlobInfo>> stat(oci::Digest d) override {
    if (broken) co_return make_error(ErrorCode::io, "the disk fails");
    if (here.contains(d)) co_return blob::BlobInfo{1};
    co_return make_error(ErrorCode::not_found, Subject::blob, d.text() + " is not here");
  }
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> open(oci::Digest) override { co_return unused(); }
  io::Task<Result<std::shared_ptr<blob::StagedBlob>>> create_staged(std::string, oci::Algorithm) override {
    co_return unused();
  }
  io::Task<Result<std::shared_ptr<blob::StagedBlob>>> reopen_staged(std::string, oci::Algorithm) override {
    co_return unused();
  }
  io::Task<Result<std::shared_ptr<blob::StagedReader>>> read_staged(std::string) override { co_return unused(); }
  io::Task<Result<void>> discard_staged(std::string) override { co_return unused(); }
  io::Task<Result<std::vector<std::string>>> list_staged() override { co_return unused(); }
  io::Task<Result<blob::Receipt>> finish(std::shared_ptr<blob::StagedBlob>, oci::Digest) override {
    co_return unused();
  }
  io::Task<Result<blob::Receipt>> put(oci::Digest, std::string) override { co_return unused(); }
  io::Task<Result<blob::Receipt>> renew_receipt(oci::Digest) override { co_return unused(); }

  std::set<oci::Digest> here;
  bool broken = false;
};

class Cluster;

struct Member {
  Member(Cluster& cluster, const std::string& id, const std::string& boot);
  ~Member() { stop(); }
  void stop();

  sim::World& world;
  sim::SimExecutor executor;
  sim::SimClock clock;
  Shelf& shelf;
  std::unique_ptr<MemberDriver> driver;
  std::unique_ptr<Holder> holder;
  std::unique_ptr<io::TaskScope> scope;
};

class Cluster : public ::testing::Test {
 protected:
  friend struct Member;
  Cluster() {
    bed.must([](const catalog::Planning& p) -> Result<catalog::Plan> {
      return catalog::Plan{meta::Commit{p.operation, {}, {{"task/layout", catalog::encode_mark(p.operation), 0}}, {}},
                           std::nullopt};
    });
    task = {"task/layout", bed.now().get("task/layout").value()->create};
    start("n1");
  }
  static catalog::NodeRecord record_of(const std::string& id, const std::string& boot) {
    catalog::NodeRecord record;
    record.disk = id == "n1" ? "disk-1" : "disk-" + id;
    record.boot = boot;
    return record;
  }

  Member& start(const std::string& id, const std::string& boot = "boot-1") {
    members[id] = std::make_unique<Member>(*this, id, boot);
    return *members[id];
  }
  // Dies: its sign of life goes with its lease.
  void kill(const std::string& id) {
    members.erase(id);
    EXPECT_TRUE(until([this, &id] { return bed.now().mod_of(catalog::keys::alive(id)).value() == 0; }));
  }
  // A blob with receipts of these members.
  void push(const std::string& content, const std::vector<std::string>& on, const std::string& repository = "app") {
    std::vector<catalog::Receipt> receipts;
    for (const std::string& id : on) {
      shelves[id].here.insert(digest(content));
      receipts.push_back({id, id == "n1" ? "disk-1" : "disk-" + id, bed.catalog->newest_tick()});
    }
    const catalog::LinkUpload upload{catalog::testing::name(repository), digest(content), 1, receipts};
    bed.must([upload](const catalog::Planning& p) { return plan_link(p, upload); });
  }
  bool until(const std::function<bool()>& done, io::Duration limit = std::chrono::minutes(3)) {
    return bed.world.run_until(done, limit);
  }
  std::size_t layout_size() { return bed.now().layout().value()->record.members.size(); }
  std::string state(const std::string& id) { return bed.now().node(id).value()->record.state; }
  bool holds(const std::string& id, const std::string& content) {
    auto view = bed.now();
    const auto mark = view.holds(id).value();
    return mark && holds_digest(id, view.node(id).value()->record, mark->record, view.layout().value()->record,
                                digest(content), view.since_of(digest(content)).value());
  }
  void drain(const std::string& id) {
    bed.must([id](const catalog::Planning& p) { return plan_drain(p, id); });
  }

  catalog::testing::Bed bed;
  std::map<std::string, Shelf> shelves;
  std::map<std::string, catalog::AliveRecord> loads;  // that they will tell
  bool network = true;
  io::Duration transfer{};  // of a blob between members
  catalog::TaskHold task;
  std::map<std::string, std::unique_ptr<Member>> members;
};

Member::Member(Cluster& cluster, const std::string& id, const std::string& boot)
    : world(cluster.bed.world), executor(world, id), clock(world, id), shelf(cluster.shelves[id]) {
  driver = std::make_unique<MemberDriver>(
      *cluster.bed.store, *cluster.bed.catalog, cluster.bed.log, id,
      [&load = cluster.loads[id]] {
        load.uploads = 7;
        return load;
      },
      [task = cluster.task]() -> io::Task<Result<std::optional<catalog::TaskHold>>> { co_return task; });
  auto fetch = [&cluster, this](oci::Digest d) -> io::Task<Result<void>> {
    HANSA_CO_CHECK(co_await io::sleep_for(cluster.transfer));
    for (const auto& [other, there] : cluster.shelves) {
      if (!cluster.network || !there.here.contains(d)) continue;
      shelf.here.insert(d);
      co_return Result<void>{};
    }
    co_return make_error(ErrorCode::unavailable, "nobody answers");
  };
  holder = std::make_unique<Holder>(Holder::Ports{.store = *cluster.bed.store,
                                                  .catalog = *cluster.bed.catalog,
                                                  .blobs = shelf,
                                                  .clock = clock,
                                                  .log = cluster.bed.log,
                                                  .node = id,
                                                  .disk = id == "n1" ? "disk-1" : "disk-" + id,
                                                  .boot = boot,
                                                  .fetch = fetch});
  scope = std::make_unique<io::TaskScope>(executor);
  const auto record = cluster.record_of(id, boot);
  EXPECT_TRUE(sim::run(world, executor, driver->start(record)));
  driver->run(*scope);
  holder->run(*scope);
}

void Member::stop() {
  if (!scope) return;
  sim::run(world, executor, scope->close());
  scope.reset();
  holder.reset();
  driver.reset();
}

TEST_F(Cluster, ANewMemberEntersTheLayoutAndIsFilled) {
  push("old", {"n1"});
  start("n2");
  EXPECT_TRUE(until([this] { return layout_size() == 2 && holds("n2", "old") && holds("n1", "old"); }));
  EXPECT_TRUE(shelves["n2"].here.contains(digest("old")));
  EXPECT_EQ(bed.now().layout().value()->record.write_copies, 2U);
}

TEST_F(Cluster, ASignOfLifeTellsBytesMovedOnceTheyAreWorthACommit) {
  const auto told = [this] { return bed.now().alive("n1").value()->record; };
  ASSERT_TRUE(until([&told] { return told().uploads == 7; }));  // its first word says everything
  loads["n1"].sent = 700 * KiB;
  loads["n1"].received = 700 * KiB;
  EXPECT_TRUE(until([&told] { return told().sent == 700 * KiB && told().received == 700 * KiB; }));
  loads["n1"].sent += 1000;
  EXPECT_FALSE(until([&told] { return told().sent != 700 * KiB; }));
}

TEST_F(Cluster, ASignOfLifeTellsWhatIsMissingAsSoonAsThatChanges) {
  const auto told = [this] { return bed.now().alive("n1").value()->record; };
  ASSERT_TRUE(until([&told] { return told().uploads == 7; }));
  loads["n1"].missing = 1;
  EXPECT_TRUE(until([&told] { return told().missing == 1; }, std::chrono::seconds(5)));
  loads["n1"].missing = 0;
  EXPECT_TRUE(until([&told] { return told().missing == 0; }, std::chrono::seconds(5)));
}

TEST_F(Cluster, AMemberThatIsFilledWhileNothingIsPushedSaysSo) {
  push("old", {"n1"});
  transfer = std::chrono::seconds(10);  // its first mark comes before
  start("n2");
  EXPECT_TRUE(until([this] { return holds("n2", "old"); }, std::chrono::minutes(1)));
}

TEST_F(Cluster, AMemberThatComesBackAndIsFilledWhileNothingIsPushedSaysSo) {
  start("n2");
  ASSERT_TRUE(until([this] { return layout_size() == 2; }));
  start("n3");
  ASSERT_TRUE(until([this] { return layout_size() == 3 && bed.now().holds("n3").value().has_value(); }));
  kill("n3");
  push("missed", {"n1", "n2"});
  transfer = std::chrono::seconds(10);
  start("n3", "boot-2");
  EXPECT_TRUE(until([this] { return holds("n3", "missed"); }, std::chrono::minutes(1)));
}

TEST_F(Cluster, AMemberIsNotSaidToHoldWhatItWasNeverGiven) {
  push("old", {"n1"});
  for (int i = 0; i < 10; ++i) push("next" + std::to_string(i), {"n1"});
  network = false;
  start("n2");
  ASSERT_TRUE(until([this] { return bed.now().holds("n2").value().has_value(); }));
  EXPECT_FALSE(until([this] { return holds("n2", "old"); }, std::chrono::minutes(1)));
  network = true;
  EXPECT_TRUE(until([this] { return holds("n2", "old"); }));
}

TEST_F(Cluster, WhatWasPushedWhileTheDiskCouldNotBeAskedIsFetchedOnceItCan) {
  push("old", {"n1"});
  start("n2");
  ASSERT_TRUE(until([this] { return layout_size() == 2 && holds("n2", "old"); }));
  start("n3");
  ASSERT_TRUE(until([this] { return layout_size() == 3 && holds("n3", "old"); }));
  shelves["n3"].broken = true;
  push("meanwhile", {"n1", "n2"});
  push("as well", {"n1", "n2"});
  EXPECT_FALSE(until([this] { return holds("n3", "meanwhile"); }, std::chrono::seconds(10)));
  shelves["n3"].broken = false;
  push("later", {"n1", "n2"});
  EXPECT_TRUE(until([this] { return holds("n3", "later"); }));
  EXPECT_TRUE(shelves["n3"].here.contains(digest("meanwhile")));
  EXPECT_TRUE(shelves["n3"].here.contains(digest("as well")));
}

TEST_F(Cluster, MembersFollowWhatIsPushedToOthers) {
  start("n2");
  ASSERT_TRUE(until([this] { return layout_size() == 2 && bed.now().holds("n2").value().has_value(); }));
  start("n3");
  ASSERT_TRUE(until([this] { return layout_size() == 3; }));
  push("new", {"n1", "n2"});
  EXPECT_TRUE(until([this] { return holds("n1", "new") && holds("n2", "new") && holds("n3", "new"); }));
}

TEST_F(Cluster, ADrainWaitsUntilTheOthersHoldEverything) {
  start("n2");
  ASSERT_TRUE(until([this] { return layout_size() == 2; }));
  start("n3");
  ASSERT_TRUE(until([this] { return layout_size() == 3 && bed.now().holds("n3").value().has_value(); }));
  network = false;
  push("fresh", {"n2", "n3"});
  drain("n3");
  EXPECT_FALSE(until([this] { return state("n3") == "gone"; }));  // n1 lacks it
  network = true;
  EXPECT_TRUE(until([this] { return state("n3") == "gone"; }));
  EXPECT_TRUE(shelves["n1"].here.contains(digest("fresh")));
  EXPECT_EQ(layout_size(), 2U);
}

TEST_F(Cluster, WhatCannotBeHadIsLeftOutAndFetchedLater) {
  start("n2");
  ASSERT_TRUE(until([this] { return layout_size() == 2; }));
  start("n3");
  ASSERT_TRUE(until([this] { return layout_size() == 3 && bed.now().holds("n3").value().has_value(); }));
  network = false;
  push("far", {"n1", "n2"});
  EXPECT_TRUE(until([this] { return members["n3"]->holder->progress().but == 1; }));
  push("near", {"n1", "n2", "n3"});
  EXPECT_TRUE(until([this] { return holds("n3", "near"); }));
  EXPECT_FALSE(holds("n3", "far"));
  network = true;
  EXPECT_TRUE(until([this] { return holds("n3", "far"); }));
}

TEST_F(Cluster, ALostFileIsSaidAndFetchedAgain) {
  push("x", {"n1"});
  start("n2");
  ASSERT_TRUE(until([this] { return holds("n2", "x"); }));
  network = false;
  shelves["n2"].here.erase(digest("x"));
  members["n2"]->holder->note_lost(digest("x"));
  ASSERT_TRUE(until([this] { return !holds("n2", "x"); }, std::chrono::seconds(1)));
  EXPECT_TRUE(until([this] { return members["n2"]->holder->progress().but == 1; }, std::chrono::seconds(1)));
  network = true;
  EXPECT_TRUE(until([this] { return holds("n2", "x"); }));
  EXPECT_TRUE(shelves["n2"].here.contains(digest("x")));
}

TEST_F(Cluster, ALostFileIsFetchedAtOnceWhereSomebodyHasIt) {
  push("x", {"n1"});
  start("n2");
  ASSERT_TRUE(until([this] { return holds("n2", "x"); }));
  shelves["n2"].here.erase(digest("x"));
  members["n2"]->holder->note_lost(digest("x"));
  EXPECT_TRUE(until([this] { return shelves["n2"].here.contains(digest("x")); }, std::chrono::seconds(1)));
  EXPECT_TRUE(until([this] { return holds("n2", "x"); }, std::chrono::seconds(5)));
}

TEST_F(Cluster, ALossThatAPushOfTheSameBlobElsewhereFindsIsSaid) {
  push("x", {"n1"});
  start("n2");
  start("n3");
  ASSERT_TRUE(until([this] { return layout_size() == 3 && holds("n2", "x"); }));
  network = false;
  shelves["n2"].here.erase(digest("x"));  // and nobody noticed
  push("x", {"n1", "n3"}, "elsewhere");
  EXPECT_TRUE(until([this] { return !holds("n2", "x"); }, std::chrono::seconds(5)));
  network = true;
  EXPECT_TRUE(until([this] { return holds("n2", "x"); }));
}

// The process ended between the loss and its mark.
TEST_F(Cluster, AMarkOfAnEarlierRunThatSaysTooMuchIsTakenBackByTheScan) {
  push("x", {"n1"});
  start("n2");
  ASSERT_TRUE(until([this] { return holds("n2", "x"); }));
  kill("n2");
  shelves["n2"].here.erase(digest("x"));
  network = false;
  EXPECT_TRUE(holds("n2", "x"));
  start("n2");
  EXPECT_TRUE(until([this] { return !holds("n2", "x"); }, std::chrono::seconds(2)));
  network = true;
  EXPECT_TRUE(until([this] { return holds("n2", "x"); }, std::chrono::minutes(2)));
}

TEST_F(Cluster, MoreLossesThanAMarkCanNameTakeItBack) {
  for (std::size_t i = 0; i <= catalog::max_but; ++i) push("x" + std::to_string(i), {"n1"});
  start("n2");
  ASSERT_TRUE(until([this] { return holds("n2", "x0"); }));
  network = false;
  for (std::size_t i = 0; i <= catalog::max_but; ++i) {
    shelves["n2"].here.erase(digest("x" + std::to_string(i)));
    members["n2"]->holder->note_lost(digest("x" + std::to_string(i)));
  }
  EXPECT_TRUE(until([this] { return !holds("n2", "x0") && !holds("n2", "x" + std::to_string(catalog::max_but)); }));
  network = true;
  EXPECT_TRUE(until([this] { return holds("n2", "x0") && holds("n2", "x" + std::to_string(catalog::max_but)); },
                    std::chrono::minutes(3)));
}

TEST_F(Cluster, AForgottenMemberThatStillRunsTakesNoPart) {
  start("n2");
  ASSERT_TRUE(until([this] { return layout_size() == 2; }));
  Member& second = *members["n2"];
  second.driver->end();  // its sign of life is lost
  ASSERT_TRUE(until([this] { return bed.now().mod_of(catalog::keys::alive("n2")).value() == 0; }));
  bed.must([](const catalog::Planning& p) { return plan_forget(p, "n2"); });
  EXPECT_TRUE(until([&second] { return second.driver->displaced(); }));
  EXPECT_EQ(state("n2"), "gone");
}

TEST_F(Cluster, ALostSignOfLifeIsTakenAgain) {
  members["n1"]->driver->end();
  const std::string key = catalog::keys::alive("n1");
  ASSERT_TRUE(until([&] { return bed.now().mod_of(key).value() == 0; }));
  EXPECT_TRUE(until([&] { return bed.now().mod_of(key).value() != 0; }, std::chrono::seconds(5)));
  EXPECT_FALSE(members["n1"]->driver->displaced());
}

TEST_F(Cluster, AForgottenMemberLeavesTheLayoutAndOneCopyIsEnough) {
  start("n2");
  ASSERT_TRUE(until([this] { return layout_size() == 2; }));
  kill("n2");
  EXPECT_FALSE(until([this] { return layout_size() == 1; }, std::chrono::minutes(1)));
  bed.must([](const catalog::Planning& p) { return plan_forget(p, "n2"); });
  EXPECT_TRUE(until([this] { return layout_size() == 1; }));
  EXPECT_EQ(bed.now().layout().value()->record.write_copies, 1U);
}

TEST_F(Cluster, MembersAreSeenWithTheirLivenessAndLoad) {
  auto seen = Members::open(*bed.store, *bed.catalog, io::NodeId("n1")).value();
  EXPECT_EQ(seen->members().size(), 1U);
  start("n2");
  ASSERT_TRUE(until([&] {
    const auto all = seen->members();
    return all.size() == 2 && all[1].in_layout && all[1].alive && all[1].load.uploads == 7;
  }));
  kill("n2");
  EXPECT_TRUE(until([&] { return !seen->members()[1].alive; }));
}

}  // namespace
}  // namespace hansa::cluster
