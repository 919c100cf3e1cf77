// Replicas on a real disk and a simulated one: what was fed is there, also after power cuts and damage.
#include "meta/sqlite/replica.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>

#include "sim/ports/contract_rigs_test.h"

namespace hansa::meta::sqlite {
namespace {

// A table that repeats the records, and remembers when history was lost.
class Mirror final : public Projection {
 public:
  explicit Mirror(int version = 1) : version_(version) {}
  std::string_view name() const override { return "mirror"; }
  int schema_version() const override { return version_; }
  Result<void> create(Connection& connection) override {
    return connection.execute("DROP TABLE IF EXISTS mirror; CREATE TABLE mirror(k TEXT PRIMARY KEY, v BLOB)");
  }
  Result<void> apply(Connection& connection, const ChangeSet& changes) override {
    for (const auto& change : changes.changes) {
      ++applied;
      lowest_revision = std::min(lowest_revision, changes.revision);
      if (change.now.key == "refused") return make_error(ErrorCode::internal, "the mirror refuses this key");
      HANSA_TRY(auto write, connection.prepare(change.deleted ? "DELETE FROM mirror WHERE k=?1"
                                                              : "INSERT OR REPLACE INTO mirror VALUES(?1,?2)"));
      write.bind(1, std::string_view(change.now.key));
      if (!change.deleted) write.bind(2, as_bytes(change.now.value));
      HANSA_CHECK(write.run());
    }
    return {};
  }
  Result<void> history_lost(Connection&, Revision revision) override {
    lost_at = revision;
    return {};
  }
  int applied = 0;
  Revision lowest_revision = std::numeric_limits<Revision>::max();
  Revision lost_at = 0;

 private:
  int version_;
};

using Records = std::map<std::string, std::string>;

// A store that only makes change sets.
class Origin {
 public:
  ChangeSet change(const std::vector<std::pair<std::string, std::string>>& puts,
                   const std::vector<std::string>& deletes = {}) {
    ChangeSet set{.revision = ++revision, .changes = {}};
    for (const auto& [key, value] : puts) set.changes.push_back(put(key, value));
    for (const auto& key : deletes) {
      if (records.erase(key) == 0) continue;
      set.changes.push_back(
          {.now = {.key = key, .value = {}, .create = 0, .mod = revision, .version = 0}, .deleted = true});
    }
    const std::string operation = "op" + std::to_string(revision);
    set.changes.push_back(put(std::string(head_key), head_value(operation, set.changes.size())));
    std::ranges::sort(set.changes, {}, [](const Change& one) -> const std::string& { return one.now.key; });
    return set;
  }
  std::vector<KeyValue> all() const {
    std::vector<KeyValue> out;
    for (const auto& [key, record] : records) out.push_back(record);
    return out;
  }
  Records values() const {
    Records out;
    for (const auto& [key, record] : records) out[key] = record.value + "@" + std::to_string(record.mod);
    return out;
  }
  std::map<std::string, KeyValue> records;
  Revision revision = 10;

