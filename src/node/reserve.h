// Reserve: space of the disk that is kept for a start. A start must be written down (disk.json, a commit) before
// anything is served, and on a full disk it could not be: pulls would be down until somebody makes room. So a file of
// zeros lies in the root; it goes when a start finds no room, and is made again once there is plenty.
//
// Blocking; one caller at a time.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "io/disk.h"

namespace hansa::node {

inline constexpr std::uint64_t default_reserve = 8 * MiB;  // bytes
inline constexpr std::uint64_t reserve_share = 64;         // of the disk at most one part in so many
inline constexpr std::uint64_t plenty = 8;                 // it is made again when so many times its size are free

// Before a start writes anything: gives the reserve up if less than its size is free.
void use_reserve(io::Disk& disk, Logger& log, const std::string& root, std::uint64_t bytes);
// Makes it if it is missing and there is plenty of room. An error leaves none behind.
Result<void> keep_reserve(io::Disk& disk, const std::string& root, std::uint64_t bytes);

}  // namespace hansa::node
