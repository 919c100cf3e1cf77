#include "blob/store.h"

namespace hansa::blob {

io::Task<Result<std::shared_ptr<StagedBlob>>> BlobStore::adopt_staged(std::string, std::string, oci::Algorithm) {
  co_return make_error(ErrorCode::unsupported, Subject::blob, "this blob store has no links");
}

}  // namespace hansa::blob
