#include "cluster/copies.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace hansa::cluster {
namespace {

constexpr std::size_t piece_bytes = 1024 * 1024;
constexpr std::size_t name_bytes = 12;

// A blob's bytes in order, from `at` on.
class BlobSource final : public io::ByteSource {
 public:
  BlobSource(std::shared_ptr<blob::BlobReader> reader, std::uint64_t at) : reader_(std::move(reader)), at_(at) {}
  io::Task<Result<std::size_t>> read(Bytes out) override {
    if (at_ >= reader_->size()) co_return std::size_t{0};
    HANSA_CO_TRY(const std::size_t got, co_await reader_->read(at_, out));
    at_ += got;
    co_return got;
  }

 private:
  std::shared_ptr<blob::BlobReader> reader_;
  std::uint64_t at_;
};

Error not_understood(std::string_view what) {
  return make_error(ErrorCode::invalid, Subject::request, "a peer's request is not understood: " + std::string(what));
}

struct BlobArguments {
  oci::Digest digest;
  std::uint64_t number = 0;  // size or offset
};
Result<BlobArguments> parse_arguments(const std::string& text, const char* number) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("digest") || !json["digest"].is_string()) return not_understood("no digest");
  BlobArguments out;
  HANSA_TRY(out.digest, oci::Digest::parse(json["digest"].get<std::string>()));
  const auto found = json.find(number);
  if (found != json.end() && found->is_number_unsigned()) out.number = found->get<std::uint64_t>();
  return out;
}

std::string arguments(const oci::Digest& digest, const char* name, std::uint64_t number) {
  return nlohmann::json{{"digest", digest.text()}, {name, number}}.dump();
}

std::string encode(const blob::Receipt& receipt) {
  return nlohmann::json{{"node", receipt.node}, {"disk", receipt.disk}, {"tick", receipt.tick}}.dump();
}

Result<catalog::Receipt> decode_receipt(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const bool understood = json.is_object() && json.contains("node") && json["node"].is_string() &&
                          json.contains("disk") && json["disk"].is_string() && json.contains("tick") &&
                          json["tick"].is_number_unsigned();
  if (!understood) return make_error(ErrorCode::corrupt, "a peer's receipt is not understood");
  return catalog::Receipt{.node = json["node"].get<std::string>(),
                          .disk = json["disk"].get<std::string>(),
                          .tick = json["tick"].get<std::uint64_t>()};
}

Error nobody_has(const oci::Digest& digest) {
  return make_error(
      ErrorCode::unavailable, Subject::blob,
      "the bytes of " + digest.text() + " cannot be had now; try again, or push the blob again to heal it");
}

}  // namespace

Copies::Copies(io::PeerNetwork& peers, const Membership& members, blob::BlobStore& blobs, catalog::Catalog& catalog,
               io::Random& random, Logger& log)
    : peers_(peers), members_(members), blobs_(blobs), catalog_(catalog), random_(random), log_(log) {}

void Copies::serve(PeerDispatch& dispatch) {
  dispatch.on("ping", [this](io::NodeId, io::PeerRequest) -> io::Task<Result<io::PeerResponse>> {
    co_return io::PeerResponse{.result = nlohmann::json{{"node", members_.self().value()}}.dump(), .body = nullptr};
  });
  dispatch.on("blob.get", [this](io::NodeId, io::PeerRequest request) { return answer_get(std::move(request)); });
  dispatch.on("blob.put", [this](io::NodeId, io::PeerRequest request) { return answer_put(std::move(request)); });
  dispatch.on("blob.receipt",
              [this](io::NodeId, io::PeerRequest request) { return answer_receipt(std::move(request)); });
}

std::vector<io::NodeId> Copies::others(bool in_layout) const {
  auto members = members_.members();
  std::erase_if(members, [&](const MemberState& member) {
    const bool counts = !in_layout || (member.in_layout && member.record.state == "active");
    return !member.alive || !counts || member.id == members_.self();
  });
  // Equals in a drawn order, so that not all ask the same one.
  for (std::size_t i = members.size(); i > 1; --i) std::swap(members[i - 1], members[random_.below(i)]);
  std::ranges::sort(members, {}, [](const MemberState& member) { return member.load.uploads; });
  std::vector<io::NodeId> out;
  for (auto& member : members) out.push_back(std::move(member.id));
  return out;
}

// ---- second copies ----------------------------------------------------------------------------------------------

