// A registry in memory: enough of the use cases to see what the API makes of requests and results. No rights: the
// API's own checks are under test.
#pragma once

#include <algorithm>
#include <map>

#include "registry/registry.h"

namespace hansa::api::testing {

class MemoryReader final : public blob::BlobReader {
 public:
  explicit MemoryReader(std::string content) : content_(std::move(content)) {}
  std::uint64_t size() const override { return content_.size(); }
  io::Task<Result<void>> verify(std::uint64_t, std::uint64_t) override { co_return Result<void>(); }
  bool is_verified(std::uint64_t, std::uint64_t) const override { return false; }
  io::Task<Result<std::size_t>> read(std::uint64_t offset, Bytes out) override {
    const std::size_t count = std::min(out.size(), content_.size() - static_cast<std::size_t>(offset));
    std::ranges::copy(as_bytes(content_).subspan(static_cast<std::size_t>(offset), count), out.begin());
    co_return count;
  }
  int descriptor() const override { return fd; }
  int fd = -1;

 private:
  std::string content_;
};

class MemoryRegistry final : public registry::Registry {
 public:
  struct Stored {
    std::string type;
    std::string body;
  };
  struct Repository {
    std::map<oci::Digest, Stored> manifests;
    std::map<std::string, oci::Digest> tags;
    std::map<oci::Digest, std::string> blobs;
    std::vector<registry::Referrer> referrers;
  };
  std::optional<registry::BlobElsewhere> elsewhere;  // where every blob is sent from; empty: here
  registry::BlobPull asked;                          // by the last blob's request
  std::map<std::string, Repository> repositories;
  bool stale = false;  // of every answer that can be
  std::map<std::string, std::string> sessions;
  std::optional<Error> failure;                  // of the next call, whatever it is
  std::optional<registry::ManifestPush> pushed;  // the last one
  std::optional<oci::Algorithm> began_with;
  std::optional<oci::RepositoryName> mounted_from;
  std::vector<std::string> types_asked;
  int descriptor = -1;
  bool rotten = false;

