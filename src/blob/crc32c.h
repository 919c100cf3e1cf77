// CRC32C (Castagnoli, RFC 3720): the check of every 64 KiB chunk. Uses SSE4.2 where the processor has it.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace hansa::blob {

// The checksum of `before` followed by `data`, where `so_far` is the checksum of `before` (0: nothing yet).
std::uint32_t crc32c(ConstBytes data, std::uint32_t so_far = 0);

// The portable computation, for tests of the fast one.
std::uint32_t crc32c_portable(ConstBytes data, std::uint32_t so_far = 0);

}  // namespace hansa::blob
