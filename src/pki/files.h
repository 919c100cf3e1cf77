// Small whole files of the cluster folder, replaced atomically and durable on return.
#pragma once

#include <string>

#include "base/result.h"
#include "io/disk.h"

namespace hansa::pki {

inline constexpr std::size_t max_small_file = 64 * 1024;  // bytes

// not_found; too_large over max_small_file.
Result<std::string> read_file(io::Disk& disk, const std::string& path);
// `mode`: create or create_private. The folder exists.
Result<void> replace_file(io::Disk& disk, const std::string& path, std::string_view text, io::OpenMode mode);

}  // namespace hansa::pki
