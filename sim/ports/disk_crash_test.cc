// What a SimDisk loses and keeps: the promises of io/disk.h about durability, in both directions. A fake that never
// loses anything proves nothing, so every "may" is shown to happen for some seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "io/wait.h"
#include "sim/ports/disk.h"
#include "sim/ports/disk_tree.h"

namespace hansa::sim {
namespace {

using io::OpenMode;
using namespace std::chrono_literals;

constexpr std::uint64_t kSeeds = 300;

std::string read_file(io::Disk& disk, const std::string& path) {
  auto file = disk.open(path, OpenMode::read);
  if (!file) return std::string(to_string(file.error().code));
  std::string text(disk.info(path).value().size, '?');
  const auto count = (*file)->read(0, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(count.value(), text.size());
  return text;
}

std::unique_ptr<io::File> make_file(io::Disk& disk, const std::string& path, const std::string& text) {
  auto file = disk.open(path, OpenMode::create).value();
  EXPECT_TRUE(file->write(0, as_bytes(text)));
  return file;
}

void make_durable(io::Disk& disk, const std::string& path, const std::string& text) {
  const auto file = make_file(disk, path, text);
  EXPECT_TRUE(file->sync());
  EXPECT_TRUE(disk.sync_directory(path.substr(0, std::max<std::size_t>(path.rfind('/'), 1))));
}

// How often each state was seen over all seeds.
using States = std::map<std::string, int>;

// Runs `before` on a fresh disk, cuts the power and counts what `after` sees.
States over_all_seeds(const std::function<void(SimDisk&)>& before, const std::function<std::string(SimDisk&)>& after) {
  States states;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    World world({.seed = seed});
    SimDisk disk(world, "node");
    before(disk);
    disk.crash();
    ++states[after(disk)];
  }
  return states;
}

std::set<std::string> names(const States& states) {
  std::set<std::string> seen;
  for (const auto& [state, count] : states) seen.insert(state);
  return seen;
}

TEST(SimDiskCrash, WhatWasSyncedWithItsNameIsNeverLost) {
  const std::string text(3 * kPage + 17, 'x');
  const auto states = over_all_seeds([&](SimDisk& disk) { make_durable(disk, "/a", text); },
                                     [](SimDisk& disk) { return read_file(disk, "/a"); });
  EXPECT_EQ(names(states), (std::set<std::string>{text}));
}

TEST(SimDiskCrash, ASyncedOverwriteOfManyPagesIsNeverLost) {
  const std::string text(4 * kPage, 'n');
  const auto states = over_all_seeds(
      [&](SimDisk& disk) {
        make_durable(disk, "/a", std::string(4 * kPage, 'o'));
        EXPECT_TRUE(make_file(disk, "/a", text)->sync());
      },
      [](SimDisk& disk) { return read_file(disk, "/a"); });
  EXPECT_EQ(names(states), (std::set<std::string>{text}));
}

TEST(SimDiskCrash, ASyncedFileWithoutASyncedNameMayVanishButIsNeverHalf) {
  const auto states = over_all_seeds([](SimDisk& disk) { EXPECT_TRUE(make_file(disk, "/a", "text")->sync()); },
                                     [](SimDisk& disk) { return read_file(disk, "/a"); });
  EXPECT_EQ(names(states), (std::set<std::string>{"not_found", "text"}));
}

TEST(SimDiskCrash, UnsyncedBytesMayBeKeptLostTornOrCutShort) {
  const std::string text(4 * kPage, 'x');
  States kinds;
  for (const auto& [state, count] : over_all_seeds(
           [&](SimDisk& disk) {
             const auto file = make_file(disk, "/a", text);
             EXPECT_TRUE(disk.sync_directory("/"));
           },
           [](SimDisk& disk) { return read_file(disk, "/a"); })) {
    EXPECT_LE(state.size(), text.size());
    EXPECT_EQ(state.find_first_not_of(std::string("x\0", 2)), std::string::npos) << "only what was written, or zeros";
    if (state.empty()) kinds["empty"] += count;
    if (state == text) kinds["kept"] += count;
    if (!state.empty() && state.size() < text.size()) kinds["short"] += count;
    for (std::size_t page = 0; page + kPage <= state.size(); page += kPage) {
      const auto written = std::ranges::count(state.substr(page, kPage), 'x');
      if (written == 0) kinds["lost page"] += count;
      if (written > 0 && written < static_cast<std::ptrdiff_t>(kPage)) kinds["torn page"] += count;
      EXPECT_EQ(written % static_cast<std::ptrdiff_t>(kSector), 0) << "sectors are whole";
    }
  }
  EXPECT_EQ(names(kinds), (std::set<std::string>{"empty", "kept", "lost page", "short", "torn page"}));
}

TEST(SimDiskCrash, PagesThatWereNotTouchedSinceTheSyncStay) {
  const std::string old_text(3 * kPage, 'o');
  const auto states = over_all_seeds(
      [&](SimDisk& disk) {
        make_durable(disk, "/a", old_text);
        EXPECT_TRUE(disk.open("/a", OpenMode::write).value()->write(kPage, as_bytes("new")));
      },
      [](SimDisk& disk) { return read_file(disk, "/a"); });
  std::string new_text = old_text;
  new_text.replace(kPage, 3, "new");
  EXPECT_EQ(names(states), (std::set<std::string>{old_text, new_text}));
}

TEST(SimDiskCrash, AnUnsyncedRenameHappenedOrNotButNeverHalf) {
  const auto content = [](SimDisk& disk) { return read_file(disk, "/a") + "," + read_file(disk, "/b"); };
  const auto states = over_all_seeds(
      [](SimDisk& disk) {
        make_durable(disk, "/a", "new");
        make_durable(disk, "/b", "old");
        EXPECT_TRUE(disk.rename("/a", "/b"));
      },
      content);
  EXPECT_EQ(names(states), (std::set<std::string>{"new,old", "not_found,new"}));
}

TEST(SimDiskCrash, AnUnsyncedRenameBetweenDirectoriesIsInBothOrInNeither) {
  const auto states = over_all_seeds(
      [](SimDisk& disk) {
        EXPECT_TRUE(disk.make_directories("/from"));
        EXPECT_TRUE(disk.make_directories("/to"));
        make_durable(disk, "/from/a", "text");
        EXPECT_TRUE(disk.rename("/from/a", "/to/a"));
      },
      [](SimDisk& disk) { return read_file(disk, "/from/a") + "," + read_file(disk, "/to/a"); });
  EXPECT_EQ(names(states), (std::set<std::string>{"not_found,text", "text,not_found"}));
}

TEST(SimDiskCrash, SyncingTheTargetDirectoryMakesARenameDurable) {
  const auto states = over_all_seeds(
      [](SimDisk& disk) {
        EXPECT_TRUE(disk.make_directories("/from"));
        EXPECT_TRUE(disk.make_directories("/to"));
        EXPECT_TRUE(make_file(disk, "/from/a", "text")->sync());
        EXPECT_TRUE(disk.rename("/from/a", "/to/a"));
        EXPECT_TRUE(disk.sync_directory("/to"));
      },
      [](SimDisk& disk) { return read_file(disk, "/from/a") + "," + read_file(disk, "/to/a"); });
  EXPECT_EQ(names(states), (std::set<std::string>{"not_found,text"}));
}

TEST(SimDiskCrash, SyncingOneDirectoryKeepsNothingOfAnother) {
  const auto states = over_all_seeds(
      [](SimDisk& disk) {
        EXPECT_TRUE(disk.make_directories("/one"));
        EXPECT_TRUE(disk.make_directories("/two"));
        EXPECT_TRUE(make_file(disk, "/one/a", "text")->sync());
        EXPECT_TRUE(make_file(disk, "/two/a", "text")->sync());
        EXPECT_TRUE(disk.sync_directory("/two"));
      },
      [](SimDisk& disk) { return read_file(disk, "/one/a") + "," + read_file(disk, "/two/a"); });
  EXPECT_EQ(names(states), (std::set<std::string>{"not_found,text", "text,text"}));
}

TEST(SimDiskCrash, ADirectoryKeepsABeginningOfItsHistory) {
  const auto states = over_all_seeds(
      [](SimDisk& disk) {
        for (const char* name : {"/a", "/b", "/c"}) make_file(disk, name, "");
        EXPECT_TRUE(disk.remove("/a"));
      },
      [](SimDisk& disk) {
        std::string seen;
        for (const auto& entry : disk.list("/").value()) seen += entry.name;
        return seen;
      });
  EXPECT_EQ(names(states), (std::set<std::string>{"", "a", "ab", "abc", "bc"}));
}

TEST(SimDiskCrash, AnUnsyncedRemoveMayBringTheFileBack) {
  const auto states = over_all_seeds(
      [](SimDisk& disk) {
        make_durable(disk, "/a", "text");
        EXPECT_TRUE(disk.link("/a", "/b"));
        EXPECT_TRUE(disk.sync_directory("/"));
        EXPECT_TRUE(disk.remove("/a"));
      },
      [](SimDisk& disk) {
        return read_file(disk, "/a") + " " + read_file(disk, "/b") + std::to_string(disk.info("/b").value().links);
      });
  EXPECT_EQ(names(states), (std::set<std::string>{"not_found text1", "text text2"}));
}

TEST(SimDiskCrash, MadeDirectoriesAreDurable) {
  const auto states = over_all_seeds([](SimDisk& disk) { EXPECT_TRUE(disk.make_directories("/x/y/z")); },
                                     [](SimDisk& disk) { return disk.info("/x/y/z") ? "there" : "gone"; });
  EXPECT_EQ(names(states), (std::set<std::string>{"there"}));
}

TEST(SimDiskCrash, AfterAFailedSyncALaterOneProvesNothing) {
  const std::string text(2 * kPage, 'x');
  const auto states = over_all_seeds(
      [&](SimDisk& disk) {
        const auto file = make_file(disk, "/a", text);
        EXPECT_TRUE(disk.sync_directory("/"));
        disk.fail({.call = Call::sync});
        const auto failed = file->sync();
        ASSERT_FALSE(failed);
        EXPECT_EQ(failed.error().code, ErrorCode::io);
        EXPECT_TRUE(file->sync()) << "the trap: it says yes";
        EXPECT_EQ(read_file(disk, "/a"), text) << "and reads agree, until the crash";
      },
      [&](SimDisk& disk) { return read_file(disk, "/a") == text ? "whole" : "damaged"; });
  EXPECT_EQ(names(states), (std::set<std::string>{"damaged", "whole"}));
}

// But what is written once more and synced then is safe: also where the failed sync forgot the length.
TEST(SimDiskCrash, AfterAFailedSyncBytesWrittenAgainAndSyncedAreDurable) {
  const std::string text(3 * kPage, 'x');
  const auto states = over_all_seeds(
      [&](SimDisk& disk) {
        const auto file = make_file(disk, "/a", text);
        EXPECT_TRUE(disk.sync_directory("/"));
        disk.fail({.call = Call::sync});
        EXPECT_FALSE(file->sync());
        EXPECT_TRUE(file->write(0, as_bytes(text)));
        EXPECT_TRUE(file->sync());
      },
      [&](SimDisk& disk) { return read_file(disk, "/a") == text ? "whole" : "damaged"; });
  EXPECT_EQ(names(states), (std::set<std::string>{"whole"}));
}

TEST(SimDiskCrash, OpenFilesAndLocksDieWithTheirLife) {
  World world;
  SimDisk disk(world, "node");
  const auto file = make_file(disk, "/a", "text");
  EXPECT_TRUE(file->sync());
  auto lock = disk.lock("/").value();
  disk.crash();
  std::array<std::byte, 4> out{};
  EXPECT_EQ(file->read(0, out).error().code, ErrorCode::io);
  EXPECT_EQ(file->write(0, as_bytes("late")).error().code, ErrorCode::io);
  EXPECT_EQ(file->sync().error().code, ErrorCode::io);
  EXPECT_EQ(file->truncate(0).error().code, ErrorCode::io);
  EXPECT_EQ(file->size().error().code, ErrorCode::io);
  const auto fresh = disk.lock("/");
  EXPECT_TRUE(fresh) << "the new life takes the lock";
  lock.reset();
  EXPECT_FALSE(disk.lock("/")) << "the dead lock's end does not free the new one";
}

TEST(SimDiskCrash, WhileItIsOffEveryCallFails) {
  World world;
  SimDisk disk(world, "node");
  make_durable(disk, "/a", "text");
  disk.stop(Loss::unsynced);
  EXPECT_EQ(disk.open("/a", OpenMode::read).error().code, ErrorCode::io);
  EXPECT_EQ(disk.remove("/a").error().code, ErrorCode::io);
  disk.start();
  EXPECT_EQ(read_file(disk, "/a"), "text");
}

TEST(SimDiskCrash, AKilledProcessLosesItsFilesButNoBytes) {
  World world;
  SimDisk disk(world, "node");
  const auto file = make_file(disk, "/a", "unsynced");
  disk.stop(Loss::nothing);
  disk.start();
  EXPECT_EQ(read_file(disk, "/a"), "unsynced");
  EXPECT_FALSE(file->size());
}

TEST(SimDiskFaults, TheNthCallOfAKindFailsAndOnlyThat) {
  World world;
  SimDisk disk(world, "node");
  const auto file = make_file(disk, "/a", "text");
  disk.fail({.call = Call::sync, .nth = 2});
  EXPECT_TRUE(file->sync());
  EXPECT_TRUE(file->write(0, as_bytes("x")));
  EXPECT_FALSE(file->sync());
  EXPECT_TRUE(file->sync());
  disk.fail({.nth = 2, .code = ErrorCode::out_of_space, .for_ever = true});
  EXPECT_TRUE(file->size());
  EXPECT_EQ(file->size().error().code, ErrorCode::out_of_space);
  EXPECT_FALSE(disk.info("/a"));
  disk.clear_faults();
  EXPECT_TRUE(disk.info("/a"));
  EXPECT_EQ(disk.calls(Call::sync), 3U);
}

TEST(SimDiskFaults, AFailedWriteLeavesAPart) {
  std::set<std::size_t> sizes;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    World world({.seed = seed});
    SimDisk disk(world, "node");
    const auto file = make_file(disk, "/a", "");
    disk.fail({.call = Call::write});
    EXPECT_FALSE(file->write(0, as_bytes("0123456789")));
    sizes.insert(file->size().value());
  }
  EXPECT_TRUE(sizes.contains(0));
  EXPECT_TRUE(sizes.contains(10));
  EXPECT_GT(sizes.size(), 5U);
}

TEST(SimDiskFaults, AFullDiskRefusesGrowthAndNothingElse) {
  World world;
  SimDisk disk(world, "node");
  disk.set_capacity(100);
  const auto file = make_file(disk, "/a", std::string(80, 'a'));
  EXPECT_EQ(disk.space("/").value().available, 20U);
  const auto full = file->write(80, as_bytes(std::string(21, 'b')));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::out_of_space);
  EXPECT_EQ(file->truncate(101).error().code, ErrorCode::out_of_space);
  EXPECT_TRUE(file->write(0, as_bytes(std::string(80, 'c')))) << "overwriting needs no room";
  EXPECT_TRUE(file->truncate(10));
  EXPECT_TRUE(file->write(10, as_bytes(std::string(90, 'd'))));
  EXPECT_EQ(disk.space("/").value().available, 0U);
}

