// OracleRun: one client that asks members of a cluster, drawn at random, for everything that the distribution
// specification has, while members crash, wires are cut and etcd shows its warts; every answer must be the one that a
// tiny reference registry gives (reference_registry.h). Preconditions, several tags in one push, lists by pages and
// filters, deletes, mounts: what they come to must not depend on the member that is asked, nor on what it went through.
//
// A request whose outcome was not told is asked again until one is; the second time it may come to what it comes to
// where it was carried out already. The cluster's grace time must be longer than the run: nothing is collected.
#pragma once

#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "sim/answer.h"
#include "sim/reference_registry.h"
#include "sim/sim_cluster.h"

namespace hansa::sim {

struct OracleOptions {
  std::size_t operations = 100;
  bool crashes = true;
  bool cuts = true;
  bool warts = true;
};

class OracleRun {
 public:
  // `cluster` is not started yet.
  OracleRun(World& world, SimCluster& cluster, OracleOptions options = {});

  // Starts the cluster, runs the requests, mends everything and compares all there is through every member.
  void run_all();

  const std::vector<std::string>& violations() const { return violations_; }
  std::uint64_t acknowledged() const { return acknowledged_; }  // requests that were answered as they should be
  std::uint64_t crashes() const { return crashes_; }

 private:
  template <class T>
  using Use = std::function<io::Task<Result<T>>(registry::Registry&)>;
  template <class T>
  using Words = std::function<std::string(const std::conditional_t<std::is_void_v<T>, bool, T>&)>;

  // Whether a member may say this whatever the reference says; nothing happened then.
  using MayAnswer = std::function<bool(std::size_t member, const std::string& told)>;
  // Asks until the outcome is told. `words`: of a success that says something; `reference`: the same of the reference
  // registry, which it changes as the request does.
  template <class T>
  io::Task<void> compare(std::string request, Use<T> use, Words<T> words, std::function<std::string()> reference,
                         MayAnswer may_answer = {});
  io::Task<void> work();
  io::Task<void> any_request();
  io::Task<void> compare_all();

  io::Task<void> push_blob(oci::RepositoryName repository, std::string content);
  io::Task<void> push_image();
  io::Task<void> head_blob(oci::RepositoryName repository, oci::Digest digest);
  io::Task<void> delete_blob();
  io::Task<void> mount();
  io::Task<void> put();
  ReferenceRegistry::Put draw_put(const oci::RepositoryName& repository);
  io::Task<void> put_manifest(oci::RepositoryName repository, ReferenceRegistry::Put push, bool by_digest);
  io::Task<void> get(oci::RepositoryName repository, oci::Reference reference);
  io::Task<void> remove();
  io::Task<void> list_tags(oci::RepositoryName repository, registry::Page page);
  io::Task<void> list_repositories(registry::Page page);
  io::Task<void> list_referrers(oci::RepositoryName repository, oci::Digest subject, std::vector<std::string> types,
                                registry::Page page);

  const Image& draw_known() { return drawn_from(images_, random_); }
  const oci::RepositoryName& draw_repository() { return drawn_from(repositories_, random_); }
  oci::Reference draw_reference();
  const std::pair<const oci::Digest, std::string>& draw_blob();
  registry::Page draw_page(std::string after);
  std::size_t draw_member() { return asked_ ? *asked_ : random_.below(cluster_.size()); }
  void disturb();
  void mend();
  void violation(const std::string& what);

  World& world_;
  SimCluster& cluster_;
  const OracleOptions options_;
  SimExecutor executor_;
  SimRandom random_;
  SimRandom faults_;
  std::vector<Image> images_;  // all that this run pushes
  std::vector<oci::RepositoryName> repositories_;
  ReferenceRegistry reference_;
  std::optional<std::size_t> asked_;  // the only member that is asked
  std::vector<std::string> violations_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t crashes_ = 0;
};

}  // namespace hansa::sim
