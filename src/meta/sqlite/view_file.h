// ViewFile: the file of a replica and its readers. It is only a copy of what lives elsewhere, so a damaged one is put
// aside and begun anew, as soon as nobody reads it. Private to this room.
//
// Thread rule: open() and put_aside() from the replica's writing thread; the rest from any.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "base/log.h"
#include "meta/sqlite/database_impl.h"

namespace hansa::meta::sqlite {

class ViewFile {
 public:
  ViewFile(io::Disk& disk, io::Clock& clock, Logger& log, DatabaseOptions options);

  // Before the first connection. True: the last process did not close it.
  Result<bool> open();
  Result<std::unique_ptr<RealConnection>> connect(RealConnection::Role role);
  Result<std::unique_ptr<ReadTransaction>> read();
  Result<void> copy_to(const std::string& path);

  // A read met damage; or note it, where a write did.
  bool damaged() const { return damaged_; }
  void note_damage() { damaged_ = true; }
  // Renames the file to <path>.damaged and begins an empty one. The caller has closed its connection. unavailable:
  // somebody reads it still; try again.
  Result<void> put_aside();
  // Readers are refused until the new file has what the old one had.
  void set_whole() { whole_ = true; }
  bool whole() const { return whole_; }
  const std::string& path() const { return options_.path; }

 private:
  struct Opened;
  class Transaction;
  std::shared_ptr<Opened> opened();

  io::Disk& disk_;
  io::Clock& clock_;
  Logger& log_;
  const DatabaseOptions options_;
  std::atomic<bool> damaged_ = false;
  std::atomic<bool> whole_ = true;
  std::mutex mutex_;
  std::shared_ptr<Opened> opened_;  // shared with every reader
};

}  // namespace hansa::meta::sqlite
