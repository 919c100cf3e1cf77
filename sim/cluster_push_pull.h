// ClusterPushPull: clients that push, retag, pull, mount and delete small images and indexes, attach things to them and
// list those, through random members of a cluster, a part of an upload through each, some with preconditions, while
// members crash and restart, disks fail, fill up and rot, one member is lost, set back, drained or away for long, wires
// are cut, clocks jump, and etcd shows its warts.
//
// Checked, most of it after all is mended: tags and manifests have linearizable histories over all members (P3, P8;
// answers that say they are stale apart, P6), and lists of tags and of referrers are reads of what they list; what a
// tag shows is pullable whole through every member (P1, P2, P4, P7); an acknowledged push has two copies at that
// moment, and everything when a drained member is let go; no member's mark says that its disk has what it lacks, at
// any time (P1, P5); what HEAD or a push confirmed can be relied on for a grace time (P7); what was never pushed to a
// repository cannot be read there; every view is equal to etcd's records, row by row; every member is ready, without
// an alarm, and knows its disk; no views differed.
// An answer that was cut off, or an error that does not exclude it, is an operation that may have happened.
//
// Restores and forgetful voters lose what was acknowledged by their nature and are not in the mix.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/answer.h"
#include "sim/history.h"
#include "sim/image.h"
#include "sim/ports/disk_tree.h"
#include "sim/sim_cluster.h"

namespace hansa::sim {

struct ClusterPushPullOptions {
  std::size_t clients = 4;
  std::size_t operations = 14;  // of each client
  bool crashes = true;
  bool disk_faults = true;
  bool rot = true;
  bool churn = true;  // members are lost, set back, drained and away
  bool cuts = true;
  bool warts = true;
};

class ClusterPushPull {
 public:
  // `cluster` is not started yet; its garbage collection has a grace time of at least `grace`.
  ClusterPushPull(World& world, SimCluster& cluster, io::Duration grace, ClusterPushPullOptions options = {});

  // Starts the cluster, runs the workload to its end, mends everything and checks.
  void run_all();

  const std::vector<std::string>& violations() const { return violations_; }
  std::uint64_t acknowledged() const { return acknowledged_; }  // pushes
  std::uint64_t crashes() const { return crashes_; }

 private:
  struct Client {
    Client(std::size_t n, std::uint64_t seed) : number(n), random(seed, "client " + std::to_string(n)) {}
    const std::size_t number;
    SimRandom random;
    std::size_t done = 0;
    std::string who(std::size_t member) const {
      return "client " + std::to_string(number) + " at node-" + std::to_string(member + 1);
    }
  };
  template <class T>
  using Use = std::function<io::Task<Result<T>>(registry::Registry&)>;

  io::Task<void> client_loop(Client& client);
  io::Task<void> push_image(Client& client);
  io::Task<bool> push_blob(Client& client, oci::RepositoryName repository, const std::string& content);
  io::Task<bool> upload(Client& client, oci::RepositoryName repository, const std::string& content);
  // Written to the manifest's own history. `expected`: only if the tag shows this digest; empty text: nothing.
  io::Task<Answer<registry::ManifestPushed>> put_manifest(Client& client, std::size_t member,
                                                          oci::RepositoryName repository, Image image,
                                                          oci::Reference reference,
                                                          std::optional<std::string> expected = {});
  io::Task<Answer<registry::ManifestPushed>> put_tag(Client& client, oci::RepositoryName repository, std::string tag,
                                                     Image image, std::optional<std::string> expected = {});
  io::Task<void> retag(Client& client);
  io::Task<void> pull(Client& client);
  io::Task<void> delete_tag(Client& client);
  io::Task<void> delete_manifest(Client& client);
  io::Task<void> erase(Client& client, oci::RepositoryName repository, oci::Digest digest);

  // cluster_corners.cc
  io::Task<void> push_index(Client& client);
  io::Task<bool> push_part(Client& client, oci::RepositoryName repository, const Image& image);
  io::Task<void> put_over(Client& client);
  io::Task<void> put_expecting(Client& client, oci::RepositoryName repository, std::string tag, oci::Digest digest,
                               std::string expected);
  io::Task<void> mount(Client& client);
  io::Task<void> look_elsewhere(Client& client);
  io::Task<void> finish_again(Client& client, oci::RepositoryName repository, std::string session, oci::Digest digest,
                              std::size_t member);

  // cluster_lists.cc
  io::Task<void> attach(Client& client);
  io::Task<void> look_at_lists(Client& client);
  // What a list shows is a read of each thing that it could show. False: there was no answer that counts.
  io::Task<bool> list_tags(Client& client, std::size_t member, oci::RepositoryName repository);
  io::Task<std::optional<std::set<oci::Digest>>> list_referrers(Client& client, std::size_t member,
                                                                oci::RepositoryName repository, oci::Digest subject);
  io::Task<void> check_lists(Client& client, std::size_t member, oci::RepositoryName repository);

