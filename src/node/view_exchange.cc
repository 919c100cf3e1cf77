#include "node/view_exchange.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/wait.h"

namespace hansa::node {
namespace {

constexpr std::size_t piece_bytes = 256 * KiB;
constexpr std::size_t copy_name_bytes = 8;

// A file read piece by piece on a pool; removed with the last reader.
class FileSource final : public io::ByteSource {
 public:
  FileSource(io::Disk& disk, std::string path, std::unique_ptr<io::File> file, std::atomic<std::size_t>& count)
      : disk_(disk), path_(std::move(path)), file_(std::move(file)), count_(count) {}
  ~FileSource() override {
    file_.reset();
    static_cast<void>(disk_.remove(path_).has_value());  // what stays is overwritten by nobody and removed at the start
    --count_;
  }
  io::Task<Result<std::size_t>> read(Bytes out) override {
    auto work = [this, out] { return file_->read(at_, out.first(std::min(out.size(), piece_bytes))); };
    HANSA_CO_TRY(const std::size_t got, co_await io::blocking(io::Pool::disk, std::move(work)));
    at_ += got;
    co_return got;
  }

 private:
  io::Disk& disk_;
  std::string path_;
  std::unique_ptr<io::File> file_;
  std::atomic<std::size_t>& count_;
  std::uint64_t at_ = 0;
};

}  // namespace

std::string encode_sums(const meta::etcd::ViewSums& sums) {
  nlohmann::json json = {{"head", sums.head_version}, {"revision", sums.revision}, {"sums", nlohmann::json::object()}};
  for (const auto& [prefix, sum] : sums.sums) json["sums"][prefix] = sum;
  return json.dump();
}

Result<meta::etcd::ViewSums> decode_sums(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  meta::etcd::ViewSums out;
  const bool understood = json.is_object() && json.contains("head") && json["head"].is_number_unsigned() &&
                          json.contains("revision") && json["revision"].is_number_unsigned() && json.contains("sums") &&
                          json["sums"].is_object();
  if (!understood) return make_error(ErrorCode::corrupt, "a peer's sums of its view are not understood");
  out.head_version = json["head"].get<std::uint64_t>();
  out.revision = json["revision"].get<std::uint64_t>();
  for (const auto& [prefix, sum] : json["sums"].items()) {
    if (sum.is_string()) out.sums.emplace_back(prefix, sum.get<std::string>());
  }
  return out;
}

std::vector<std::string> differing(const meta::etcd::ViewSums& mine, const meta::etcd::ViewSums& theirs) {
  std::vector<std::string> out;
  if (mine.head_version != theirs.head_version || mine.head_version == 0) return out;
  std::map<std::string, std::pair<std::string, std::string>> both;
  for (const auto& [prefix, sum] : mine.sums) both[prefix].first = sum;
  for (const auto& [prefix, sum] : theirs.sums) both[prefix].second = sum;
  for (const auto& [prefix, pair] : both) {
    if (pair.first != pair.second) out.push_back(prefix);
  }
  return out;
}

ViewExchange::ViewExchange(io::Disk& disk, io::Random& random, Logger& log, io::PeerNetwork& peers,
                           const cluster::Membership& members, meta::etcd::Store& store, std::string folder)
    : disk_(disk),
      random_(random),
      log_(log),
      peers_(peers),
      members_(members),
      store_(store),
      folder_(std::move(folder)) {}

void ViewExchange::serve(cluster::PeerDispatch& dispatch) {
  dispatch.on("view.copy", [this](io::NodeId, io::PeerRequest) { return answer_copy(); });
  dispatch.on("view.sums", [this](io::NodeId, io::PeerRequest) { return answer_sums(); });
}

io::Task<Result<io::PeerResponse>> ViewExchange::answer_copy() {
  if (copies_.fetch_add(1) >= max_view_copies) {
    --copies_;
    co_return make_error(ErrorCode::too_many, "this member gives its view to others already; ask another");
  }
  const std::string path = folder_ + "/view-copy-" + random_.hex(copy_name_bytes) + ".db";
  auto copy = [this, &path]() -> Result<std::unique_ptr<io::File>> {
    HANSA_CHECK(store_.copy_view(path));
    return disk_.open(path, io::OpenMode::read);
  };
  auto file = co_await io::blocking(io::Pool::upkeep, std::move(copy));
  if (!file) {
    --copies_;
    co_return std::move(file).error();
  }
  const meta::Revision revision = store_.health().applied;
  co_return io::PeerResponse{.result = R"({"revision":)" + std::to_string(revision) + "}",
                             .body = std::make_shared<FileSource>(disk_, path, std::move(*file), copies_)};
}

io::Task<Result<io::PeerResponse>> ViewExchange::answer_sums() {
  auto work = [this] { return store_.sums(); };
  HANSA_CO_TRY(const auto sums, co_await io::blocking(io::Pool::upkeep, std::move(work)));
  co_return io::PeerResponse{.result = encode_sums(sums), .body = nullptr};
}

io::Task<void> ViewExchange::compare_loop() {
  while (true) {
    auto slept = co_await io::sleep_for(compare_views_every);
    if (!slept) co_return;
    for (const auto& member : members_.members()) {
      if (member.alive && member.id != members_.self()) co_await compare_with(member.id);
    }
  }
}

io::Task<void> ViewExchange::compare_with(io::NodeId peer) {
  auto call = peers_.call(peer, {.verb = "view.sums", .arguments = "{}", .body = nullptr});
  auto answer = co_await io::with_deadline(view_sums_deadline, std::move(call));
  if (!answer) co_return;  // its liveness is watched elsewhere
  const auto theirs = decode_sums(answer->result);
  auto work = [this] { return store_.sums(); };
  const auto mine = co_await io::blocking(io::Pool::upkeep, std::move(work));
  if (!theirs || !mine) co_return;
  const auto prefixes = differing(*mine, *theirs);
  if (prefixes.empty()) co_return;
  ++differences_;
  std::string names;
  for (const auto& prefix : prefixes) names += (names.empty() ? "" : ", ") + prefix;
  log_.error("this view differs from a peer's at the same version; it is loaded anew",
             {{"peer", peer.value()}, {"records", names}, {"head", mine->head_version}});
  store_.resync("it differs from the view of " + peer.value() + " in " + names);
}

}  // namespace hansa::node