  io::Task<Result<registry::ManifestHead>> head_manifest(auth::Access who, oci::RepositoryName repository,
                                                         oci::Reference reference) override {
    HANSA_CO_TRY(auto content, co_await get_manifest(std::move(who), std::move(repository), std::move(reference)));
    co_return content.head;
  }
  io::Task<Result<registry::ManifestContent>> get_manifest(auth::Access, oci::RepositoryName repository,
                                                           oci::Reference reference) override {
    if (failure) co_return *std::exchange(failure, std::nullopt);
    Repository& here = repositories[repository.text()];
    oci::Digest digest;
    if (const auto* tag = std::get_if<oci::Tag>(&reference)) {
      const auto found = here.tags.find(tag->text());
      if (found == here.tags.end()) co_return unknown(Subject::manifest);
      digest = found->second;
    } else {
      digest = std::get<oci::Digest>(reference);
    }
    const auto found = here.manifests.find(digest);
    if (found == here.manifests.end()) co_return unknown(Subject::manifest);
    co_return registry::ManifestContent{
        .head = {.digest = digest, .media_type = found->second.type, .size = found->second.body.size(), .stale = stale},
        .body = std::make_shared<const std::string>(found->second.body)};
  }
  io::Task<Result<registry::ManifestPushed>> put_manifest(auth::Access, oci::RepositoryName repository,
                                                          registry::ManifestPush push) override {
    pushed = push;
    if (failure) co_return *std::exchange(failure, std::nullopt);
    HANSA_CO_TRY(const auto manifest, oci::parse_manifest(push.media_type, as_bytes(push.body)));
    Repository& here = repositories[repository.text()];
    const auto digest = oci::Digest::compute(oci::Algorithm::sha256, as_bytes(push.body));
    registry::ManifestPushed done{.digest = digest, .subject = {}, .tags = push.tags};
    if (manifest.subject) done.subject = manifest.subject->digest;
    if (const auto* tag = std::get_if<oci::Tag>(&push.reference)) done.tags.push_back(*tag);
    for (const auto& tag : done.tags) here.tags[tag.text()] = digest;
    here.manifests[digest] = {push.media_type, push.body};
    co_return done;
  }
  io::Task<Result<void>> delete_manifest(auth::Access, oci::RepositoryName repository,
                                         oci::Reference reference) override {
    if (failure) co_return *std::exchange(failure, std::nullopt);
    Repository& here = repositories[repository.text()];
    const auto* tag = std::get_if<oci::Tag>(&reference);
    const bool gone =
        tag != nullptr ? here.tags.erase(tag->text()) > 0 : here.manifests.erase(std::get<oci::Digest>(reference)) > 0;
    if (!gone) co_return unknown(Subject::manifest);
    co_return Result<void>();
  }
  io::Task<Result<registry::BlobHead>> head_blob(auth::Access who, oci::RepositoryName repository,
                                                 oci::Digest digest) override {
    HANSA_CO_TRY(auto content, co_await get_blob(std::move(who), std::move(repository), digest, {}));
    co_return content.head;
  }
  io::Task<Result<registry::BlobContent>> get_blob(auth::Access, oci::RepositoryName repository, oci::Digest digest,
                                                   registry::BlobPull pull) override {
    asked = pull;
    if (failure) co_return *std::exchange(failure, std::nullopt);
    Repository& here = repositories[repository.text()];
    const auto found = here.blobs.find(digest);
    if (found == here.blobs.end()) co_return unknown(Subject::blob);
    if (rotten) co_return make_error(ErrorCode::corrupt, Subject::blob, "rotten");
    auto reader = std::make_shared<MemoryReader>(found->second);
    reader->fd = descriptor;
    co_return registry::BlobContent{
        .head = {.digest = digest, .size = found->second.size(), .media_type = "application/x-layer", .stale = stale},
        .reader = elsewhere ? nullptr : std::move(reader),
        .elsewhere = elsewhere};
  }
  io::Task<Result<void>> delete_blob(auth::Access, oci::RepositoryName repository, oci::Digest digest) override {
    if (failure) co_return *std::exchange(failure, std::nullopt);
    if (repositories[repository.text()].blobs.erase(digest) == 0) co_return unknown(Subject::blob);
    co_return Result<void>();
  }
  io::Task<Result<bool>> mount_blob(auth::Access, oci::RepositoryName repository, oci::Digest digest,
                                    std::optional<oci::RepositoryName> from) override {
    mounted_from = from;
    for (auto& [name, other] : repositories) {
      if (from && from->text() != name) continue;
      const auto found = other.blobs.find(digest);
      if (found == other.blobs.end()) continue;
      const std::string content = found->second;
      repositories[repository.text()].blobs[digest] = content;
      co_return true;
    }
    co_return false;
  }
  io::Task<Result<registry::UploadStatus>> begin_upload(auth::Access, oci::RepositoryName,
                                                        oci::Algorithm algorithm) override {
    if (failure) co_return *std::exchange(failure, std::nullopt);
    began_with = algorithm;
    const std::string id = "s" + std::to_string(sessions.size() + 1);
    sessions[id] = "";
    co_return registry::UploadStatus{.session = id, .received = 0};
  }
  io::Task<Result<registry::UploadStatus>> upload_status(auth::Access, oci::RepositoryName,
                                                         std::string session) override {
    const auto found = sessions.find(session);
    if (found == sessions.end()) co_return unknown(Subject::upload);
    co_return registry::UploadStatus{.session = session, .received = found->second.size()};
  }
  io::Task<Result<registry::UploadStatus>> append_upload(auth::Access who, oci::RepositoryName repository,
                                                         std::string session, std::optional<registry::ChunkRange> range,
                                                         io::ByteSource& body) override {
    const auto found = sessions.find(session);
    if (found == sessions.end()) co_return unknown(Subject::upload);
    if (range && range->first != found->second.size()) {
      co_return make_error(ErrorCode::range, Subject::upload, "not the next byte");
    }
    HANSA_CO_TRY(const std::string bytes, co_await all_of(&body));
    sessions[session] += bytes;
    co_return co_await upload_status(std::move(who), std::move(repository), session);
  }
  io::Task<Result<void>> finish_upload(auth::Access who, oci::RepositoryName repository, std::string session,
                                       std::optional<registry::ChunkRange> range, io::ByteSource& body,
                                       oci::Digest digest) override {
    HANSA_CO_TRY(const auto status, co_await append_upload(std::move(who), repository, session, range, body));
    const std::string content = sessions[status.session];
    sessions.erase(session);
    co_return keep(repository, digest, content);
  }
  io::Task<Result<void>> cancel_upload(auth::Access, oci::RepositoryName, std::string session) override {
    if (sessions.erase(session) == 0) co_return unknown(Subject::upload);
    co_return Result<void>();
  }
  io::Task<Result<void>> push_blob(auth::Access, oci::RepositoryName repository, oci::Digest digest,
                                   io::ByteSource& body) override {
    HANSA_CO_TRY(const std::string content, co_await all_of(&body));
    co_return keep(repository, digest, content);
  }
  io::Task<Result<registry::NameList>> list_tags(auth::Access, oci::RepositoryName repository,
                                                 registry::Page page) override {
    if (!repositories.contains(repository.text())) co_return unknown(Subject::repository);
    auto list = page_of(repositories[repository.text()].tags, page);
    list.stale = stale;
    co_return list;
  }
  io::Task<Result<registry::NameList>> list_repositories(auth::Access, registry::Page page) override {
    auto list = page_of(repositories, page);
    list.stale = stale;
    co_return list;
  }
  io::Task<Result<registry::ReferrerList>> list_referrers(auth::Access, oci::RepositoryName repository, oci::Digest,
                                                          std::vector<std::string> types,
                                                          registry::Page page) override {
    types_asked = types;
    registry::ReferrerList list;
    list.stale = stale;
    for (const auto& referrer : repositories[repository.text()].referrers) {
      if (referrer.descriptor.digest.text() <= page.after) continue;
      if (list.referrers.size() == page.limit) {
        list.more = true;
        break;
      }
      list.referrers.push_back(referrer);
    }
    co_return list;
  }

 private:
  static Error unknown(Subject subject) { return make_error(ErrorCode::not_found, subject, "it is not here"); }
  static io::Task<Result<std::string>> all_of(io::ByteSource* body) {
    std::string all;
    std::string buffer(1000, '\0');
    while (true) {
      HANSA_CO_TRY(const std::size_t count, co_await body->read(std::as_writable_bytes(std::span(buffer))));
      if (count == 0) co_return all;
      all += buffer.substr(0, count);
    }
  }
  Result<void> keep(const oci::RepositoryName& repository, const oci::Digest& digest, const std::string& content) {
    if (oci::Digest::compute(digest.algorithm(), as_bytes(content)) != digest) {
      return make_error(ErrorCode::invalid, Subject::digest, "the bytes are others");
    }
    repositories[repository.text()].blobs[digest] = content;
    return {};
  }
  template <class Map>
  static registry::NameList page_of(const Map& map, const registry::Page& page) {
    registry::NameList list;
    for (auto at = map.upper_bound(page.after); at != map.end(); ++at) {
      if (page.limit && list.names.size() == *page.limit) {
        list.more = true;
        break;
      }
      list.names.push_back(at->first);
    }
    return list;
  }
};

}  // namespace hansa::api::testing