  // One read, written to the histories; what the tag shows, if it was told.
  io::Task<std::optional<oci::Digest>> read_tag(Client& client, std::size_t member, oci::RepositoryName repository,
                                                std::string tag);
  io::Task<bool> read_manifest(Client& client, std::size_t member, oci::RepositoryName repository, oci::Digest digest);
  // Every blob, through this member; `must`: an error is a violation even if it is one of the moment.
  io::Task<void> read_blobs(Client& client, std::size_t member, oci::RepositoryName repository, oci::Digest digest,
                            bool must);

  // What was just acknowledged has two copies (P1), unless it could have been collected since it was asked for.
  void check_copies(Client& client, const oci::Digest& digest, io::Duration began);
  void write_down(History& history, Client& client, std::size_t member, Operation::Kind kind, std::string value,
                  io::Duration began, bool known, std::string expected = {});
  static constexpr std::string_view there = "there";  // what the history of a manifest shows
  History& tag_history(const oci::RepositoryName& repository, const std::string& tag);
  History& manifest_history(const oci::RepositoryName& repository, const oci::Digest& digest);
  auth::Access access(const Client& client) const;
  std::size_t draw_member(Client& client) { return client.random.below(cluster_.size()); }
  oci::RepositoryName draw_repository(Client& client);
  std::string draw_tag(Client& client) const { return tag_name(client.random.below(tag_count_)); }
  static oci::RepositoryName mounts() { return *oci::RepositoryName::parse("team/mounts"); }
  static std::string tag_name(std::uint64_t n) { return "t" + std::to_string(n); }
  void violation(const std::string& what);

  // cluster_disturb.cc
  void disturb();
  void disturb_members();
  void disturb_disks();
  void mend_disk(std::size_t member);
  void disturb_wires();
  void disturb_etcd();
  void mend();
  void wait_until_drained();
  bool come_together();
  void tell_status();
  // cluster_churn.cc
  enum class Churn : std::uint8_t { none, lost, set_back, drained, away };
  void disturb_machines();
  void lose_machine(std::size_t member);
  void set_back_disk(std::size_t member);
  void switch_off(std::size_t member);
  bool was_set_back(std::size_t member) const;
  bool is_away(std::size_t member) const { return churn_ == Churn::away && churned_ == member; }
  void stay_away();
  void let_rot(std::size_t member);
  io::Task<void> operate(Client& client);
  io::Task<bool> ask_for(Client& client, std::string verb, std::string id);
  bool has_left(const std::string& id);
  bool replace_drained();
  // cluster_checks.cc
  void check_all();
  io::Task<void> check_images(Client& client);
  void check_histories();
  void check_views();
  bool check_view(std::size_t member, bool last_look);
  void check_health();
  std::optional<catalog::Snapshot> newest_view();
  std::set<oci::Digest> ever_pushed() const;
  bool is_present(catalog::Snapshot& view, const oci::Digest& digest) const;
  void check_copies_without(std::size_t member);
  void check_marks(bool last_look);
  void check_marks_by(catalog::Snapshot& view, bool last_look);

  World& world_;
  SimCluster& cluster_;
  const io::Duration grace_;
  const ClusterPushPullOptions options_;
  SimExecutor executor_;  // of all clients
  SimRandom random_;
  // Of each kind of disturbance, so that a run without one kind has the others as they were.
  SimRandom of_members_;
  SimRandom of_machines_;
  SimRandom of_disks_;
  SimRandom of_wires_;
  SimRandom of_etcd_;
  std::deque<Client> clients_;
  std::vector<oci::RepositoryName> repositories_;  // one or two
  std::uint64_t tag_count_;                        // of each, one to three
  std::map<std::string, History> tags_;            // by "repository:tag"
  std::map<std::string, History> manifests_;       // by "repository@digest"; of a present one the value is "there"
  std::map<oci::Digest, Image> images_;            // ever pushed
  std::map<oci::RepositoryName, std::map<oci::Digest, std::set<oci::Digest>>> attached_;  // ever, by subject
  std::set<std::string> erased_;   // manifests whose deletion was ever asked for, as in manifests_
  std::set<std::string> offered_;  // what anybody ever tried to bring there, "repository@digest"
  const Churn churn_;
  std::optional<std::size_t> churned_;  // the member that it is, once it has begun
  std::unique_ptr<SimTree> image_;      // of the disk of churned_
  std::deque<std::string> to_forget_;   // members that the operator gives up
  std::string to_drain_;                // the member that the operator drains
  std::set<oci::Digest> rotten_;        // of which a copy has rotted
  bool working_ = true;                 // clients are not done
  std::uint64_t losses_ = 0;            // of machines or what their disks had
  io::Duration loss_at_{};              // when that was
  std::vector<std::string> violations_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t crashes_ = 0;
};

}  // namespace hansa::sim