 private:
  Change put(const std::string& key, const std::string& value) {
    auto& record = records[key];
    if (record.version == 0) record = {.key = key, .value = {}, .create = revision, .mod = 0, .version = 0};
    record.value = value;
    record.mod = revision;
    ++record.version;
    return {.now = record, .deleted = false};
  }
};

template <class Rig>
class ReplicaTest : public ::testing::Test {
 protected:
  std::string path() const { return rig.folder() + "/view.db"; }
  std::unique_ptr<Replica> open(const std::string& at) {
    DatabaseOptions options;
    options.path = at;
    options.checkpoint_pages = 20;
    auto opened = Replica::open(rig.disk(), rig.clock(), log, options, {&mirror});
    EXPECT_TRUE(opened) << describe(opened.error());
    return opened ? std::move(*opened) : nullptr;
  }
  void reopen() {
    replica.reset();
    replica = open(path());
  }
  void SetUp() override { replica = open(path()); }
  void apply(std::vector<ChangeSet> sets) {
    const auto applied = replica->apply(sets);
    ASSERT_TRUE(applied) << describe(applied.error());
  }
  static Records shown(Replica& of) {
    Records out;
    const auto view = of.read().value();
    const auto records = view->range("", "", 1'000'000).value();
    for (const auto& record : records) {
      out[record.key] = record.value + "@" + std::to_string(record.mod);
    }
    return out;
  }
  static Records mirrored(Replica& of) {
    Records out;
    const auto view = of.read().value();
    auto rows = view->connection().prepare("SELECT k,v FROM mirror").value();
    while (rows.step().value()) out[std::string(rows.column_text(0))] = as_text(rows.column_blob(1));
    return out;
  }
  void expect_truth(Replica& of) {
    EXPECT_TRUE(shown(of) == origin.values());
    Records values;
    for (const auto& [key, record] : origin.records) values[key] = record.value;
    EXPECT_TRUE(mirrored(of) == values);
    EXPECT_EQ(of.position().revision, origin.revision);
    EXPECT_EQ(of.read().value()->revision(), origin.revision);
    EXPECT_EQ(of.position().head_version, origin.records.contains("head") ? origin.records["head"].version : 0);
  }
  Result<ChangeSet> load_all(std::size_t page) {
    HANSA_CHECK(replica->begin_load());
    const auto records = origin.all();
    for (std::size_t i = 0; i < records.size(); i += page) {
      HANSA_CHECK(replica->load(std::span(records).subspan(i, std::min(page, records.size() - i))));
    }
    return replica->finish_load(origin.revision, "origin");
  }

