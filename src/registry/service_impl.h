// The implementation of Registry; private to this room. One file per group of use cases: manifests.cc, blobs.cc,
// uploads.cc, lists.cc; service.cc holds what they share; outage.cc and forward.cc what members ask of each other.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "io/log_pace.h"
#include "registry/body_cache.h"
#include "registry/service.h"
#include "registry/session_search.h"
#include "registry/sessions.h"
#include "registry/shared_looks.h"

namespace hansa::registry {

inline constexpr int max_receipt_renewals = 5;  // of one commit, before unavailable
struct PageStart {
  std::string after;
  std::size_t limit = 0;
  bool operator==(const PageStart&) const = default;
};
inline std::size_t hash_of(const PageStart& start) {
  return std::hash<std::string>{}(start.after) ^ start.limit;
}

inline constexpr std::size_t max_unpaged = 100'000;  // names in an answer to a client that asks for no page
inline constexpr std::size_t upload_buffer = 1024 * 1024;
inline constexpr std::size_t kept_buffers = 16;
inline constexpr std::uint64_t stream_from = 1024 * 1024;  // bytes of a missing blob that is sent while it comes
// Bytes that are checked before the answer's head leaves, so that damage at the front is an honest 503 and not a cut
// connection.
inline constexpr std::uint64_t checked_first = 512 * KiB;
inline constexpr io::Duration bytes_limit = std::chrono::seconds(2);           // until a member begins to give a blob
inline constexpr io::Duration find_limit = std::chrono::seconds(1);            // of asking members for a manifest
inline constexpr io::Duration find_pause = std::chrono::seconds(2);            // after none of them could say
inline constexpr io::Duration forward_limit = std::chrono::seconds(5);         // of a forwarded call without a body
inline constexpr io::Duration forward_stall_limit = std::chrono::seconds(10);  // the owner takes no byte for so long
inline constexpr int max_forwards = 3;  // members that one request is passed on to, one after the other
inline constexpr int max_relay_tries = 2;
inline constexpr io::Duration forward_end_limit = std::chrono::minutes(2);  // it has all bytes: sync, copies, commit

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
  io::Task<Result<BlobContent>> get_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                         BlobPull pull) override;
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
  struct TagList {
    NameList list;
    catalog::Revision revision = 0;  // that the first names are of
  };
  io::Task<Result<TagList>> read_tags(oci::RepositoryName repository, Page page);
  io::Task<Result<NameList>> list_repositories(auth::Access who, Page page) override;
  io::Task<Result<ReferrerList>> list_referrers(auth::Access who, oci::RepositoryName repository, oci::Digest subject,
                                                std::vector<std::string> types, Page page) override;

  io::Task<Result<std::size_t>> expire_uploads() override { return sessions_.expire(); }
  std::size_t open_uploads() const override { return sessions_.open(); }
  UploadRefusals refused_uploads() const override { return sessions_.refusals(); }
  std::uint64_t stale_answers() const override { return stale_answers_; }
  void serve(cluster::PeerDispatch& dispatch) override;

 private:
  // A snapshot that shows every commit acknowledged before the request (H9).
  io::Task<Result<catalog::Snapshot>> fresh_snapshot();
  // The same; without a quorum, and while that is allowed, the view as it is.
  struct Seen {
    catalog::Snapshot view;
    std::optional<Error> outage;  // why it may be stale
  };
  io::Task<Result<Seen>> fresh_or_stale();
  bool is_outage(const Error& error) const;
  Result<Seen> stale_view(Error outage);
  // A negative answer: never from a stale view.
  Error missing_from(Seen& seen, const oci::RepositoryName& repository, Error otherwise);

  struct FoundManifest {
    std::shared_ptr<const catalog::ManifestState> state;  // never null
    bool renewable = true;                                // found behind a barrier of this node
    bool stale = false;
  };
  io::Task<Result<FoundManifest>> find_manifest(auth::Access who, oci::RepositoryName repository,
                                                oci::Reference reference);
  // As another member sees it behind its barrier; empty: none can say. not_found as that member says it.
  io::Task<Result<std::optional<catalog::ManifestState>>> ask_members(oci::RepositoryName repository,
                                                                      oci::Reference reference);
  io::Task<Result<io::PeerResponse>> on_find(io::PeerRequest request);
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> open_blob(oci::Digest digest);
  // Whether the bytes can be had, from this disk or another member's (docs/adr/0006).
  io::Task<Result<bool>> has_bytes(oci::Digest digest);
  // Of `size` bytes by the catalogue, for a client that wants these bytes of it: the first of them are checked. In a
  // cluster damaged bytes are replaced by another member's, once.
  io::Task<Result<std::shared_ptr<blob::BlobReader>>> open_checked(oci::Digest digest, std::uint64_t size,
                                                                   std::uint64_t offset, std::uint64_t length);
  Result<std::optional<BlobElsewhere>> elsewhere(catalog::Snapshot& view, const oci::RepositoryName& repository,
                                                 const oci::Digest& digest, std::uint64_t size, const BlobPull& pull);
  io::Task<Result<std::shared_ptr<const std::string>>> manifest_body(oci::Digest digest, std::uint64_t size);
  // Reads what manifests refer to whose references are not in this node's view yet: pushed through another member, too
  // large for their records. False: nothing was missing.
  io::Task<Result<bool>> load_references();
  // Submits a removal; where it waits for references, they are loaded and it is submitted once more.
  io::Task<Result<void>> submit_removal(catalog::Planner plan);
  // not_found(repository) when nothing of it exists, else `otherwise`.
  Error missing(catalog::Snapshot& view, const oci::RepositoryName& repository, Error otherwise);
  io::Task<Error> missing_now(oci::RepositoryName repository, Error otherwise);

  // Submits what `plan` makes of a receipt, with fresh receipts while the old ones do not count any more (H1).
  using ReceiptPlanner = std::function<catalog::Planner(const std::vector<catalog::Receipt>&)>;
  // `relayed`: another member's, got while the bytes came.
  io::Task<Result<void>> submit_with_receipts(oci::Digest digest, std::uint64_t size, blob::Receipt own,
                                              std::optional<catalog::Receipt> relayed, ReceiptPlanner plan,
                                              catalog::Weight weight = catalog::Weight::light);
  io::Task<Result<std::vector<catalog::Receipt>>> confirm(oci::Digest digest, std::uint64_t size, blob::Receipt own,
                                                          std::optional<catalog::Receipt> relayed);
  io::Task<Result<void>> link(oci::RepositoryName repository, oci::Digest digest, std::uint64_t size,
                              blob::Receipt receipt, std::optional<catalog::Receipt> relayed);
  struct Incoming {
    std::optional<ChunkRange> range;
    std::optional<oci::Digest> expected;  // where the client has said it already
    // A 202 stands for the bytes on two members, however few; who finishes gets the second copy at the end.
    bool more_follows = false;
    bool known_to_client = true;  // the session
  };
  io::Task<Result<UploadSessions::Hold>> open_session(auth::Access who, oci::RepositoryName repository,
                                                      oci::Algorithm algorithm);
  void note_refused_upload(const Error& error);
  io::Task<Result<void>> receive(UploadSessions::Session& session, Incoming incoming, io::ByteSource& body);
  io::Task<Result<void>> take_in(UploadSessions::Session& session, bool placed, io::ByteSource& body);
  void begin_relay(UploadSessions::Session& session, bool keep, const io::NodeId& except = {});
  io::Task<void> copy_now(UploadSessions::Session& session);
  io::Task<Result<void>> check_not_superseded(UploadSessions::Session& session);
  io::Task<Result<void>> give_up(UploadSessions::Session& session);
  struct Stored {
    Result<blob::Receipt> own;
    std::optional<catalog::Receipt> relayed;
  };
  io::Task<Stored> store(UploadSessions::Session& session, oci::Digest digest);
  io::Task<Result<void>> complete(UploadSessions::Session& session, oci::RepositoryName repository, oci::Digest digest);
  // Whether a PUT asks for what is done: the repository has the blob. Renews it.
  io::Task<bool> is_done(const oci::RepositoryName& repository, std::optional<oci::Digest> digest);

  // A request of a session, of a user whose rights are checked.
  struct UploadCall {
    std::string verb;  // of the peer protocol
    oci::RepositoryName repository;
    std::string user;
    std::string session;
    std::optional<ChunkRange> range = std::nullopt;
    std::optional<oci::Digest> digest = std::nullopt;
  };
  // Wherever the session is. `body` null: none.
  io::Task<Result<UploadStatus>> serve_upload(UploadCall call, io::ByteSource* body);
  io::Task<Result<UploadStatus>> serve_elsewhere(UploadCall call, io::ByteSource* body, io::NodeId opened_by);
  // Sessions that this node has.
  io::Task<Result<UploadStatus>> serve_here(UploadCall call, io::ByteSource& body);
  io::Task<Result<void>> check_still_owner(UploadSessions::Session& session, UploadCall call);
  io::Task<Result<UploadStatus>> local_status(UploadCall call);
  io::Task<Result<UploadStatus>> local_append(UploadCall call, io::ByteSource& body);
  io::Task<Result<void>> local_finish(UploadCall call, io::ByteSource& body);
  io::Task<Result<void>> local_cancel(UploadCall call);

  // What came of a request that was passed on.
  struct Forwarded {
    Result<UploadStatus> answer;
    bool answered = true;                                // by the other member; else it cannot be reached
    bool refused = false;                                // it got nothing, or said that it cannot now
    std::optional<io::NodeId> elsewhere = std::nullopt;  // it says who has the session
    bool body_used = false;
  };
  io::Task<Forwarded> forward(io::NodeId to, UploadCall call, io::ByteSource* body);
  struct BodySent {
    bool any = false;
    std::optional<Error> broken = std::nullopt;  // the client's own
  };
  io::Task<Result<io::PeerResponse>> send_call(io::NodeId to, io::PeerRequest request, io::ByteSource* body,
                                               BodySent* sent);
  bool answers_pings(const io::NodeId& id) const;
  io::Task<Result<io::PeerResponse>> on_upload(io::PeerRequest request);

  // Buffers for request bodies; a few are kept.
  std::vector<std::byte> take_buffer();
  void give_buffer(std::vector<std::byte> buffer);

  catalog::Catalog& catalog_;
  blob::BlobStore& blobs_;
  io::Random& random_;
  Logger& log_;
  const std::optional<ClusterParts> cluster_;
  const std::string secret_;
  const io::Duration max_staleness_;
  catalog::PullCounter* const pulls_;         // null: nobody counts
  std::atomic<std::int64_t> members_failed_;  // boot time at which no member could say, nanoseconds
  std::atomic<std::uint64_t> stale_answers_ = 0;
  UploadSessions sessions_;
  std::unique_ptr<SessionSearch> search_;  // of a member of a cluster
  BodyCache bodies_;
  SharedLooks<oci::Reference, catalog::ManifestState> looks_;
  SharedLooks<oci::Reference, catalog::BlobState>
      blob_looks_;                                  // of one node: in a cluster the view also says where the bytes are
  SharedLooks<PageStart, NameList, 64> tag_pages_;  // likewise, of at most max_page names
  std::mutex refusals_mutex_;
  io::LogPace refusals_pace_;
  std::mutex buffers_mutex_;
  std::vector<std::vector<std::byte>> buffers_;
};

// denied, or unauthenticated for the anonymous caller, unless the caller may.
Result<void> require(const auth::Access& who, auth::Action action, const oci::RepositoryName& repository);
Result<void> require_push(const auth::Access& who, const oci::RepositoryName& repository);

// Parses a manifest's body; a large one on a pool's thread.
io::Task<Result<oci::Manifest>> read_manifest(std::string media_type, std::shared_ptr<const std::string> body);
catalog::Weight weight_of(const oci::Manifest& manifest);
// The manifest as the view has it; empty: it is not there.
Result<std::optional<catalog::ManifestState>> look_up(catalog::Snapshot& view, const oci::RepositoryName& repository,
                                                      const oci::Reference& reference);
Error no_manifest(const oci::RepositoryName& repository, const oci::Reference& reference);

}  // namespace hansa::registry
