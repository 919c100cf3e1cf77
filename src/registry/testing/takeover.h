// ClusterTakeover: three members, an upload through any of them, and their ends. For tests only.
#pragma once

#include "registry/testing/cluster_bed.h"

namespace hansa::registry::testing {

using namespace std::chrono_literals;

inline const std::string large(3'000'000, 'l');

class ClusterTakeover : public ::testing::Test {
 protected:
  void SetUp() override { bed.settle(); }
  std::string begin(const std::string& at) {
    return bed[at].run(bed[at].registry->begin_upload(bed[at].alice(), repository, oci::Algorithm::sha256))->session;
  }
  Result<UploadStatus> status(const std::string& at, const std::string& session, const std::string& user = "alice") {
    return bed[at].run(bed[at].registry->upload_status(bed[at].as(user), repository, session));
  }
  Result<UploadStatus> append(const std::string& at, const std::string& session, const std::string& text,
                              std::optional<std::uint64_t> first = std::nullopt) {
    io::MemorySource source(as_bytes(text));
    std::optional<ChunkRange> range;
    if (first) range = ChunkRange{.first = *first, .last = *first + text.size() - 1};
    return bed[at].run(bed[at].registry->append_upload(bed[at].alice(), repository, session, range, source));
  }
  Result<void> finish(const std::string& at, const std::string& session, const std::string& whole,
                      const std::string& rest = "") {
    io::MemorySource source(as_bytes(rest));
    return bed[at].run(
        bed[at].registry->finish_upload(bed[at].alice(), repository, session, std::nullopt, source, digest(whole)));
  }
  static std::uint64_t received(const Result<UploadStatus>& answer) {
    EXPECT_TRUE(answer) << describe(answer.error());
    return answer ? answer->received : 0;
  }
  // The process ends without a word; the others have noticed.
  void lose(const std::string& id, bool lease_ended = true) {
    bed.stop(id, lease_ended);
    bed.shared.world.run_for(2s);
  }
  std::string keeper() { return bed["n2"].asked["relay.append"] > 0 ? "n2" : "n3"; }
  std::string other(const std::string& id) { return id == "n2" ? "n3" : "n2"; }

  const oci::RepositoryName repository = name("team/app");
  ClusterBed bed{3};
};

}  // namespace hansa::registry::testing
