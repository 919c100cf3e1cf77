#include "node/view_fetch.h"

#include <map>

#include "catalog/snapshot.h"
#include "io/wait.h"
#include "meta/sqlite/replica.h"

namespace hansa::node {
namespace {

constexpr std::size_t piece_bytes = 256 * KiB;

Error nobody() {
  return make_error(ErrorCode::not_found, "no member gave a copy of its view");
}

}  // namespace

ViewFetch::ViewFetch(io::Disk& disk, Logger& log, io::PeerNetwork& peers, PeerDirectory* directory, std::string self,
                     std::string folder)
    : disk_(disk),
      log_(log),
      peers_(peers),
      directory_(directory),
      self_(std::move(self)),
      folder_(std::move(folder)) {}

Result<std::vector<ViewFetch::Peer>> ViewFetch::peers_of(std::unique_ptr<meta::sqlite::ReadTransaction> stale) const {
  catalog::TickCache ticks;
  catalog::Snapshot view(std::move(stale), ticks);
  HANSA_TRY(const auto nodes, view.nodes());
  std::vector<Peer> out;
  for (const auto& node : nodes) {
    if (node.id == self_ || node.record.state == "gone") continue;
    out.push_back({.id = io::NodeId(node.id), .address = node.record.addresses.peer});
  }
  return out;
}

// At a start nobody has told the network yet where the members are.
void ViewFetch::make_reachable(const std::vector<Peer>& peers) {
  if (directory_ == nullptr || directory_->is_set()) return;
  std::map<io::NodeId, std::string> addresses;
  for (const auto& peer : peers) {
    if (!peer.address.empty()) addresses.emplace(peer.id, peer.address);
  }
  directory_->set([addresses = std::move(addresses)](const io::NodeId& id) -> std::optional<std::string> {
    const auto known = addresses.find(id);
    return known == addresses.end() ? std::nullopt : std::optional(known->second);
  });
}

io::Task<Result<std::string>> ViewFetch::fetch(std::unique_ptr<meta::sqlite::ReadTransaction> stale) {
  HANSA_CO_TRY(const auto peers, peers_of(std::move(stale)));
  make_reachable(peers);
  const std::string path = folder_ + "/" + std::string(fetched_view_name);
  for (const auto& peer : peers) {
    auto copied = co_await copy_from(peer.id, path);
    if (copied) {
      log_.info("took a copy of a member's view", {{"member", peer.id.value()}});
      co_return path;
    }
    log_.debug("a member gave no copy of its view", {{"member", peer.id.value()}, {"error", copied.error().message}});
    if (copied.error().code == ErrorCode::cancelled) co_return std::move(copied).error();
  }
  co_return nobody();
}

io::Task<Result<void>> ViewFetch::copy_from(io::NodeId peer, std::string path) {
  auto call = peers_.call(std::move(peer), {.verb = "view.copy", .arguments = "{}", .body = nullptr});
  HANSA_CO_TRY(const auto answer, co_await io::with_deadline(view_copy_answer, std::move(call)));
  if (!answer.body) co_return make_error(ErrorCode::corrupt, "the answer has no body");
  auto make = [this, &path]() -> Result<std::unique_ptr<io::File>> {
    meta::sqlite::Replica::remove_files(disk_, path);  // what an earlier process left
    return disk_.open(path, io::OpenMode::create_private);
  };
  HANSA_CO_TRY(const auto file, co_await io::blocking(io::Pool::disk, std::move(make)));
  std::vector<std::byte> piece(piece_bytes);
  std::uint64_t at = 0;
  while (true) {
    HANSA_CO_TRY(const std::size_t got, co_await io::with_deadline(view_copy_stall, answer.body->read(piece)));
    if (got == 0) co_return Result<void>{};
    auto write = [&] { return file->write(at, ConstBytes(piece).first(got)); };
    HANSA_CO_CHECK(co_await io::blocking(io::Pool::disk, std::move(write)));
    at += got;
  }
}

}  // namespace hansa::node
