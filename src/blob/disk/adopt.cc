// Taking in a file that lies on the same disk already.
#include "blob/disk/store_impl.h"
#include "io/wait.h"

namespace hansa::blob::disk {

io::Task<Result<std::shared_ptr<StagedBlob>>> Store::adopt_staged(std::string id, std::string file,
                                                                  oci::Algorithm algorithm) {
  auto work = [this, &id, &file]() -> Result<void> {
    if (!is_staging_id(id)) return make_error(ErrorCode::invalid, Subject::upload, "no id for a staged blob: " + id);
    return disk_.link(file, layout_.staged(id));
  };
  HANSA_CO_CHECK(co_await io::blocking(io::Pool::disk, std::move(work)));
  auto staged = co_await reopen_staged(id, algorithm);
  if (!staged) static_cast<void>(co_await discard_staged(id));
  co_return staged;
}

}  // namespace hansa::blob::disk
