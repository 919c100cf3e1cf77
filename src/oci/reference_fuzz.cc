// Names, tags and digests: what is accepted gives the same text back.
#include <cstdint>

#include "base/assert.h"
#include "oci/name.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hansa::oci;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto name = RepositoryName::parse(text)) {
    HANSA_ASSERT(name->text() == text && text.size() <= max_repository_name, "a name is its text");
    HANSA_ASSERT(text.find("..") == std::string_view::npos, "no name climbs");
  }
  if (const auto reference = parse_reference(text))
    HANSA_ASSERT(to_string(*reference) == text, "a reference is its text");
  if (const auto digest = Digest::parse(text)) HANSA_ASSERT(digest->text() == text, "a digest is its text");
  return 0;
}
