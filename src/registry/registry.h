// Registry: the use cases of the distribution specification, without HTTP. Each method is one request of a client
// that is authenticated already; rights are checked here, against the same revision that the operation reads or
// commits. Below this header everything is typed; `api` turns results and errors into HTTP.
//
// Errors that clients see: denied / unauthenticated (no right), not_found(repository|manifest|blob|upload|tag),
// invalid(...), missing_reference(manifest), referenced(manifest|blob), range(upload), precondition(manifest),
// too_large, too_many, out_of_space, unavailable, corrupt(blob).
//
// A member of a cluster whose metadata store cannot be reached answers reads as it last saw them, marked `stale`, for a
// while and if no other member knows better (P6). Stale answers are positive: what it does not see is unavailable.
//
// Thread rule: any executor's thread. The registry and what it was given outlive every call.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "auth/access.h"
#include "blob/store.h"
#include "io/byte_source.h"
#include "io/task.h"
#include "oci/manifest.h"
#include "oci/name.h"

namespace hansa::registry {

inline constexpr std::size_t max_tags_per_push = 100;
inline constexpr std::size_t max_annotation_bytes =
    4 * MiB;                                   // of a page of referrers, which ends with the entry beyond
inline constexpr std::size_t max_page = 1000;  // default page where a client asks for none or for more
inline constexpr std::size_t max_mount_candidates = 64;
inline constexpr std::size_t default_uploads = 1000;                     // open sessions of a node
inline constexpr std::size_t default_manifest_cache = 16 * 1024 * 1024;  // bytes

// ---- pull -------------------------------------------------------------------------------------------------------

struct ManifestHead {
  oci::Digest digest;
  std::string media_type;
  std::uint64_t size = 0;
  bool stale = false;  // see Registry
};

struct ManifestContent {
  ManifestHead head;
  std::shared_ptr<const std::string> body;
};

struct BlobHead {
  oci::Digest digest;
  std::uint64_t size = 0;
  std::string media_type;  // as a manifest of this repository names it, else application/octet-stream
  bool stale = false;      // see Registry
};

// How a client asks for a blob's bytes.
struct BlobPull {
  std::uint64_t offset = 0;                                          // of the first byte that it wants
  std::uint64_t length = std::numeric_limits<std::uint64_t>::max();  // as many as there are
  bool may_redirect = false;                                         // it can be sent to another member of the cluster
  bool secure = false;  // it came over TLS, and is not sent to a member that has none
  std::string client;   // its address, to know it when it comes back; may be empty
  std::string ticket;   // what another member gave it along (ticket.h): stands for its credentials
};

// Another member, which sends the bytes.
struct BlobElsewhere {
  std::string url;     // http(s)://host:port
  std::string ticket;  // to be shown there
};

struct BlobContent {
  BlobHead head;
  std::shared_ptr<blob::BlobReader> reader;  // null: elsewhere
  std::optional<BlobElsewhere> elsewhere;
};

// ---- push -------------------------------------------------------------------------------------------------------

// Where a session stands: bytes [0, received) are here.
struct UploadStatus {
  std::string session;
  std::uint64_t received = 0;
};

// What was refused since the start: new sessions that were too many, and bytes of open ones.
struct UploadRefusals {
  std::uint64_t all = 0;
  std::uint64_t of_clients = 0;  // of those: too many of one user, or of one address where nobody logged in
};

// Content-Range of a chunk; absent for streamed bodies.
struct ChunkRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive
};

struct ManifestPush {
  oci::Reference reference;    // a tag, or a digest that the body must have
  std::vector<oci::Tag> tags;  // further tags (?tag=); only with a digest reference
  std::string media_type;      // of the request, without parameters
  std::string body;
  // If-Match: the digest that every named tag must have now; If-None-Match: * = none of them may exist.
  std::optional<oci::Digest> if_match;
  bool if_none_match = false;
};

struct ManifestPushed {
  oci::Digest digest;
  std::optional<oci::Digest> subject;
  std::vector<oci::Tag> tags;  // those put now
};

// ---- lists ------------------------------------------------------------------------------------------------------

struct Page {
  std::optional<std::size_t> limit;  // absent: all (the caller pages on internally); 0: none
  std::string after;                 // exclusive; empty: from the start
};

struct NameList {
  std::vector<std::string> names;  // in byte order
  bool more = false;
  bool stale = false;  // see Registry
};

struct Referrer {
  oci::Descriptor descriptor;
  std::string artifact_type;  // empty: none
  oci::Annotations annotations;
};

struct ReferrerList {
  std::vector<Referrer> referrers;  // in the order of their digests
  bool more = false;
  bool stale = false;  // see Registry
};