TEST(SimDiskFaults, AFlippedBitStaysFlipped) {
  World world;
  SimDisk disk(world, "node");
  make_durable(disk, "/a", "text");
  disk.flip("/a", 1);
  EXPECT_EQ(read_file(disk, "/a"), "tdxt");
  disk.crash();
  EXPECT_EQ(read_file(disk, "/a"), "tdxt");
}

TEST(SimDiskFaults, WhatIsOnItIsSeenAlsoWhileTheMachineIsOff) {
  World world;
  SimDisk disk(world, "node");
  make_durable(disk, "/a", "text");
  const auto calls = disk.calls(Call::any);
  disk.stop(Loss::unsynced);
  EXPECT_FALSE(disk.info("/a"));
  EXPECT_TRUE(disk.has("/a"));
  EXPECT_FALSE(disk.has("/b"));
  disk.start();
  EXPECT_EQ(disk.calls(Call::any), calls);
}

io::Task<int> stat_in_pool(SimDisk* disk) {
  auto work = [disk] { return disk->info("/") ? 1 : 0; };
  co_return co_await io::blocking(io::Pool::disk, work);
}

TEST(SimDiskFaults, ASlowDiskTakesVirtualTime) {
  World world({.max_blocking_delay = 0ms});
  SimExecutor executor(world, "node");
  SimDisk disk(world, "node");
  EXPECT_EQ(run(world, executor, stat_in_pool(&disk)), 1);
  EXPECT_EQ(world.now(), 0ms);
  disk.set_delay(10ms, 20ms);
  EXPECT_EQ(run(world, executor, stat_in_pool(&disk)), 1);
  EXPECT_GE(world.now(), 10ms);
  EXPECT_LE(world.now(), 20ms);
}

