#include "node/identity_file.h"

namespace hansa::node {

io::Task<Result<void>> IdentityFile::write(Identity identity) {
  auto work = [this, &identity, asked = ++asked_]() -> Result<void> {
    const std::lock_guard guard(mutex_);
    if (written_ > asked) return {};  // what was asked for later is there already
    HANSA_CHECK(write_identity(disk_, root_, identity));
    written_ = asked;
    return {};
  };
  co_return co_await io::blocking(io::Pool::sync, std::move(work));
}

}  // namespace hansa::node