io::Task<Result<std::vector<catalog::Receipt>>> Copies::confirm(oci::Digest digest, blob::Receipt own) {
  std::vector<catalog::Receipt> receipts{{.node = own.node, .disk = own.disk, .tick = own.tick}};
  std::uint64_t wanted = 1;
  {
    HANSA_CO_TRY(auto view, catalog_.snapshot());
    HANSA_CO_TRY(const auto layout, view.layout());
    if (layout) wanted = layout->record.write_copies;
  }
  if (receipts.size() >= wanted) co_return receipts;
  std::string why = "no other member is alive";
  for (const auto& peer : others(true)) {
    auto receipt = co_await receipt_from(peer, digest);
    if (receipt) {
      receipts.push_back(std::move(*receipt));
      if (receipts.size() >= wanted) co_return receipts;
      continue;
    }
    if (receipt.error().code == ErrorCode::cancelled) co_return std::move(receipt).error();
    why = peer.value() + ": " + receipt.error().message;
    log_.warn("a member takes no copy; the next one is asked", {{"peer", peer.value()}, {"error", why}});
  }
  co_return make_error(ErrorCode::unavailable, Subject::blob,
                       "a second copy of " + digest.text() + " cannot be made now (" + why + "); try again later");
}

io::Task<Result<catalog::Receipt>> Copies::receipt_from(io::NodeId peer, oci::Digest digest) {
  HANSA_CO_TRY(auto reader, co_await blobs_.open(digest));
  if (reader->size() <= small_copy) {
    co_return co_await io::with_deadline(small_copy_deadline, send_copy(peer, digest, std::move(reader)));
  }
  auto has = co_await io::with_deadline(receipt_deadline, ask_receipt(peer, digest));
  if (has || has.error().code != ErrorCode::not_found) co_return has;
  co_return co_await send_copy(std::move(peer), digest, std::move(reader));
}

io::Task<Result<catalog::Receipt>> Copies::ask_receipt(io::NodeId peer, oci::Digest digest) {
  io::PeerRequest request{.verb = "blob.receipt", .arguments = arguments(digest, "size", 0), .body = nullptr};
  HANSA_CO_TRY(const auto answer, co_await peers_.call(std::move(peer), std::move(request)));
  co_return decode_receipt(answer.result);
}

io::Task<Result<catalog::Receipt>> Copies::send_copy(io::NodeId peer, oci::Digest digest,
                                                     std::shared_ptr<blob::BlobReader> reader) {
  io::PeerRequest request{.verb = "blob.put",
                          .arguments = arguments(digest, "size", reader->size()),
                          .body = std::make_shared<BlobSource>(reader, 0)};
  HANSA_CO_TRY(const auto answer, co_await peers_.call(std::move(peer), std::move(request)));
  co_return decode_receipt(answer.result);
}

// ---- bytes that are missing here --------------------------------------------------------------------------------

io::Task<Result<std::shared_ptr<blob::BlobReader>>> Copies::obtain(oci::Digest digest) {
  constexpr int tries = 3;  // a fetch ends with the request that leads it
  for (int i = 0; i < tries; ++i) {
    auto opened = co_await blobs_.open(digest);
    if (opened || opened.error().code != ErrorCode::not_found) co_return opened;
    auto fetched = co_await fetch(digest);
    if (!fetched && fetched.error().code != ErrorCode::cancelled) co_return std::move(fetched).error();
    io::TaskContext& context = co_await io::current_context();
    if (context.cancelled()) co_return make_error(ErrorCode::cancelled, "the request was cancelled");
  }
  co_return nobody_has(digest);
}

io::Task<Result<void>> Copies::fetch(oci::Digest digest) {
  bool leads = false;
  {
    const std::lock_guard guard(mutex_);
    leads = flights_.try_emplace(digest).second;
  }
  if (!leads) {
    auto wait = io::wait_for<Result<void>>([this, &digest](Fetched done) -> io::Work {
      const std::lock_guard guard(mutex_);
      const auto flight = flights_.find(digest);
      if (flight == flights_.end()) {
        done.complete(Result<void>{});
      } else {
        flight->second.push_back(done);
      }
      return [done] { done.complete(make_error(ErrorCode::cancelled, "the wait for a blob was cancelled")); };
    });
    co_return co_await wait;
  }
  Result<void> outcome = nobody_has(digest);
  for (const auto& peer : others(false)) {
    auto fetched = co_await fetch_from(peer, digest);
    if (fetched || fetched.error().code == ErrorCode::cancelled) {
      outcome = std::move(fetched);
      break;
    }
    log_.debug("a member does not give a blob", {{"peer", peer.value()}, {"error", fetched.error().message}});
  }
  std::vector<Fetched> waiting;
  {
    const std::lock_guard guard(mutex_);
    waiting = std::move(flights_[digest]);
    flights_.erase(digest);
  }
  for (const auto& done : waiting) done.complete(outcome);
  co_return outcome;
}