  Rig rig;
  NullLogger log;
  Mirror mirror;
  Origin origin;
  std::unique_ptr<Replica> replica;
};
using Rigs = ::testing::Types<sim::RealRig, sim::SimRig>;
TYPED_TEST_SUITE(ReplicaTest, Rigs);

TYPED_TEST(ReplicaTest, ShowsWhatItWasFedWithTheRevisionsOfItsOrigin) {
  EXPECT_EQ(this->replica->position().revision, 0U);
  EXPECT_EQ(this->replica->position().origin, "");
  this->apply({this->origin.change({{"a", "1"}, {"b", "1"}})});
  this->apply({this->origin.change({{"a", "2"}}), this->origin.change({{"c", "3"}}, {"b"})});
  this->expect_truth(*this->replica);
  const auto a = this->replica->read().value()->get("a").value();
  EXPECT_EQ(a->create, 11U);
  EXPECT_EQ(a->mod, 12U);
  EXPECT_EQ(a->version, 2U);
  EXPECT_EQ(this->replica->position().head_operation, "op13");
}

TYPED_TEST(ReplicaTest, BeginsAgainAtItsPosition) {
  this->apply({this->origin.change({{"a", "1"}})});
  ASSERT_TRUE(this->replica->set_origin("12345678"));
  this->reopen();
  EXPECT_EQ(this->replica->position().origin, "12345678");
  EXPECT_EQ(this->replica->position().head_operation, "op11");
  this->expect_truth(*this->replica);
}

TYPED_TEST(ReplicaTest, SkipsWhatItHas) {
  const auto first = this->origin.change({{"a", "1"}});
  const auto second = this->origin.change({{"a", "2"}});
  this->apply({first, second});
  const int applied = this->mirror.applied;
  this->apply({first});
  this->apply({first, second, this->origin.change({{"a", "3"}})});
  EXPECT_EQ(this->mirror.applied, applied + 2) << "a and head, once";
  this->expect_truth(*this->replica);
}

TYPED_TEST(ReplicaTest, AChangeSetWithoutHeadMovesTheRevisionOnly) {
  this->apply({this->origin.change({{"alive/n1", "1"}})});
  const auto before = this->replica->position();
  ChangeSet expired{.revision = ++this->origin.revision, .changes = {}};
  expired.changes.push_back({.now = {.key = "alive/n1", .value = {}, .create = 0, .mod = 12}, .deleted = true});
  this->origin.records.erase("alive/n1");
  this->apply({expired});
  EXPECT_EQ(this->replica->position().head_version, before.head_version);
  EXPECT_EQ(this->replica->position().revision, before.revision + 1);
  this->expect_truth(*this->replica);
}

TYPED_TEST(ReplicaTest, SeveralChangeSetsTakeEffectTogetherOrNotAtAll) {
  this->apply({this->origin.change({{"a", "1"}})});
  const auto before = this->shown(*this->replica);
  const std::vector<ChangeSet> sets{this->origin.change({{"b", "1"}}), this->origin.change({{"refused", "1"}})};
  EXPECT_FALSE(this->replica->apply(sets));
  EXPECT_EQ(this->shown(*this->replica), before);
  EXPECT_EQ(this->replica->position().revision, 11U);
  this->origin.records.erase("refused");
  this->origin.revision = 12;
  this->apply({sets[0]});
  EXPECT_EQ(this->replica->position().revision, 12U);
}

TYPED_TEST(ReplicaTest, LoadingChangesOnlyWhatDiffersAndRemovesWhatIsGone) {
  for (int i = 0; i < 40; ++i) this->apply({this->origin.change({{"k" + std::to_string(i), "old"}})});
  (void)this->origin.change({{"k3", "new"}, {"k41", "new"}, {"zz", "new"}}, {"k0", "k39", "k7"});
  const int applied = this->mirror.applied;
  this->mirror.lowest_revision = std::numeric_limits<Revision>::max();
  const Revision before = this->replica->position().revision;
  const auto changes = this->load_all(2);
  ASSERT_TRUE(changes) << describe(changes.error());
  Records seen;
  for (const auto& change : changes->changes) seen[change.now.key] = change.deleted ? "deleted" : change.now.value;
  const Records expected{{"head", head_value("op51", 6)},
                         {"k0", "deleted"},
                         {"k3", "new"},
                         {"k39", "deleted"},
                         {"k41", "new"},
                         {"k7", "deleted"},
                         {"zz", "new"}};
  EXPECT_EQ(seen, expected);
  EXPECT_TRUE(std::ranges::is_sorted(changes->changes, {}, [](const Change& one) { return one.now.key; }));
  EXPECT_EQ(changes->revision, this->origin.revision);
  EXPECT_EQ(this->mirror.applied, applied + 7);
  EXPECT_GT(this->mirror.lowest_revision, before) << "what compares revisions sees that something happened";
  EXPECT_EQ(this->mirror.lost_at, this->origin.revision);
  EXPECT_EQ(this->replica->position().origin, "origin");
  this->expect_truth(*this->replica);
  this->apply({this->origin.change({{"k1", "newer"}})});
  this->expect_truth(*this->replica);
}

TYPED_TEST(ReplicaTest, ReadersSeeTheOldStateUntilALoadEndsAndAnAbandonedOneLeavesNothing) {
  this->apply({this->origin.change({{"a", "1"}, {"b", "1"}})});
  const auto before = this->shown(*this->replica);
  const auto later = this->origin.change({{"b", "2"}}, {"a"});
  const auto records = this->origin.all();
  ASSERT_TRUE(this->replica->begin_load());
  ASSERT_TRUE(this->replica->load(records));
  EXPECT_EQ(this->shown(*this->replica), before);
  EXPECT_EQ(this->replica->position().revision, 11U);
  this->apply({later});  // ends the load
  this->expect_truth(*this->replica);
  EXPECT_EQ(this->replica->load(records).error().code, ErrorCode::conflict);
  EXPECT_EQ(this->replica->finish_load(12, "origin").error().code, ErrorCode::conflict);
  ASSERT_TRUE(this->replica->begin_load());
  ASSERT_TRUE(this->replica->load(records));
  EXPECT_EQ(this->replica->load(records).error().code, ErrorCode::invalid) << "pages come in order";
}

TYPED_TEST(ReplicaTest, ALargeLoadIsDividedAndAFileThatHasPartOfItHasNoOrigin) {
  this->apply({this->origin.change({{"a", "1"}})});
  ASSERT_TRUE(this->replica->set_origin("origin"));
  for (std::size_t i = 0; i < load_transaction_limit + 10; ++i) {
    std::string key = "k" + std::to_string(1'000'000 + i);
    this->origin.records[key] = {.key = key, .value = "v", .create = 12, .mod = 12, .version = 1};
  }
  this->origin.revision = 12;
  ASSERT_TRUE(this->replica->begin_load());
  const auto records = this->origin.all();
  ASSERT_TRUE(this->replica->load(std::span(records).first(load_transaction_limit + 5)));
  this->reopen();
  EXPECT_EQ(this->replica->position().origin, "");
  ASSERT_TRUE(this->load_all(10'000));
  EXPECT_EQ(this->replica->position().origin, "origin");
  EXPECT_EQ(this->shown(*this->replica).size(), records.size());
}

TYPED_TEST(ReplicaTest, WhatALoadThatBrokeOffHadCommittedIsToldByTheNextOne) {
  this->apply({this->origin.change({{"a", "1"}})});
  ASSERT_TRUE(this->replica->set_origin("origin"));
  const auto key = [](std::size_t i) { return "k" + std::to_string(1'000'000 + i); };
  for (std::size_t i = 0; i < load_transaction_limit + 10; ++i) {
    this->origin.records[key(i)] = {.key = key(i), .value = "v", .create = 12, .mod = 12, .version = 1};
  }
  this->origin.revision = 12;
  ASSERT_TRUE(this->replica->begin_load());
  const auto first = this->origin.all();
  ASSERT_TRUE(this->replica->load(std::span(first).first(load_transaction_limit + 5)));
  // The rest cannot be had. Meanwhile one record is changed, and one deleted.
  this->origin.records.erase(key(1));
  this->origin.records[key(2)].value = "w";
  this->origin.records[key(2)].mod = 13;
  this->origin.revision = 13;
  ASSERT_TRUE(this->replica->begin_load());
  ASSERT_TRUE(this->replica->load(this->origin.all()));
  const auto told = this->replica->finish_load(13, "origin");
  ASSERT_TRUE(told);
  EXPECT_EQ(told->changes.size(), load_transaction_limit + 10);
  const auto of = [&](const std::string& name) {
    const auto found = std::ranges::find(told->changes, name, [](const Change& change) { return change.now.key; });
    if (found == told->changes.end()) return std::string("untold");
    return found->deleted ? "deleted" : found->now.value;
  };
  EXPECT_EQ(of(key(0)), "v");
  EXPECT_EQ(of(key(1)), "deleted");
  EXPECT_EQ(of(key(2)), "w");
  EXPECT_EQ(of(key(load_transaction_limit + 9)), "v");
}

TYPED_TEST(ReplicaTest, DiscardingLeavesNothing) {
  this->apply({this->origin.change({{"a", "1"}})});
  ASSERT_TRUE(this->replica->set_origin("origin"));
  ASSERT_TRUE(this->replica->discard());
  EXPECT_TRUE(this->shown(*this->replica).empty());
  EXPECT_TRUE(this->mirrored(*this->replica).empty());
  const auto position = this->replica->position();
  EXPECT_EQ(position.revision, 0U);
  EXPECT_EQ(position.head_version, 0U);
  EXPECT_EQ(position.head_operation, "");
  EXPECT_EQ(position.origin, "");
}

TYPED_TEST(ReplicaTest, ACopyIsOfOneRevisionThoughWritesGoOnAndOpensAsAReplica) {
  for (int i = 0; i < 60; ++i) {
    this->apply({this->origin.change({{"k" + std::to_string(i), std::string(3000, 'x')}})});
  }
  ASSERT_TRUE(this->replica->set_origin("origin"));
  const auto reader = this->replica->read().value();
  const std::string copy = this->rig.folder() + "/copy.db";
  ASSERT_TRUE(this->replica->copy_to(copy));
  EXPECT_EQ(this->replica->copy_to(copy).error().code, ErrorCode::exists);
  {
    const auto opened = this->open(copy);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->position().origin, "origin");
    this->expect_truth(*opened);
    const std::vector<ChangeSet> next{this->origin.change({{"k1", "later"}})};
    ASSERT_TRUE(opened->apply(next));
    this->expect_truth(*opened);
    this->apply(next);
  }
  this->expect_truth(*this->replica);
}

TYPED_TEST(ReplicaTest, SumsAreEqualExactlyWhereTheRecordsAre) {
  const std::string other_path = this->rig.folder() + "/other.db";
  const auto other = this->open(other_path);
  const auto first = this->origin.change({{"tag/a", "1"}, {"link/a", "1"}, {"layout", "1"}});
  const auto second = this->origin.change({{"tag/b", "2"}, {"alive/n", "1"}, {"task/t", "1"}});
  this->apply({first, second});
  ASSERT_TRUE(other->begin_load());
  ASSERT_TRUE(other->load(this->origin.all()));
  ASSERT_TRUE(other->finish_load(this->origin.revision, "origin"));
  const auto sums = this->replica->sums().value().sums;
  EXPECT_EQ(other->sums().value().sums, sums);
  std::vector<std::string> parts;
  for (const auto& [part, sum] : sums) parts.push_back(part);
  EXPECT_EQ(parts, (std::vector<std::string>{"head", "layout", "link", "tag"})) << "leased keys are left out";
  EXPECT_EQ(sums[0].second.size(), 32U);
  for (const char* what : {"value", "mod", "key", "length"}) {
    auto changed = this->origin.all();
    auto& record = changed.back().key == "task/t" ? changed[changed.size() - 2] : changed.back();
    ASSERT_EQ(record.key, "tag/b");
    if (std::string_view(what) == "value") record.value = "3";
    if (std::string_view(what) == "mod") record.mod = 11;
    if (std::string_view(what) == "key") record.key = "tag/c";
    if (std::string_view(what) == "length") record.value += '\0';
    ASSERT_TRUE(other->discard());
    ASSERT_TRUE(other->begin_load());
    ASSERT_TRUE(other->load(changed));
    ASSERT_TRUE(other->finish_load(this->origin.revision, "origin"));
    const auto others = other->sums().value().sums;
    ASSERT_EQ(others.size(), sums.size());
    EXPECT_EQ(others[2], sums[2]) << what;
    EXPECT_NE(others[3], sums[3]) << what;
  }
}

// ---- accidents --------------------------------------------------------------------------------------------------

class ReplicaAccident : public ReplicaTest<sim::SimRig> {
 protected:
  sim::SimDisk& disk() { return static_cast<sim::SimDisk&>(rig.disk()); }
  void damage(const std::string& file) {
    const std::uint64_t size = disk().info(file).value().size;
    for (std::uint64_t at = 100; at < size; at += 4096) disk().flip(file, at);
  }
  std::vector<ChangeSet> history(int count) {
    std::vector<ChangeSet> sets;
    for (int i = 0; i < count; ++i) {
      sets.push_back(origin.change({{"k" + std::to_string(i % 9), std::string(2000, static_cast<char>('a' + i % 26))}},
                                   {"k" + std::to_string((i * 5 + 3) % 9)}));
    }
    return sets;
  }
};

TEST_F(ReplicaAccident, AfterAPowerCutItStandsAtAnEarlierRevisionAndTheFeedBringsItBack) {
  ASSERT_TRUE(disk().sync_directory(rig.folder()));
  const auto sets = history(60);
  for (std::size_t i = 0; i < sets.size(); ++i) {
    apply({sets[i]});
    if (i % 4 != 3) continue;
    disk().stop(sim::Loss::unsynced);
    replica.reset();
    disk().start();
    replica = open(path());
    ASSERT_TRUE(replica);
    const Revision at = replica->position().revision;
    EXPECT_LE(at, sets[i].revision);
    apply({sets.begin(), sets.begin() + static_cast<std::ptrdiff_t>(i) + 1});
    EXPECT_EQ(replica->position().revision, sets[i].revision);
  }
  expect_truth(*replica);
}

TEST_F(ReplicaAccident, OneFailingDiskCallNeverLeavesAStateThatNeverWas) {
  constexpr std::uint64_t most_calls = 120;
  for (std::uint64_t nth = 1; nth <= most_calls && !HasFailure(); ++nth) {
    SCOPED_TRACE("call " + std::to_string(nth));
    ASSERT_TRUE(replica->discard());
    origin = {};
    const auto sets = history(12);
    disk().fail({.nth = nth});
    for (const auto& set : sets) {
      for (int tries = 0; tries < 3 && !replica->apply(std::span(&set, 1)); ++tries) {
      }
    }
    disk().clear_faults();
    apply(sets);
    expect_truth(*replica);
  }
}

TEST_F(ReplicaAccident, AFileThatIsDamagedWhenItIsOpenedIsPutAside) {
  apply(history(20));
  ASSERT_TRUE(replica->set_origin("origin"));
  replica.reset();
  damage(path());
  replica = open(path());
  ASSERT_TRUE(replica);
  EXPECT_TRUE(disk().info(path() + ".damaged"));
  EXPECT_EQ(replica->position().revision, 0U);
  EXPECT_EQ(replica->position().origin, "");
  EXPECT_TRUE(shown(*replica).empty());
  ASSERT_TRUE(load_all(5));
  expect_truth(*replica);
}

TEST_F(ReplicaAccident, ADamagedFileIsPutAsideOnlyWhenNobodyReadsIt) {
  for (int i = 0; i < 200; ++i) apply({origin.change({{"k" + std::to_string(i), std::string(900, 'x')}})});
  ASSERT_TRUE(replica->set_origin("origin"));
  reopen();  // nothing is cached
  auto held = replica->read();
  ASSERT_TRUE(held);
  damage(path());
  const std::vector<ChangeSet> next{origin.change({{"k7", "y"}, {"k150", "y"}})};
  ASSERT_EQ(replica->apply(next).error().code, ErrorCode::corrupt);
  EXPECT_EQ(replica->begin_load().error().code, ErrorCode::unavailable);
  held->reset();
  ASSERT_TRUE(load_all(50));
  expect_truth(*replica);
}

TEST_F(ReplicaAccident, ADamagedViewRefusesReadersAndChangesUntilItIsLoadedAnew) {
  for (int i = 0; i < 200; ++i) apply({origin.change({{"k" + std::to_string(i), std::string(900, 'x')}})});
  ASSERT_TRUE(replica->set_origin("origin"));
  reopen();
  damage(path());
  const std::vector<ChangeSet> next{origin.change({{"k7", "y"}, {"k150", "y"}})};
  ASSERT_EQ(replica->apply(next).error().code, ErrorCode::corrupt);
  EXPECT_EQ(replica->position().origin, "");
  EXPECT_EQ(replica->position().revision, 0U);
  EXPECT_EQ(replica->read().error().code, ErrorCode::unavailable);
  EXPECT_EQ(replica->apply(next).error().code, ErrorCode::unavailable);
  ASSERT_TRUE(load_all(50));
  expect_truth(*replica);
  reopen();
  expect_truth(*replica);
}

TEST_F(ReplicaAccident, AProjectionOfANewSchemaIsFilledFromTheRecords) {
  apply(history(20));
  replica.reset();
  Mirror newer(2);
  DatabaseOptions options;
  options.path = path();
  replica = Replica::open(rig.disk(), rig.clock(), log, options, {&newer}).value();
  EXPECT_EQ(newer.applied, static_cast<int>(origin.records.size()));
  expect_truth(*replica);
  replica.reset();
}

}  // namespace
}  // namespace hansa::meta::sqlite
