// ReferenceRegistry: what requests of the distribution specification come to where they come one at a time, nothing
// fails and nothing is collected. Sets of digests and names; it knows nothing of members, revisions and bytes. What the
// answers of a cluster are held against (oracle_run.h).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "oci/name.h"
#include "sim/image.h"

namespace hansa::sim {

class ReferenceRegistry {
 public:
  using Refusal = std::optional<ErrorCode>;  // nullopt: done

  struct Put {
    Image image;
    std::vector<std::string> tags = {};
    std::optional<oci::Digest> if_match = {};  // what every tag must show
    bool if_none_match = false;                // none of the tags may exist
  };

  void push_blob(const oci::RepositoryName& repository, const oci::Digest& digest);
  // Whether there was a source.
  bool mount(const oci::RepositoryName& repository, const std::optional<oci::RepositoryName>& from,
             const oci::Digest& digest);
  Refusal delete_blob(const oci::RepositoryName& repository, const oci::Digest& digest);
  Refusal put(const oci::RepositoryName& repository, const Put& push);
  // A tag alone, or a manifest with all its tags.
  Refusal remove(const oci::RepositoryName& repository, const oci::Reference& reference);

  bool has_blob(const oci::RepositoryName& repository, const oci::Digest& digest) const;
  std::optional<oci::Digest> find(const oci::RepositoryName& repository, const oci::Reference& reference) const;
  std::vector<std::string> repositories() const;
  // nullopt: there is no such repository.
  std::optional<std::vector<std::string>> tags(const oci::RepositoryName& repository) const;
  std::vector<std::string> referrers(const oci::RepositoryName& repository, const oci::Digest& subject) const;

 private:
  struct Repository {
    std::set<oci::Digest> blobs;
    std::map<oci::Digest, Image> manifests;
    std::map<std::string, oci::Digest> tags;
    bool empty() const { return blobs.empty() && manifests.empty(); }
    Refusal precondition(const Put& push) const;
    bool has_parts(const Image& image) const;
    bool holds(const oci::Digest& digest) const;  // a manifest names it
  };
  const Repository* known(const oci::RepositoryName& repository) const;  // null: it never had anything

  std::map<oci::RepositoryName, Repository> repositories_;
};

}  // namespace hansa::sim