class Registry {
 public:
  virtual ~Registry() = default;

  // Manifests. head and get pass a barrier (DESIGN.md 6.3).
  virtual io::Task<Result<ManifestHead>> head_manifest(auth::Access who, oci::RepositoryName repository,
                                                       oci::Reference reference) = 0;
  virtual io::Task<Result<ManifestContent>> get_manifest(auth::Access who, oci::RepositoryName repository,
                                                         oci::Reference reference) = 0;
  virtual io::Task<Result<ManifestPushed>> put_manifest(auth::Access who, oci::RepositoryName repository,
                                                        ManifestPush push) = 0;
  // A tag's DELETE removes the tag; a digest's removes the manifest with all its tags.
  virtual io::Task<Result<void>> delete_manifest(auth::Access who, oci::RepositoryName repository,
                                                 oci::Reference reference) = 0;

  // Blobs. A manifest's digest is served as a blob too (containerd probes that way). HEAD by a caller who may push
  // renews what nothing holds (DESIGN.md 6.5), and is not_found where the bytes are lost, so that they are uploaded
  // again (docs/adr/0006).
  virtual io::Task<Result<BlobHead>> head_blob(auth::Access who, oci::RepositoryName repository,
                                               oci::Digest digest) = 0;
  // A ticket that does not open this blob is denied, whoever shows it. The first bytes that are asked for are sound:
  // corrupt if they are not, and no other member can give the blob. What is missing here may still be coming while it
  // is read (BlobReader::is_growing).
  virtual io::Task<Result<BlobContent>> get_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                                 BlobPull pull = {}) = 0;
  virtual io::Task<Result<void>> delete_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest) = 0;
  // True: mounted, the blob is in the repository now. False: no readable source; open a session instead.
  virtual io::Task<Result<bool>> mount_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                            std::optional<oci::RepositoryName> from) = 0;

  // Uploads. A session belongs to one repository and one user; anything else sees not_found(upload). In a cluster any
  // member serves it, also after the loss of the one that opened it: then a body without a range is refused with
  // range(upload) until upload_status() was asked.
  virtual io::Task<Result<UploadStatus>> begin_upload(auth::Access who, oci::RepositoryName repository,
                                                      oci::Algorithm algorithm) = 0;
  virtual io::Task<Result<UploadStatus>> upload_status(auth::Access who, oci::RepositoryName repository,
                                                       std::string session) = 0;
  // Appends the body. With a range: its start must be what was received (else range(upload), nothing changed).
  // When the body breaks off, the bytes that came stay, so that the client can resume.
  virtual io::Task<Result<UploadStatus>> append_upload(auth::Access who, oci::RepositoryName repository,
                                                       std::string session, std::optional<ChunkRange> range,
                                                       io::ByteSource& body) = 0;
  // Appends the body (may be empty) and ends the session as blob `digest`, durable and linked to the repository.
  // invalid(digest) when the bytes are others: the session is then gone. A finished session is remembered for a tick:
  // the same PUT again succeeds again.
  virtual io::Task<Result<void>> finish_upload(auth::Access who, oci::RepositoryName repository, std::string session,
                                               std::optional<ChunkRange> range, io::ByteSource& body,
                                               oci::Digest digest) = 0;
  virtual io::Task<Result<void>> cancel_upload(auth::Access who, oci::RepositoryName repository,
                                               std::string session) = 0;
  // POST ?digest=: the whole blob in one request.
  virtual io::Task<Result<void>> push_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                           io::ByteSource& body) = 0;

  // Import: the file of this path, on the same file system, becomes the blob, linked to the repository. It is hashed
  // first (invalid(digest) if it is something else); nothing is copied (a hard link) and the original keeps its name.
  // unsupported where the blob store has no links.
  virtual io::Task<Result<void>> adopt_blob(auth::Access who, oci::RepositoryName repository, oci::Digest digest,
                                            std::string file);

  // Lists. `after` is exclusive and need not exist. list_repositories shows what the caller may read.
  virtual io::Task<Result<NameList>> list_tags(auth::Access who, oci::RepositoryName repository, Page page) = 0;
  virtual io::Task<Result<NameList>> list_repositories(auth::Access who, Page page) = 0;
  // Referrers of `subject`, which need not exist; an unknown repository has none. `types`: any of them, empty: all.
  // page.after is a digest's text.
  virtual io::Task<Result<ReferrerList>> list_referrers(auth::Access who, oci::RepositoryName repository,
                                                        oci::Digest subject, std::vector<std::string> types,
                                                        Page page) = 0;
};

}  // namespace hansa::registry
