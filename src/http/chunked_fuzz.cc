// Chunked framing in any split gives the same bytes.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "http/chunked.h"

namespace {

// The decoded body when the input arrives in pieces of `step` bytes; "!" in front when it is refused.
std::string decode(std::string_view in, std::size_t step) {
  hansa::http::ChunkDecoder decoder;
  std::string out;
  while (!in.empty() && !decoder.finished()) {
    std::string_view piece = in.substr(0, step);
    if (decoder.data_left() > 0) {
      piece = piece.substr(0, decoder.data_left());
      out += piece;
      decoder.took(piece.size());
      in.remove_prefix(piece.size());
      continue;
    }
    const auto taken = decoder.take_framing(piece);
    if (!taken) return "!" + out;
    HANSA_ASSERT(*taken <= piece.size(), "no more is consumed than there is");
    in.remove_prefix(*taken);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  HANSA_ASSERT(decode(text, 1) == decode(text, size + 1), "where the pieces are cut does not matter");
  return 0;
}
