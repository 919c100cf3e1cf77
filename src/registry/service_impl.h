// The implementation of Registry; private to this room. One file per group of use cases: manifests.cc, blobs.cc,
// uploads.cc, lists.cc; service.cc holds what they share.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <vector>

#include "registry/body_cache.h"
#include "registry/service.h"
#include "registry/sessions.h"

namespace hansa::registry {

inline constexpr int max_receipt_renewals = 5;       // of one commit, before unavailable
inline constexpr std::size_t max_unpaged = 100'000;  // names in an answer to a client that asks for no page
inline constexpr std::size_t upload_buffer = 1024 * 1024;
inline constexpr std::size_t kept_buffers = 16;

class Service final : public RegistryService {
 public:
  Service(catalog::Catalog& catalog, blob::BlobStore& blobs, io::Random& random, Logger& log, RegistryOptions options,
          std::optional<ClusterParts> cluster);

  io::Task<Result<ManifestHead>> head_manifest(auth::Access who, oci::RepositoryName repository,
                                               oci::Reference reference) override;
  io::Task<Result<ManifestContent>> get_manifest(auth::Access who, oci::RepositoryName repository,
                                                 oci::Reference reference) override;
  io::Task<Result<ManifestPushed>> put_manifest(auth::Access who, oci::RepositoryName repository,
                                                ManifestPush push) override;
  io::Task<Result<void>> delete_manifest(auth::Access who, oci::RepositoryName repository,
                                         oci::Reference reference) override;
  io::Task<Result<BlobHead>> head_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest) override;
  io::Task<Result<BlobContent>> get_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest) override;
  io::Task<Result<void>> delete_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest) override;
  io::Task<Result<bool>> mount_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                    std::optional<oci::RepositoryName> from) override;
  io::Task<Result<UploadStatus>> begin_upload(auth::Access who, oci::RepositoryName repository,
                                              oci::Algorithm algorithm) override;
  io::Task<Result<UploadStatus>> upload_status(auth::Access who, oci::RepositoryName repository,
                                               std::string session) override;
  io::Task<Result<UploadStatus>> append_upload(auth::Access who, oci::RepositoryName repository, std::string session,
                                               std::optional<ChunkRange> range, io::ByteSource& body) override;
  io::Task<Result<void>> finish_upload(auth::Access who, oci::RepositoryName repository, std::string session,
                                       std::optional<ChunkRange> range, io::ByteSource& body,
                                       oci::Digest digest) override;
  io::Task<Result<void>> cancel_upload(auth::Access who, oci::RepositoryName repository, std::string session) override;
  io::Task<Result<void>> push_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                   io::ByteSource& body) override;
  io::Task<Result<void>> adopt_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                    std::string file) override;
  io::Task<Result<NameList>> list_tags(auth::Access who, oci::RepositoryName repository, Page page) override;
  io::Task<Result<NameList>> list_repositories(auth::Access who, Page page) override;
  io::Task<Result<ReferrerList>> list_referrers(auth::Access who, oci::RepositoryName repository, oci::Digest subject,
                                                std::vector<std::string> types, Page page) override;

  io::Task<Result<std::size_t>> expire_uploads() override { return sessions_.expire(); }
  std::size_t open_uploads() const override { return sessions_.open(); }
  std::uint64_t stale_answers() const override { return stale_answers_; }
  void serve(cluster::PeerDispatch& dispatch) override;

 private:
  // A snapshot that shows every commit acknowledged before the request (H9).
  io::Task<Result<catalog::Snapshot>> fresh_snapshot();
  // The same; but while the metadata store is out of reach a member of a cluster answers from its own view for up to
  // max_staleness after the last barrier that this process passed, and says so (P6).
  struct Fresh {
    catalog::Snapshot view;
    bool stale = false;
  };
  io::Task<Result<Fresh>> fresh_or_stale();
  struct FoundManifest {
    catalog::ManifestState state;
    bool stale = false;
  };
  io::Task<Result<FoundManifest>> find_manifest(auth::Access who, oci::RepositoryName repository,
                                                oci::Reference reference);
  Result<catalog::ManifestState> manifest_in(catalog::Snapshot& view, const oci::RepositoryName& repository,
                                             const oci::Reference& reference);
  // remote.cc: a peer whose barrier passes answers; empty: there is none.
  io::Task<std::optional<Result<catalog::ManifestState>>> ask_peers(oci::RepositoryName repository,
                                                                    oci::Reference reference);
  io::Task<Result<io::PeerResponse>> answer_find(io::PeerRequest request);
  io::Task<Result<io::PeerResponse>> answer_upload(io::PeerRequest request);
  struct Forward {
    Forward(std::string v, auth::Identity w, oci::RepositoryName r, std::string s)
        : verb(std::move(v)), who(std::move(w)), repository(std::move(r)), session(std::move(s)) {}
    std::string verb;
    auth::Identity who;
    oci::RepositoryName repository;
    std::string session;
    std::optional<ChunkRange> range;
    std::optional<oci::Digest> digest;
    io::ByteSource* body = nullptr;
  };
  // Passes a request of an upload on to the member that has the session.
  io::Task<Result<std::uint64_t>> forward(std::string owner, Forward request);
  // The blob from this disk or, in a cluster, from a member.
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> open_blob(oci::Digest digest);
  io::Task<Result<std::shared_ptr<const std::string>>> manifest_body(oci::Digest digest, std::uint64_t size);
  // not_found(repository) when nothing of it exists, else `otherwise`.
  Error missing(catalog::Snapshot& view, const oci::RepositoryName& repository, Error otherwise);
  io::Task<Error> missing_now(oci::RepositoryName repository, Error otherwise);

  // Submits what `plan` makes of a receipt, with fresh receipts while the old ones do not count any more (H1).
  using ReceiptPlanner = std::function<catalog::Planner(const std::vector<catalog::Receipt>&)>;
  io::Task<Result<void>> submit_with_receipt(oci::Digest digest, blob::Receipt receipt, ReceiptPlanner plan);
  io::Task<Result<void>> link(oci::RepositoryName repository, oci::Digest digest, std::uint64_t size,
                              blob::Receipt receipt);
  io::Task<Result<void>> receive(blob::StagedBlob& staged, std::optional<ChunkRange> range, io::ByteSource& body);
  io::Task<Result<void>> complete(UploadSessions::Session& session, oci::RepositoryName repository, oci::Digest digest);

  // Buffers for request bodies; a few are kept.
  std::vector<std::byte> take_buffer();
  void give_buffer(std::vector<std::byte> buffer);

  catalog::Catalog& catalog_;
  blob::BlobStore& blobs_;
  io::Random& random_;
  Logger& log_;
  const std::optional<ClusterParts> cluster_;
  const io::Duration max_staleness_;
  UploadSessions sessions_;
  BodyCache bodies_;
  std::atomic<std::uint64_t> stale_answers_ = 0;
  std::atomic<std::int64_t> ask_peers_from_{};  // monotonic nanoseconds: nobody had a quorum until then
  std::mutex buffers_mutex_;
  std::vector<std::vector<std::byte>> buffers_;
};

// denied, or unauthenticated for the anonymous caller, unless the caller may.
Result<void> require(const auth::Access& who, auth::Action action, const oci::RepositoryName& repository);
Result<void> require_push(const auth::Access& who, const oci::RepositoryName& repository);

}  // namespace hansa::registry
