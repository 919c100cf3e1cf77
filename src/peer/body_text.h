// Small bodies as text.
#pragma once

#include <memory>
#include <string>

#include "io/byte_source.h"

namespace hansa::peer {

class TextSource final : public io::ByteSource {
 public:
  explicit TextSource(std::string text) : text_(std::move(text)), source_(as_bytes(text_)) {}
  io::Task<Result<std::size_t>> read(Bytes out) override { return source_.read(out); }

 private:
  const std::string text_;
  io::MemorySource source_;
};

// All of it. `source` outlives the task. too_large: more than `limit` bytes.
io::Task<Result<std::string>> read_text(io::ByteSource& source, std::size_t limit);

}  // namespace hansa::peer