io::Task<void> stat_on_loop(SimDisk* disk) {
  EXPECT_TRUE(disk->info("/"));
  co_return;
}

TEST(SimDiskFaults, ACallOnAnEventLoopIsFoundOut) {
  World world;
  SimExecutor executor(world, "node");
  SimDisk disk(world, "node");
  disk.forbid_on_loop();
  EXPECT_EQ(run(world, executor, stat_in_pool(&disk)), 1);
  EXPECT_DEATH(run(world, executor, stat_on_loop(&disk)), "event loop");
}

TEST(SimDiskCrash, ADiskThatIsSetBackHasWhatWasDurableThen) {
  World world;
  SimDisk disk(world, "node");
  make_durable(disk, "/kept", "old");
  const auto unsynced = make_file(disk, "/unsynced", "text");
  auto image = disk.image();
  make_durable(disk, "/kept", "new");
  make_durable(disk, "/later", "text");
  disk.stop(Loss::nothing);
  disk.set_back(std::move(image));
  disk.start();
  EXPECT_EQ(read_file(disk, "/kept"), "old");
  EXPECT_EQ(read_file(disk, "/unsynced"), "not_found");
  EXPECT_EQ(read_file(disk, "/later"), "not_found");
  make_durable(disk, "/later", "again");
  disk.crash();
  EXPECT_EQ(read_file(disk, "/later"), "again");
}

TEST(SimDiskCrash, ADiskThatIsSetBackToNothingIsANewOne) {
  World world;
  SimDisk disk(world, "node");
  make_durable(disk, "/file", "text");
  disk.stop(Loss::nothing);
  disk.set_back(nullptr);
  disk.start();
  EXPECT_EQ(read_file(disk, "/file"), "not_found");
  EXPECT_EQ(disk.space("/").value().available, disk.space("/").value().total);
}

}  // namespace
}  // namespace hansa::sim