io::Task<Result<void>> Copies::fetch_from(io::NodeId peer, oci::Digest digest) {
  io::PeerRequest request{.verb = "blob.get", .arguments = arguments(digest, "offset", 0), .body = nullptr};
  HANSA_CO_TRY(auto answer, co_await peers_.call(std::move(peer), std::move(request)));
  const auto json = nlohmann::json::parse(answer.result, nullptr, false);
  if (!json.is_object() || !json.contains("size") || !json["size"].is_number_unsigned() || answer.body == nullptr) {
    co_return make_error(ErrorCode::corrupt, "a peer's answer is not understood");
  }
  HANSA_CO_CHECK(co_await take(std::move(answer.body), digest, json["size"].get<std::uint64_t>()));
  co_return Result<void>{};
}

// Staged, hashed, compared and made durable like an upload.
io::Task<Result<blob::Receipt>> Copies::take(std::shared_ptr<io::ByteSource> body, oci::Digest digest,
                                             std::uint64_t size) {
  const std::string id = "peer-" + random_.hex(name_bytes);
  HANSA_CO_TRY(auto staged, co_await blobs_.create_staged(id, digest.algorithm()));
  auto filled = co_await fill(staged.get(), body.get(), size);
  if (filled) {
    auto receipt = co_await blobs_.finish(staged, digest);
    if (receipt) co_return receipt;
    filled = std::move(receipt).error();
  }
  staged.reset();
  auto removed = co_await blobs_.discard_staged(id);
  if (!removed) log_.warn("cannot remove a broken copy", {{"error", removed.error().message}});
  co_return std::move(filled).error();
}

io::Task<Result<void>> Copies::fill(blob::StagedBlob* staged, io::ByteSource* body, std::uint64_t size) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(piece_bytes, std::max<std::uint64_t>(size, 1)));
  while (true) {
    HANSA_CO_TRY(const std::size_t got, co_await body->read(buffer));
    if (got == 0) break;
    HANSA_CO_CHECK(co_await staged->append(ConstBytes(buffer).first(got)));
    if (staged->size() > size) break;
  }
  if (staged->size() == size) co_return Result<void>{};
  co_return make_error(ErrorCode::disconnected,
                       "a peer sent other than the " + std::to_string(size) + " bytes it said");
}

// ---- for the peers ----------------------------------------------------------------------------------------------

io::Task<Result<io::PeerResponse>> Copies::answer_get(io::PeerRequest request) {
  HANSA_CO_TRY(const BlobArguments asked, parse_arguments(request.arguments, "offset"));
  HANSA_CO_TRY(auto reader, co_await blobs_.open(asked.digest));
  if (asked.number > reader->size()) {
    co_return make_error(ErrorCode::range, Subject::blob,
                         "the blob has only " + std::to_string(reader->size()) + " bytes");
  }
  const std::string result = nlohmann::json{{"size", reader->size()}}.dump();
  co_return io::PeerResponse{.result = result, .body = std::make_shared<BlobSource>(std::move(reader), asked.number)};
}

io::Task<Result<io::PeerResponse>> Copies::answer_put(io::PeerRequest request) {
  HANSA_CO_TRY(const BlobArguments asked, parse_arguments(request.arguments, "size"));
  if (request.body == nullptr) co_return not_understood("a copy without bytes");
  if (receiving_.fetch_add(1) >= max_receiving) {
    --receiving_;
    co_return make_error(ErrorCode::too_many, "this member receives too many blobs at the same time");
  }
  auto receipt = co_await take(std::move(request.body), asked.digest, asked.number);
  --receiving_;
  if (!receipt) co_return std::move(receipt).error();
  co_return io::PeerResponse{.result = encode(*receipt), .body = nullptr};
}

io::Task<Result<io::PeerResponse>> Copies::answer_receipt(io::PeerRequest request) {
  HANSA_CO_TRY(const BlobArguments asked, parse_arguments(request.arguments, "size"));
  HANSA_CO_TRY(const auto receipt, co_await blobs_.renew_receipt(asked.digest));
  co_return io::PeerResponse{.result = encode(receipt), .body = nullptr};
}

}  // namespace hansa::cluster
