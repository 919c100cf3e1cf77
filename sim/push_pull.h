// PushPull: clients that push, retag, mount, pull and delete images on one node while collection runs, and a model of
// what they were promised.
//
// Checked: P1 and P2 (what was acknowledged is there, whole, after any crash), P4 (bytes are those of their digest, of
// ranges too, and rot is no exception), P7 (collection takes nothing that is needed, and everything else in the end),
// P8 (deletes are final).
// An answer that was cut off is ambiguous: it happened once or not at all, and the model keeps both.
//
// push_pull.cc has what clients do as a rule, push_pull_corners.cc what they do at times, push_pull_course.cc what
// disturbs them and what is checked in the end.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/image.h"
#include "sim/sim_node.h"

namespace hansa::sim {

struct PushPullOptions {
  std::size_t clients = 3;
  std::size_t operations = 25;                   // of each client
  io::Duration grace = std::chrono::seconds(4);  // the node's
  bool crashes = true;
  bool disk_faults = true;
  bool rot = true;
};

class PushPull {
 public:
  PushPull(World& world, SimNode& node, PushPullOptions options);

  // Runs the workload to its end, heals, waits until collection has settled, and checks everything.
  void run_all();

  const std::vector<std::string>& violations() const { return violations_; }
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t crashes() const { return crashes_; }

 private:
  // What a tag may show; an empty optional is "nothing".
  using Possible = std::set<std::optional<oci::Digest>>;
  // An upload whose bytes were taken and that nobody has finished.
  struct Unfinished {
    std::string session;
    std::string content;
    std::uint64_t power_cuts = 0;  // before its bytes were taken
  };
  struct Client {
    Client(std::size_t n, oci::RepositoryName name, std::uint64_t seed)
        : number(n), repository(std::move(name)), random(seed, repository.text()) {}
    std::size_t number;
    oci::RepositoryName repository;
    std::map<std::string, Possible> tags;
    std::map<oci::Digest, Image> images;  // ever pushed
    std::set<oci::Digest> erased;         // manifests whose DELETE was acknowledged, and that were not pushed since
    std::vector<Unfinished> unfinished;
    std::size_t crowds = 0;
    std::size_t done = 0;
    SimRandom random;
  };
  // A stored blob of which a bit was turned.
  struct Rotten {
    Client* client = nullptr;
    oci::Digest digest;
    std::string content;
    std::uint64_t at = 0;
  };

  io::Task<void> client_loop(Client& client);
  io::Task<bool> push_blobs(Client& client, const Image& image);
  io::Task<void> push_tagged(Client& client, Image image, io::Duration began);
  io::Task<void> push_image(Client& client);
  io::Task<bool> push_parts(Client& client, std::vector<Image>& parts);
  io::Task<void> push_index(Client& client);
  io::Task<bool> push_blob(Client& client, oci::Digest digest, const std::string& content);
  io::Task<bool> upload(Client& client, oci::Digest digest, const std::string& content);
  io::Task<bool> put_by_digest(Client& client, const Image& image, std::vector<oci::Tag> tags);
  io::Task<void> delete_tag(Client& client);
  io::Task<void> delete_manifest(Client& client);
  io::Task<bool> delete_image(Client& client, oci::Digest digest);
  io::Task<void> pull(Client& client, std::string tag);
  io::Task<void> check_image(Client& client, Image image);
  io::Task<void> mount(Client& client);
  io::Task<void> delete_blob(Client& client);

  // push_pull_corners.cc
  io::Task<void> leave_upload(Client& client);
  io::Task<void> resume_upload(Client& client);
  io::Task<void> push_crowd(Client& client);
  io::Task<void> pull_crowd(Client& client, std::uint64_t crowd);
  io::Task<void> race(Client& client);
  io::Task<void> put_racing(Client& client, const Image& image, bool* done);
  io::Task<void> delete_racing(Client& client, oci::Digest digest, bool manifest, bool* done);
  io::Task<void> delete_unneeded(Client& client, const Image& image);
  io::Task<void> check_rotten(const Rotten& rotten);

  // push_pull_course.cc
  io::Task<void> check_all();
  void disturb();
  void run_part(io::TaskScope& scope);
  bool start_again();
  std::optional<Rotten> let_rot();
  std::set<std::string> needed_files() const;
  void check_disk();

  std::string pick_tag(Client& client) { return "t" + std::to_string(client.random.below(4)); }
  Possible& possible_of(Client& client, const std::string& tag) {
    return client.tags.try_emplace(tag, Possible{std::nullopt}).first->second;
  }
  auth::Access access(const Client& client) const;
  // True when the answer counts: the node's life in which the request began still goes on.
  bool counts(std::uint64_t life) const { return life == node_.life(); }
  void violation(const Client& client, const std::string& what);

  World& world_;
  SimNode& node_;
  PushPullOptions options_;
  SimRandom random_;
  std::deque<Client> clients_;
  std::vector<std::string> violations_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t crashes_ = 0;
  std::uint64_t power_cuts_ = 0;
};

// What disturb() makes the disk say, and no statement on what is stored.
inline bool is_fault(const Error& error) {
  return error.code == ErrorCode::io || error.code == ErrorCode::out_of_space;
}

}  // namespace hansa::sim
