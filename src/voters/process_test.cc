#include "voters/process.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "sim/ports/contract_rigs_test.h"

namespace hansa::voters {
namespace {

const std::string panic =
    "panic: tocommit(3484) is out of range [lastIndex(3409)]. Was the raft log corrupted, truncated, or lost?\n"
    "\ngoroutine 63 [running]:\ngo.etcd.io/etcd/raft.(*node).run(0xc0001)\n";

// As etcd 3.4.23 and 3.6.9 say it.
TEST(EtcdLog, TellsOfEntriesThatAVoterAcknowledgedAndHasNoMore) {
  const std::string line = R"({"level":"panic","msg":"tocommit(3484) is out of range [lastIndex(3409)]."})";
  EXPECT_TRUE(tells_of_forgotten_entries(line + "\n" + panic));
  EXPECT_FALSE(tells_of_forgotten_entries(""));
  EXPECT_FALSE(tells_of_forgotten_entries(R"({"level":"fatal","msg":"no space left on device"})"));
  EXPECT_FALSE(tells_of_forgotten_entries("panic: slice bounds out of range [lastIndex(1)]"));
  EXPECT_FALSE(tells_of_forgotten_entries("panic: tocommit(3484)\nis out of range [lastIndex(3409)]"));
}

// A later one ended for another reason, or by a kill.
TEST(EtcdLog, OfAnEarlierEtcdThanTheLastSaysNothing) {
  EXPECT_FALSE(tells_of_forgotten_entries(panic + R"({"level":"info","msg":"started"})" + "\n"));
  EXPECT_TRUE(tells_of_forgotten_entries(panic + R"({"level":"info","msg":"started"})" + "\n" + panic));
}

// A disk on which some paths cannot be written.
class PickyDisk final : public io::Disk {
 public:
  explicit PickyDisk(io::Disk& below) : below_(below) {}
  std::string refused_target;  // renames to it fail; empty: none

  Result<std::unique_ptr<io::File>> open(const std::string& path, io::OpenMode mode) override {
    return below_.open(path, mode);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (!refused_target.empty() && to.ends_with(refused_target)) return errno_error(ENOSPC, to);
    return below_.rename(from, to);
  }
  Result<void> link(const std::string& from, const std::string& to) override { return below_.link(from, to); }
  Result<void> remove(const std::string& path) override { return below_.remove(path); }
  Result<void> make_directories(const std::string& path) override { return below_.make_directories(path); }
  Result<void> sync_directory(const std::string& path) override { return below_.sync_directory(path); }
  Result<std::vector<io::DirectoryEntry>> list(const std::string& path) override { return below_.list(path); }
  Result<io::FileInfo> info(const std::string& path) override { return below_.info(path); }
  Result<io::DiskSpace> space(const std::string& path) override { return below_.space(path); }
  Result<std::unique_ptr<io::DirectoryLock>> lock(const std::string& path) override { return below_.lock(path); }

 private:
  io::Disk& below_;
};

// With a program in etcd's place that says its version and then sleeps.
class EtcdProcessTest : public ::testing::Test {
 protected:
  EtcdProcessTest() {
    std::ofstream(folder_ + "/etcd") << "#!/bin/sh\n[ \"$1\" = --version ] && echo 'etcd Version: 3.4.23' && exit\n"
                                        "exec sleep 60\n";
    ::chmod((folder_ + "/etcd").c_str(), 0700);
    EtcdSettings settings;
    settings.binary = folder_ + "/etcd";
    settings.data_dir = folder_ + "/data";
    settings.name = "n1";
    settings.host = "localhost";
    etcd_.emplace(disk_, rig_.clock(), settings);
    EXPECT_TRUE(disk_.make_directories(settings.data_dir + "/member/member/snap"));
  }

  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ + "/data/" + name) << text; }
  std::string read(const std::string& name) {
    std::ifstream file(folder_ + "/data/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  sim::RealRig rig_;
  const std::string folder_ = rig_.folder();
  PickyDisk disk_{rig_.disk()};
  std::optional<EtcdProcess> etcd_;
};

TEST_F(EtcdProcessTest, OneWhoseProcessIdCannotBeKeptIsStoppedAgain) {
  disk_.refused_target = "etcd.pid";
  const auto started = etcd_->start(EtcdStart::founding, "n1=https://localhost:5380");
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::out_of_space);
  EXPECT_NE(started.error().message.find("its process id was not kept"), std::string::npos) << started.error().message;
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
  EXPECT_EQ(errno, ECHILD);
}

// etcd makes them before it asks the others: one whose first start broke off there has not taken part. Started on them
// as on data, it would found a cluster of its own.
TEST_F(EtcdProcessTest, WhatABrokenOffFirstStartLeftIsNoData) {
  EXPECT_FALSE(etcd_->has_data().value());
  write("member/member/snap/db", "db");
  EXPECT_FALSE(etcd_->has_data().value());
  write("member/member/wal", "wal");
  EXPECT_TRUE(etcd_->has_data().value());
}

TEST(EtcdArguments, OnlyAFounderMayFoundACluster) {
  const auto state_of = [](EtcdStart start) {
    const auto words = etcd_arguments({}, start, "n1=https://a:1", 4);
    const auto found =
        std::ranges::find_if(words, [](const auto& word) { return word.starts_with("--initial-cluster-state="); });
    return found == words.end() ? std::string() : found->substr(found->find('=') + 1);
  };
  EXPECT_EQ(state_of(EtcdStart::founding), "new");
  EXPECT_EQ(state_of(EtcdStart::joining), "existing");
  EXPECT_EQ(state_of(EtcdStart::again), "existing");
}

// Were it left beside the data that come next, it would be believed of them.
TEST_F(EtcdProcessTest, DataAreNotPutAsideWithoutTheLogThatTellsOfThem) {
  write("member/member/wal", "wal");
  write("etcd.log", panic);
  EXPECT_TRUE(etcd_->forgot_entries());
  disk_.refused_target = ".log";
  EXPECT_FALSE(etcd_->put_data_aside());
  EXPECT_EQ(read("member/member/wal"), "wal");
  EXPECT_TRUE(etcd_->forgot_entries());
  disk_.refused_target.clear();
  EXPECT_TRUE(etcd_->put_data_aside());
  EXPECT_EQ(read("member.old-1/member/wal"), "wal");
  EXPECT_EQ(read("member.old-1.log"), panic);
  EXPECT_FALSE(etcd_->forgot_entries());
  EXPECT_FALSE(etcd_->has_data().value());
}

}  // namespace
}  // namespace hansa::voters
