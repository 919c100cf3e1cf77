// PushPull: clients that push, retag, mount, pull and delete images on one node while collection runs, and a model of
// what they were promised.
//
// Checked: P1 and P2 (what was acknowledged is there, whole, after any crash), P4 (bytes are those of their digest),
// P7 (collection takes nothing that is needed, and everything else in the end), P8 (deletes are final).
// An answer that was cut off is ambiguous: it happened once or not at all, and the model keeps both.
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
  std::size_t operations = 25;  // of each client
  bool crashes = true;
  bool disk_faults = true;
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
  struct Client {
    Client(std::size_t n, oci::RepositoryName name, std::uint64_t seed)
        : number(n), repository(std::move(name)), random(seed, repository.text()) {}
    std::size_t number;
    oci::RepositoryName repository;
    std::map<std::string, Possible> tags;
    std::map<oci::Digest, Image> images;  // ever pushed
    std::size_t done = 0;
    SimRandom random;
  };

  io::Task<void> client_loop(Client& client);
  io::Task<bool> push_blobs(Client& client, const Image& image);
  io::Task<void> push_tagged(Client& client, Image image);
  io::Task<void> push_image(Client& client);
  io::Task<void> push_index(Client& client);
  io::Task<bool> push_blob(Client& client, oci::Digest digest, const std::string& content);
  io::Task<void> delete_tag(Client& client);
  io::Task<void> delete_manifest(Client& client);
  io::Task<void> pull(Client& client, std::string tag);
  io::Task<void> check_image(Client& client, Image image);
  io::Task<void> abandon_upload(Client& client);
  io::Task<void> mount(Client& client);
  io::Task<void> delete_blob(Client& client);
  io::Task<void> check_all();

  std::string pick_tag(Client& client) { return "t" + std::to_string(client.random.below(4)); }
  auth::Access access(const Client& client) const;
  // True when the answer counts: the node's life in which the request began still goes on.
  bool counts(std::uint64_t life) const { return life == node_.life(); }
  void violation(const Client& client, const std::string& what);
  void disturb();
  void check_disk();

  World& world_;
  SimNode& node_;
  PushPullOptions options_;
  SimRandom random_;
  std::deque<Client> clients_;
  std::vector<std::string> violations_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t crashes_ = 0;
};

}  // namespace hansa::sim
