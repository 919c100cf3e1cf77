// The real Disk (see io/disk.h): POSIX calls, fdatasync for File::sync(), fsync of the folder for sync_directory().
//
// Directories are made with mode 0750 and files with 0640, less the umask. Symbolic links are followed. The lock is
// flock() on `.lock`, which the kernel drops when the process dies, however it dies; the file itself stays, with the
// last holder's process id in it.
#pragma once

#include <memory>

#include "io/disk.h"

namespace hansa::io::asio {

std::unique_ptr<Disk> posix_disk();

}  // namespace hansa::io::asio
