// Taking in files that lie on the same disk already.
#include "registry/service_impl.h"

namespace hansa::registry {

io::Task<Result<void>> Registry::adopt_blob(auth::Access, oci::RepositoryName, oci::Digest, std::string) {
  co_return make_error(ErrorCode::unsupported, Subject::blob, "this registry cannot take in files; copy them");
}

io::Task<Result<void>> Service::adopt_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                           std::string file) {
  HANSA_CO_CHECK(require(who, auth::Action::create, repository));
  const std::string id = "adopt-" + random_.hex(16);
  auto staged = co_await blobs_.adopt_staged(id, std::move(file), digest.algorithm());
  if (!staged) co_return std::move(staged).error();
  const std::uint64_t size = (*staged)->size();
  auto receipt = co_await blobs_.finish(std::move(*staged), digest);
  // Also after a success: renaming one of two names of a file over the other removes neither.
  auto discarded = co_await blobs_.discard_staged(id);
  if (!discarded) log_.warn("cannot remove a link that is not needed", {{"error", discarded.error().message}});
  if (!receipt) co_return std::move(receipt).error();
  co_return co_await link(std::move(repository), digest, size, std::move(*receipt), std::nullopt);
}

}  // namespace hansa::registry
