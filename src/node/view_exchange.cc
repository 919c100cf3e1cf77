#include "node/view_exchange.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "io/wait.h"
#include "meta/sqlite/replica.h"

namespace hansa::node {
namespace {

constexpr std::size_t piece_bytes = 256 * KiB;
constexpr std::string_view copy_prefix = "view-copy-";
constexpr std::size_t copy_name_bytes = 8;

// A file read piece by piece on a pool. It has no name any more: its space is free once nobody reads it, however this
// process ends.
class FileSource final : public io::ByteSource {
 public:
  FileSource(std::unique_ptr<io::File> file, std::atomic<std::size_t>& count) : file_(std::move(file)), count_(count) {}
  ~FileSource() override { --count_; }
  io::Task<Result<std::size_t>> read(Bytes out) override {
    auto work = [this, out] { return file_->read(at_, out.first(std::min(out.size(), piece_bytes))); };
    HANSA_CO_TRY(const std::size_t got, co_await io::blocking(io::Pool::disk, std::move(work)));
    at_ += got;
    co_return got;
  }

 private:
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

bool is_to_load(const std::string& self, const meta::etcd::ViewSums& mine,
                const std::map<std::string, meta::etcd::ViewSums>& theirs, bool differed_before) {
  std::size_t with_me = 1;
  std::map<std::vector<std::pair<std::string, std::string>>, std::size_t> others;  // by what they show
  bool first = true;                                                               // of those that differ
  for (const auto& [id, sums] : theirs) {
    if (sums.head_version != mine.head_version || mine.head_version == 0) continue;
    if (differing(mine, sums).empty()) {
      ++with_me;
      continue;
    }
    ++others[sums.sums];
    first = first && self < id;
  }
  std::size_t most = 0;
  for (const auto& [sums, count] : others) most = std::max(most, count);
  if (most != with_me) return most > with_me;
  return first || differed_before;
}

void ViewExchange::remove_leftovers(io::Disk& disk, const std::string& folder) {
  const auto entries = disk.list(folder);
  if (!entries) return;
  for (const auto& entry : *entries) {
    if (entry.name.starts_with(copy_prefix)) static_cast<void>(disk.remove(folder + "/" + entry.name).has_value());
  }
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
  const std::string path = folder_ + "/" + std::string(copy_prefix) + random_.hex(copy_name_bytes) + ".db";
  auto copy = [this, &path]() -> Result<std::unique_ptr<io::File>> {
    Result<std::unique_ptr<io::File>> file = make_error(ErrorCode::internal, "not copied");
    const auto copied = store_.copy_view(path);
    file = copied ? disk_.open(path, io::OpenMode::read) : Result<std::unique_ptr<io::File>>(copied.error());
    meta::sqlite::Replica::remove_files(disk_, path);
    return file;
  };
  auto file = co_await io::blocking(io::Pool::upkeep, std::move(copy));
  if (!file) {
    --copies_;
    co_return std::move(file).error();
  }
  const meta::Revision revision = store_.health().applied;
  co_return io::PeerResponse{.result = R"({"revision":)" + std::to_string(revision) + "}",
                             .body = std::make_shared<FileSource>(std::move(*file), copies_)};
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
    auto compared = co_await compare();
    if (!compared && compared.error().code == ErrorCode::cancelled) co_return;
  }
}

io::Task<Result<meta::etcd::ViewSums>> ViewExchange::ask(io::NodeId peer) {
  auto call = peers_.call(std::move(peer), {.verb = "view.sums", .arguments = "{}", .body = nullptr});
  HANSA_CO_TRY(const auto answer, co_await io::with_deadline(view_sums_deadline, std::move(call)));
  co_return decode_sums(answer.result);
}

io::Task<Result<void>> ViewExchange::compare() {
  std::map<std::string, meta::etcd::ViewSums> theirs;
  for (const auto& member : members_.members()) {
    if (!member.alive || member.id == members_.self()) continue;
    auto sums = co_await ask(member.id);  // whether a member lives is watched elsewhere
    if (!sums && sums.error().code == ErrorCode::cancelled) co_return sums.error();
    if (sums) theirs[member.id.value()] = *std::move(sums);
  }
  auto work = [this] { return store_.sums(); };
  HANSA_CO_TRY(const auto mine, co_await io::blocking(io::Pool::upkeep, std::move(work)));
  std::string peers;
  std::set<std::string> records;
  for (const auto& [id, sums] : theirs) {
    const auto prefixes = differing(mine, sums);
    if (prefixes.empty()) continue;
    ++differences_;
    peers += (peers.empty() ? "" : ", ") + id;
    records.insert(prefixes.begin(), prefixes.end());
  }
  const bool load = !peers.empty() && is_to_load(members_.self().value(), mine, theirs, differed_);
  differed_ = !peers.empty();
  if (peers.empty()) co_return Result<void>{};
  std::string names;
  for (const auto& prefix : records) names += (names.empty() ? "" : ", ") + prefix;
  log_.error(load ? "this view differs from a peer's at the same version; it is loaded anew"
                  : "this view differs from a peer's at the same version; the peer loads its own anew",
             {{"peers", peers}, {"records", names}, {"head", mine.head_version}});
  if (load) store_.resync("it differs from the view of " + peers + " in " + names);
  co_return Result<void>{};
}

}  // namespace hansa::node
