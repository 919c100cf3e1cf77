// LogCheck: whether a write-ahead log that the last process left lacks transactions that were acknowledged.
//
// SQLite ends the log at the first frame whose checksum does not fit: it takes that for the end of what the process
// wrote before power failed. It may as well be a flipped bit among commits that were synced. The two can be told apart:
// with synchronous=FULL a commit is synced before the next transaction writes anything. So where a commit frame and a
// frame that was written after it follow on the misfit, what lies before them was durable, and is damaged.
//
// Frames follow on each other by their checksums, each of which begins with the one before, as it is stored; salts are
// those of the log's header (the file format: https://sqlite.org/fileformat2.html, "The Write-Ahead Log").
//
// Where the log's header does not fit, SQLite reads nothing of the log. That loses nothing if all of it was copied
// into the database before: so it is when a new header was being written, to begin the log anew, and was cut.
// The pages of the log are therefore compared with those of the database. Such a log must be emptied before SQLite
// writes to it: it would keep the header's salts, and the old frames behind the new ones would look like damage later.
//
// A log that is cut off to nothing is marked first (empty_log): a power cut amidst the truncation may leave any part of
// a file, and the log's beginning without its end would put older pages over newer ones that the database has already.
//
// Not told apart: damage to the last transaction alone, which looks like one that power failure tore.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "io/disk.h"

namespace hansa::meta::sqlite {

enum class LogUse : std::uint8_t {
  read,   // by SQLite, as far as it fits
  empty,  // nothing of it is needed
};

// corrupt, with what to do, if acknowledged transactions cannot be read. `path`: of the log. Reads only; blocks.
// REQUIRES: a log of this room's pages (vfs.h), of a database with synchronous=FULL.
Result<LogUse> check_log(io::File& log, io::File& database, const std::string& path);

// Cuts the log off to nothing, in two durable steps: its header becomes a mark that check_log() takes for `empty` and
// SQLite for no log, then the file is truncated. The truncation itself is not synced. Blocks.
// REQUIRES: all of it is in the database, durably.
Result<void> empty_log(io::File& log);

}  // namespace hansa::meta::sqlite
