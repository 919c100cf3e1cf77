// What clients do at times: they resume uploads after a restart, put more tags on a manifest than one commit removes,
// push and delete at the same moment, delete what only a deleted manifest held, and read ranges of a rotten file.
#include "io/wait.h"
#include "sim/push_pull.h"

namespace hansa::sim {
namespace {

constexpr std::uint64_t longest_upload = 5 * kPage;  // so that a power cut can take one page and leave another
constexpr std::uint64_t longest_lead_us = 12'000;    // of one of two racing requests; about what a push takes
constexpr std::size_t crowd_size = 130;              // tags; above catalog::max_tags_per_commit
constexpr std::size_t most_crowds = 1;               // of one client
constexpr int looks_at_crowd = 8;
constexpr int looks_at_rot = 4;

std::string crowd_tag(std::uint64_t crowd, std::uint64_t n) {
  return "c" + std::to_string(crowd) + "-" + std::to_string(n);
}

// As a 206 has them; shorter at the blob's end.
io::Task<Result<std::string>> read_range(registry::Registry& registry, auth::Access who, oci::RepositoryName name,
                                         oci::Digest digest, registry::BlobPull range) {
  HANSA_CO_TRY(const auto blob, co_await registry.get_blob(std::move(who), std::move(name), std::move(digest), range));
  std::string bytes(range.length, '\0');
  const Bytes out(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  HANSA_CO_TRY(const std::size_t got, co_await blob.reader->read(range.offset, out));
  bytes.resize(got);
  co_return bytes;
}

}  // namespace

// ---- uploads over restarts ----------------------------------------------------------------------------------------

io::Task<void> PushPull::leave_upload(Client& client) {
  const auto life = node_.life();
  const auto power_cuts = power_cuts_;
  auto begun = co_await node_.registry().begin_upload(access(client), client.repository, oci::Algorithm::sha256);
  if (!begun || !counts(life)) co_return;
  const std::string content = client.random.hex(1 + client.random.below(longest_upload / 2));
  const std::size_t sent = client.random.one_in(2) ? content.size() : client.random.below(content.size());
  io::MemorySource source(as_bytes(content).first(sent));
  auto appended =
      co_await node_.registry().append_upload(access(client), client.repository, begun->session, std::nullopt, source);
  if (!appended || !counts(life)) co_return;
  client.unfinished.push_back({.session = begun->session, .content = content, .power_cuts = power_cuts});
}

// From where the node says that it stands. Unfinished bytes may go with the power, but what is taken for the blob in
// the end is the blob (H12).
io::Task<void> PushPull::resume_upload(Client& client) {
  if (client.unfinished.empty()) co_return;
  const auto life = node_.life();
  const Unfinished upload = client.unfinished.back();
  client.unfinished.pop_back();
  auto& registry = node_.registry();
  auto stands = co_await registry.upload_status(access(client), client.repository, upload.session);
  if (!stands || !counts(life)) co_return;
  if (stands->received > upload.content.size()) {
    violation(client, "an upload has more bytes than were sent");
    co_return;
  }
  const std::uint64_t size = upload.content.size();
  std::optional<registry::ChunkRange> range;
  if (stands->received < size) range = {.first = stands->received, .last = size - 1};
  io::MemorySource rest(as_bytes(upload.content).subspan(stands->received));
  const auto digest = sha256(upload.content);
  auto done = co_await registry.finish_upload(access(client), client.repository, upload.session, range, rest, digest);
  if (!counts(life)) co_return;
  if (!done && done.error().code == ErrorCode::invalid && upload.power_cuts == power_cuts_) {
    violation(client, "the bytes of an upload were not kept: " + describe(done.error()));
  }
  if (!done) co_return;
  ++acknowledged_;
  Image alone;
  alone.blobs.emplace(digest, upload.content);
  co_await check_image(client, std::move(alone));
}

// ---- a manifest with more tags than one commit removes (H13) --------------------------------------------------------

io::Task<void> PushPull::push_crowd(Client& client) {
  if (client.crowds == most_crowds || !client.random.one_in(2)) co_return;
  const auto crowd = client.crowds++;
  const Image image = draw_image(client.random);
  const bool there = co_await push_blobs(client, image);
  if (!there) co_return;
  client.images.insert_or_assign(image.digest, image);
  for (std::size_t first = 0; first < crowd_size; first += registry::max_tags_per_push) {
    std::vector<oci::Tag> tags;
    for (std::size_t n = first; n < crowd_size && tags.size() < registry::max_tags_per_push; ++n) {
      tags.push_back(*oci::Tag::parse(crowd_tag(crowd, n)));
      possible_of(client, tags.back().text()).insert(image.digest);
    }
    const bool pushed = co_await put_by_digest(client, image, tags);
    if (!pushed) co_return;
    for (const auto& tag : tags) possible_of(client, tag.text()) = {image.digest};
  }
  const bool gone = co_await delete_image(client, image.digest);
  if (!gone) co_return;
  co_await pull_crowd(client, crowd);
  // The manifest comes back, and not its tags. It may be refused: its blobs are protected, but not for ever.
  if (!client.random.one_in(2)) co_return;
  const bool again = co_await put_by_digest(client, image, {});
  if (again) co_await pull_crowd(client, crowd);
}

io::Task<void> PushPull::pull_crowd(Client& client, std::uint64_t crowd) {
  const auto life = node_.life();
  for (int i = 0; i < looks_at_crowd; ++i) {
    co_await pull(client, crowd_tag(crowd, client.random.below(crowd_size)));
    if (!counts(life)) co_return;
  }
}

// ---- two at the same moment ---------------------------------------------------------------------------------------

// The push of what needs something, and that thing's DELETE: one of the two has to be refused (H5).
io::Task<void> PushPull::race(Client& client) {
  const auto life = node_.life();
  Image whole;
  std::vector<Image> parts;
  const bool of_manifest = client.random.one_in(2);
  bool ready = false;
  if (of_manifest) {
    ready = co_await push_parts(client, parts);
    if (ready) whole = make_index(parts[0], parts[1]);
  } else {
    whole = draw_image(client.random);
    ready = co_await push_blobs(client, whole);
  }
  if (!ready || !counts(life)) co_return;
  const oci::Digest needed = of_manifest ? parts.front().digest : whole.config;
  bool pushed = false;
  bool deleted = false;
  io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  scope.spawn("racing push", put_racing(client, whole, &pushed));
  scope.spawn("racing delete", delete_racing(client, needed, of_manifest, &deleted));
  co_await scope.join();
  if (!counts(life) || !pushed || !deleted) co_return;
  violation(client, "a manifest was taken, and the DELETE of what it needs too: " + needed.text());
}

io::Task<void> PushPull::put_racing(Client& client, const Image& image, bool* done) {
  auto slept = co_await io::sleep_for(std::chrono::microseconds(client.random.below(longest_lead_us)));
  if (slept) *done = co_await put_by_digest(client, image, {});
}

io::Task<void> PushPull::delete_racing(Client& client, oci::Digest digest, bool manifest, bool* done) {
  const auto life = node_.life();
  auto slept = co_await io::sleep_for(std::chrono::microseconds(client.random.below(2 * longest_lead_us)));
  if (!slept || !counts(life)) co_return;
  Result<void> answer;
  if (manifest) {
    answer = co_await node_.registry().delete_manifest(access(client), client.repository, oci::Reference(digest));
  } else {
    answer = co_await node_.registry().delete_blob(access(client), client.repository, digest);
  }
  *done = answer && counts(life);
}

// ---- what a grave holds -------------------------------------------------------------------------------------------

// The configuration of an image that was just deleted, which no other image has: nothing hinders its DELETE, and after
// it nothing shows it (H14).
io::Task<void> PushPull::delete_unneeded(Client& client, const Image& image) {
  const auto life = node_.life();
  auto& registry = node_.registry();
  auto done = co_await registry.delete_blob(access(client), client.repository, image.config);
  if (!counts(life)) co_return;
  if (!done && done.error().code == ErrorCode::referenced) {
    violation(client, "DELETE of what no manifest holds is refused: " + describe(done.error()));
  }
  if (!done && done.error().code != ErrorCode::not_found) co_return;
  auto head = co_await registry.head_blob(access(client), client.repository, image.config);
  if (!counts(life)) co_return;
  if (head) violation(client, "HEAD shows a deleted blob: " + image.config.text());
  auto read = co_await registry.get_blob(access(client), client.repository, image.config);
  if (read && counts(life)) violation(client, "a deleted blob can be read: " + image.config.text());
}

// ---- rot ----------------------------------------------------------------------------------------------------------

// Ranges with and without the damaged byte: right bytes or none (P4). A push heals it.
io::Task<void> PushPull::check_rotten(const Rotten& rotten) {
  Client& client = *rotten.client;
  const std::uint64_t size = rotten.content.size();
  const int looks = client.random.one_in(2) ? looks_at_rot : 0;  // whoever pushes may be the first to come
  for (int i = 0; i < looks; ++i) {
    const bool with = client.random.one_in(2);
    const std::uint64_t first = with ? rotten.at - client.random.below(rotten.at + 1) : client.random.below(size);
    const std::uint64_t least = with ? rotten.at - first + 1 : 1;
    registry::BlobPull range;
    range.offset = first;
    range.length = client.random.between(least, size - first);
    const auto got = co_await read_range(node_.registry(), access(client), client.repository, rotten.digest, range);
    if (got && *got != rotten.content.substr(range.offset, range.length)) {
      violation(client, "a range of a rotten blob has wrong bytes");
    }
  }
  const bool healed = co_await upload(client, rotten.digest, rotten.content);
  if (!healed) {
    violation(client, "a rotten blob was not healed by a push");
    co_return;
  }
  Image alone;
  alone.blobs.emplace(rotten.digest, rotten.content);
  co_await check_image(client, std::move(alone));
}

}  // namespace hansa::sim
