// The promises of io/disk.h that hold while nothing crashes, kept by the real disk and the simulated one.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <array>
#include <thread>
#include <vector>

#include "sim/ports/contract_rigs_test.h"

namespace hansa::sim {
namespace {

using io::OpenMode;

template <class Rig>
class DiskContract : public testing::Test {
 protected:
  std::string path(std::string_view name) const { return rig.folder() + "/" + std::string(name); }
  io::Disk& disk() { return rig.disk(); }

  void write_file(std::string_view name, std::string_view text) {
    auto file = disk().open(path(name), OpenMode::create);
    ASSERT_TRUE(file) << describe(file.error());
    ASSERT_TRUE((*file)->truncate(0));
    ASSERT_TRUE((*file)->write(0, as_bytes(text)));
  }
  // The file's text, or the name of the error.
  std::string read_file(std::string_view name) {
    auto file = disk().open(path(name), OpenMode::read);
    if (!file) return std::string(to_string(file.error().code));
    return text_of(**file);
  }
  static std::string text_of(io::File& file) {
    std::string text(10'000, '?');
    const auto count = file.read(0, std::as_writable_bytes(std::span(text)));
    if (!count) return std::string(to_string(count.error().code));
    text.resize(*count);
    return text;
  }
  template <class T>
  static std::string outcome(const Result<T>& result) {
    return result ? "ok" : std::string(to_string(result.error().code));
  }

  Rig rig;
};
using Rigs = testing::Types<RealRig, SimRig>;
TYPED_TEST_SUITE(DiskContract, Rigs);

TYPED_TEST(DiskContract, OpenModesDifferOnlyInWhatMustExist) {
  EXPECT_EQ(this->outcome(this->disk().open(this->path("a"), OpenMode::read)), "not_found");
  EXPECT_EQ(this->outcome(this->disk().open(this->path("a"), OpenMode::write)), "not_found");
  EXPECT_EQ(this->outcome(this->disk().open(this->path("a"), OpenMode::create_new)), "ok");
  EXPECT_EQ(this->outcome(this->disk().open(this->path("a"), OpenMode::create_new)), "exists");
  EXPECT_EQ(this->outcome(this->disk().open(this->path("a"), OpenMode::create)), "ok");
  EXPECT_EQ(this->outcome(this->disk().open(this->path("a"), OpenMode::write)), "ok");
  EXPECT_EQ(this->outcome(this->disk().open(this->path("b"), OpenMode::create)), "ok");
  EXPECT_EQ(this->outcome(this->disk().open(this->path("no/such/folder"), OpenMode::create)), "not_found");
  EXPECT_EQ(this->outcome(this->disk().open(this->path("a/b"), OpenMode::create)), "io");
}

TYPED_TEST(DiskContract, ADirectoryIsNoFileToOpen) {
  for (const auto mode : {OpenMode::read, OpenMode::write, OpenMode::create}) {
    EXPECT_EQ(this->outcome(this->disk().open(this->rig.folder(), mode)), "io");
  }
  EXPECT_EQ(this->outcome(this->disk().open(this->rig.folder(), OpenMode::create_new)), "exists");
}

TYPED_TEST(DiskContract, APrivateFileIsItsOwnersAlone) {
  constexpr mode_t others = 077;
  this->write_file("known", "kept");
  for (const char* name : {"made", "known"}) {
    auto file = this->disk().open(this->path(name), OpenMode::create_private);
    ASSERT_TRUE(file) << describe(file.error());
    struct stat info{};
    if ((*file)->descriptor() < 0) continue;  // simulated files have no mode
    ASSERT_EQ(::fstat((*file)->descriptor(), &info), 0);
    EXPECT_EQ(info.st_mode & others, 0U) << name;
  }
  EXPECT_EQ(this->read_file("known"), "kept");
}

TYPED_TEST(DiskContract, ErrorsNameThePath) {
  const auto missing = this->disk().open(this->path("missing"), OpenMode::read);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find(this->path("missing")), std::string::npos) << missing.error().message;
}

TYPED_TEST(DiskContract, CreateKeepsWhatIsThere) {
  this->write_file("a", "old");
  ASSERT_TRUE(this->disk().open(this->path("a"), OpenMode::create));
  EXPECT_EQ(this->read_file("a"), "old");
}

TYPED_TEST(DiskContract, ReadsAndWritesGoToTheirOffset) {
  auto file = this->disk().open(this->path("a"), OpenMode::create_new).value();
  ASSERT_TRUE(file->write(0, as_bytes("hello world")));
  ASSERT_TRUE(file->write(6, as_bytes("there")));
  std::array<std::byte, 5> out{};
  EXPECT_EQ(file->read(6, out).value(), 5U);
  EXPECT_EQ(as_text(out), "there");
  EXPECT_EQ(file->read(9, out).value(), 2U) << "fewer at the end";
  EXPECT_EQ(file->read(11, out).value(), 0U);
  EXPECT_EQ(file->read(1000, out).value(), 0U);
  EXPECT_EQ(file->read(0, {}).value(), 0U);
}

TYPED_TEST(DiskContract, AGapReadsAsZeros) {
  auto file = this->disk().open(this->path("a"), OpenMode::create_new).value();
  ASSERT_TRUE(file->write(5000, as_bytes("x")));
  EXPECT_EQ(file->size().value(), 5001U);
  EXPECT_EQ(this->text_of(*file), std::string(5000, '\0') + "x");
}

TYPED_TEST(DiskContract, TruncateCutsAndExtendsWithZeros) {
  auto file = this->disk().open(this->path("a"), OpenMode::create_new).value();
  ASSERT_TRUE(file->write(0, as_bytes("hello")));
  ASSERT_TRUE(file->truncate(2));
  ASSERT_TRUE(file->truncate(4));
  EXPECT_EQ(this->text_of(*file), std::string("he\0\0", 4));
  EXPECT_EQ(file->size().value(), 4U);
}

TYPED_TEST(DiskContract, AFileOpenedForReadingCannotBeChanged) {
  this->write_file("a", "old");
  auto file = this->disk().open(this->path("a"), OpenMode::read).value();
  EXPECT_FALSE(file->write(0, as_bytes("new")));
  EXPECT_FALSE(file->truncate(0));
  EXPECT_EQ(this->read_file("a"), "old");
}

TYPED_TEST(DiskContract, EverybodySeesAWriteAtOnceAndSyncsSucceed) {
  auto writer = this->disk().open(this->path("a"), OpenMode::create_new).value();
  auto reader = this->disk().open(this->path("a"), OpenMode::read).value();
  ASSERT_TRUE(writer->write(0, as_bytes("text")));
  EXPECT_EQ(this->text_of(*reader), "text");
  writer->start_writeback(0, 4);
  EXPECT_TRUE(writer->sync());
  EXPECT_TRUE(writer->sync());
  EXPECT_TRUE(this->disk().sync_directory(this->rig.folder()));
  EXPECT_EQ(this->outcome(this->disk().sync_directory(this->path("missing"))), "not_found");
  EXPECT_EQ(this->outcome(this->disk().sync_directory(this->path("a"))), "io");
}

TYPED_TEST(DiskContract, RenameReplacesAndMovesAcrossDirectories) {
  this->write_file("a", "from a");
  this->write_file("b", "from b");
  ASSERT_TRUE(this->disk().rename(this->path("a"), this->path("b")));
  EXPECT_EQ(this->read_file("a"), "not_found");
  EXPECT_EQ(this->read_file("b"), "from a");
  ASSERT_TRUE(this->disk().make_directories(this->path("d")));
  ASSERT_TRUE(this->disk().rename(this->path("b"), this->path("d/c")));
  EXPECT_EQ(this->read_file("d/c"), "from a");
  EXPECT_EQ(this->outcome(this->disk().rename(this->path("missing"), this->path("x"))), "not_found");
  EXPECT_EQ(this->outcome(this->disk().rename(this->path("d/c"), this->path("no/x"))), "not_found");
}

TYPED_TEST(DiskContract, RenameRefusesToMixFilesAndDirectories) {
  this->write_file("a", "a");
  ASSERT_TRUE(this->disk().make_directories(this->path("d/sub")));
  ASSERT_TRUE(this->disk().make_directories(this->path("e")));
  EXPECT_EQ(this->outcome(this->disk().rename(this->path("a"), this->path("d"))), "io");
  EXPECT_EQ(this->outcome(this->disk().rename(this->path("d"), this->path("a"))), "io");
  EXPECT_EQ(this->outcome(this->disk().rename(this->path("d"), this->path("d/sub/x"))), "io");
  EXPECT_NE(this->outcome(this->disk().rename(this->path("e"), this->path("d"))), "ok") << "d is not empty";
  EXPECT_EQ(this->outcome(this->disk().rename(this->path("d"), this->path("e"))), "ok") << "e is empty";
  EXPECT_EQ(this->disk().info(this->path("e/sub")).value().directory, true);
}

TYPED_TEST(DiskContract, AnOpenFileSurvivesItsNames) {
  this->write_file("a", "text");
  auto file = this->disk().open(this->path("a"), OpenMode::write).value();
  ASSERT_TRUE(this->disk().rename(this->path("a"), this->path("b")));
  ASSERT_TRUE(file->write(0, as_bytes("TEXT")));
  EXPECT_EQ(this->read_file("b"), "TEXT");
  ASSERT_TRUE(this->disk().remove(this->path("b")));
  EXPECT_EQ(this->text_of(*file), "TEXT");
}

TYPED_TEST(DiskContract, ALinkIsASecondNameOfTheSameFile) {
  this->write_file("a", "text");
  ASSERT_TRUE(this->disk().link(this->path("a"), this->path("b")));
  EXPECT_EQ(this->disk().info(this->path("a")).value().links, 2U);
  EXPECT_EQ(this->outcome(this->disk().link(this->path("a"), this->path("b"))), "exists");
  EXPECT_EQ(this->outcome(this->disk().link(this->path("missing"), this->path("c"))), "not_found");
  EXPECT_EQ(this->outcome(this->disk().link(this->rig.folder(), this->path("c"))), "io");
  // Renaming one name onto the other of the same file changes nothing, as POSIX has it.
  ASSERT_TRUE(this->disk().rename(this->path("a"), this->path("b")));
  EXPECT_EQ(this->disk().info(this->path("a")).value().links, 2U);
  ASSERT_TRUE(this->disk().remove(this->path("a")));
  EXPECT_EQ(this->read_file("b"), "text");
  EXPECT_EQ(this->disk().info(this->path("b")).value().links, 1U);
}

TYPED_TEST(DiskContract, RemoveTakesFilesAndEmptyDirectoriesOnly) {
  this->write_file("a", "text");
  ASSERT_TRUE(this->disk().make_directories(this->path("d/e")));
  EXPECT_EQ(this->outcome(this->disk().remove(this->path("d"))), "io");
  EXPECT_EQ(this->outcome(this->disk().remove(this->path("d/e"))), "ok");
  EXPECT_EQ(this->outcome(this->disk().remove(this->path("d"))), "ok");
  EXPECT_EQ(this->outcome(this->disk().remove(this->path("a"))), "ok");
  EXPECT_EQ(this->outcome(this->disk().remove(this->path("a"))), "not_found");
}

TYPED_TEST(DiskContract, MakeDirectoriesMakesParentsAndAcceptsWhatExists) {
  EXPECT_EQ(this->outcome(this->disk().make_directories(this->path("x/y/z"))), "ok");
  EXPECT_EQ(this->outcome(this->disk().make_directories(this->path("x/y/z"))), "ok");
  EXPECT_EQ(this->outcome(this->disk().make_directories(this->path("x/y/w/"))), "ok");
  EXPECT_TRUE(this->disk().info(this->path("x/y/w")).value().directory);
  this->write_file("f", "");
  EXPECT_EQ(this->outcome(this->disk().make_directories(this->path("f"))), "io");
  EXPECT_EQ(this->outcome(this->disk().make_directories(this->path("f/g"))), "io");
}

TYPED_TEST(DiskContract, ListIsSortedAndTellsDirectories) {
  for (const char* name : {"b", "a", "c", ".hidden", "B"}) this->write_file(name, "");
  ASSERT_TRUE(this->disk().make_directories(this->path("aa")));
  std::string seen;
  for (const auto& entry : this->disk().list(this->rig.folder()).value()) {
    seen += entry.name + (entry.directory ? "/ " : " ");
  }
  EXPECT_EQ(seen, ".hidden B a aa/ b c ");
  EXPECT_EQ(this->outcome(this->disk().list(this->path("missing"))), "not_found");
  EXPECT_EQ(this->outcome(this->disk().list(this->path("a"))), "io");
}

TYPED_TEST(DiskContract, InfoTellsKindSizeAndLinks) {
  this->write_file("a", "12345");
  const auto file = this->disk().info(this->path("a")).value();
  EXPECT_FALSE(file.directory);
  EXPECT_EQ(file.size, 5U);
  EXPECT_EQ(file.links, 1U);
  EXPECT_TRUE(this->disk().info(this->rig.folder()).value().directory);
  EXPECT_EQ(this->outcome(this->disk().info(this->path("missing"))), "not_found");
}

TYPED_TEST(DiskContract, SpaceIsPlausible) {
  const auto space = this->disk().space(this->rig.folder()).value();
  EXPECT_GT(space.total, 0U);
  EXPECT_LE(space.available, space.total);
  EXPECT_EQ(this->outcome(this->disk().space(this->path("missing"))), "not_found");
}

TYPED_TEST(DiskContract, ALockIsHeldByOneUntilItIsDropped) {
  auto lock = this->disk().lock(this->rig.folder());
  ASSERT_TRUE(lock) << describe(lock.error());
  const auto second = this->disk().lock(this->rig.folder());
  ASSERT_EQ(this->outcome(second), "conflict");
  const std::string pid = this->read_file(".lock");
  ASSERT_FALSE(pid.empty());
  EXPECT_NE(second.error().message.find("process " + pid), std::string::npos) << second.error().message;
  EXPECT_NE(second.error().message.find(this->rig.folder()), std::string::npos) << second.error().message;
  lock->reset();
  EXPECT_EQ(this->outcome(this->disk().lock(this->rig.folder())), "ok");
  EXPECT_EQ(this->outcome(this->disk().lock(this->path("missing"))), "not_found");
}

TYPED_TEST(DiskContract, ANameTooLongIsAnErrorAndNotACrash) {
  const std::string name(300, 'n');
  EXPECT_EQ(this->outcome(this->disk().open(this->path(name), OpenMode::create)), "io");
  EXPECT_EQ(this->outcome(this->disk().make_directories(this->path(name))), "io");
}

TYPED_TEST(DiskContract, ThreadsMayShareADiskAndAFile) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kBlock = 1000;
  auto file = this->disk().open(this->path("shared"), OpenMode::create_new).value();
  std::vector<std::string> errors(kThreads);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, &file, &error = errors[t]] {
        const std::string text(kBlock, static_cast<char>('a' + t));
        for (std::size_t i = 0; i < 20; ++i) {
          if (auto done = file->write((i * kThreads + t) * kBlock, as_bytes(text)); !done)
            error = describe(done.error());
          const std::string folder = this->path("deep/" + std::to_string(i));
          if (auto done = this->disk().make_directories(folder); !done) error = describe(done.error());
        }
      });
    }
  }
  for (const auto& error : errors) EXPECT_EQ(error, "");
  std::string out(kThreads * kBlock, '?');
  ASSERT_EQ(file->read(19 * kThreads * kBlock, std::as_writable_bytes(std::span(out))).value(), out.size());
  for (std::size_t t = 0; t < kThreads; ++t) {
    EXPECT_EQ(out.substr(t * kBlock, kBlock), std::string(kBlock, static_cast<char>('a' + t)));
  }
}

}  // namespace
}  // namespace hansa::sim
