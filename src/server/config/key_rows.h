// The rows of the key table, divided among files by their size. See key_table.h.
#pragma once

#include <array>

#include "server/config/key_table.h"

namespace hansa::server::config {

extern const std::array<Key, 47> storage_rows;  // and log, scheduler
extern const std::array<Key, 36> cluster_rows;
extern const std::array<Key, 120> http_rows;
extern const std::array<Key, 93> extension_rows;

}  // namespace hansa::server::config
