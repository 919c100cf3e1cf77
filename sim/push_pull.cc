#include "sim/push_pull.h"

#include "io/wait.h"

namespace hansa::sim {
namespace {

constexpr std::uint64_t slowest_client_ms = 3500;  // from blobs to manifest; less than the grace time

}  // namespace

PushPull::PushPull(World& world, SimNode& node, PushPullOptions options)
    : world_(world), node_(node), options_(options), random_(world.random("workload")) {
  for (std::size_t i = 0; i < options_.clients; ++i) {
    const std::string text = "team/app" + std::to_string(i);
    clients_.emplace_back(i, *oci::RepositoryName::parse(text), world.seed());
  }
}

auth::Access PushPull::access(const Client& client) const {
  return {auth::Identity{.user = "client" + std::to_string(client.number), .groups = {}}, auth::allow_everything()};
}

void PushPull::violation(const Client& client, const std::string& what) {
  violations_.push_back(client.repository.text() + ": " + what);
  node_.log().error(violations_.back());
  world_.note("violation");
}

// ---- operations -------------------------------------------------------------------------------------------------

io::Task<bool> PushPull::push_blob(Client& client, oci::Digest digest, const std::string& content) {
  const auto life = node_.life();
  auto& registry = node_.registry();
  auto head = co_await registry.head_blob(access(client), client.repository, digest);
  if (!counts(life)) co_return false;
  if (head) co_return true;  // confirmed: protected for a grace time (P7)
  co_return co_await upload(client, std::move(digest), content);
}

io::Task<bool> PushPull::upload(Client& client, oci::Digest digest, const std::string& content) {
  const auto life = node_.life();
  auto& registry = node_.registry();
  auto begun = co_await registry.begin_upload(access(client), client.repository, oci::Algorithm::sha256);
  if (!begun || !counts(life)) co_return false;
  const std::size_t cut = client.random.below(content.size() + 1);
  io::MemorySource first(as_bytes(content).first(cut));
  auto appended =
      co_await registry.append_upload(access(client), client.repository, begun->session, std::nullopt, first);
  if (!appended || !counts(life)) co_return false;
  io::MemorySource rest(as_bytes(content).subspan(cut));
  auto done =
      co_await registry.finish_upload(access(client), client.repository, begun->session, std::nullopt, rest, digest);
  if (!done || !counts(life)) co_return false;
  ++acknowledged_;
  co_return true;
}

io::Task<bool> PushPull::push_blobs(Client& client, const Image& image) {
  for (const auto& [digest, content] : image.blobs) {
    const bool pushed = co_await push_blob(client, digest, content);
    if (!pushed) co_return false;
  }
  co_return true;
}

// `began`: when the client heard of the first blob.
io::Task<void> PushPull::push_tagged(Client& client, Image image, io::Duration began) {
  const auto life = node_.life();
  const std::string tag = pick_tag(client);
  client.images.insert_or_assign(image.digest, image);
  client.erased.erase(image.digest);
  registry::ManifestPush push{.reference = *oci::Tag::parse(tag),
                              .tags = {},
                              .media_type = std::string(image.type),
                              .body = image.body,
                              .if_match = std::nullopt};
  auto& possible = possible_of(client, tag);
  possible.insert(image.digest);  // until the answer comes, both are possible
  auto pushed = co_await node_.registry().put_manifest(access(client), client.repository, std::move(push));
  if (!counts(life)) co_return;
  node_.log().info("push", {{"repository", client.repository.text()},
                            {"tag", tag},
                            {"digest", image.digest.text()},
                            {"error", pushed ? std::string() : describe(pushed.error())}});
  if (pushed) {
    possible = {image.digest};
    ++acknowledged_;
  } else if (pushed.error().code == ErrorCode::missing_reference && world_.now() - began < options_.grace) {
    violation(client, "what was just acknowledged is missing: " + pushed.error().message);
  }
}

io::Task<void> PushPull::push_image(Client& client) {
  Image image = draw_image(client.random);
  const auto life = node_.life();
  const auto began = world_.now();
  const bool pushed = co_await push_blobs(client, image);
  if (!pushed) co_return;
  if (client.random.below(3) == 0) {
    // A slow client: what was pushed or confirmed by HEAD stays for the grace time (P7).
    auto slept = co_await io::sleep_for(std::chrono::milliseconds(client.random.below(slowest_client_ms)));
    if (!slept || !counts(life)) co_return;
  }
  co_await push_tagged(client, std::move(image), began);
}

io::Task<bool> PushPull::put_by_digest(Client& client, const Image& image, std::vector<oci::Tag> tags) {
  const auto life = node_.life();
  client.erased.erase(image.digest);
  registry::ManifestPush push{.reference = image.digest,
                              .tags = std::move(tags),
                              .media_type = std::string(image.type),
                              .body = image.body,
                              .if_match = std::nullopt};
  auto pushed = co_await node_.registry().put_manifest(access(client), client.repository, std::move(push));
  const bool done = pushed && counts(life);
  if (done) ++acknowledged_;
  co_return done;
}

// As build jobs do: parts by digest, without a tag, and some time later the index that names them (H5).
io::Task<bool> PushPull::push_parts(Client& client, std::vector<Image>& parts) {
  const auto life = node_.life();
  for (int i = 0; i < 2; ++i) {
    const Image part = draw_image(client.random);
    const bool there = co_await push_blobs(client, part);
    if (!there) co_return false;
    const bool pushed = co_await put_by_digest(client, part, {});
    if (!pushed) co_return false;
    parts.push_back(part);
    auto slept = co_await io::sleep_for(std::chrono::milliseconds(client.random.below(slowest_client_ms / 2)));
    if (!slept || !counts(life)) co_return false;
  }
  co_return true;
}

io::Task<void> PushPull::push_index(Client& client) {
  std::vector<Image> parts;
  const auto began = world_.now();
  const bool ready = co_await push_parts(client, parts);
  if (ready) co_await push_tagged(client, make_index(parts[0], parts[1]), began);
}

io::Task<void> PushPull::delete_tag(Client& client) {
  const auto life = node_.life();
  const std::string tag = pick_tag(client);
  auto& possible = possible_of(client, tag);
  const bool surely_there = !possible.contains(std::nullopt);
  possible.insert(std::nullopt);
  oci::Reference reference = *oci::Tag::parse(tag);
  auto done = co_await node_.registry().delete_manifest(access(client), client.repository, reference);
  if (!counts(life)) co_return;
  if (done) {
    possible = {std::nullopt};
  } else if (done.error().code == ErrorCode::not_found) {
    if (surely_there) violation(client, "DELETE of an acknowledged tag answers 404: " + tag);
    possible = {std::nullopt};
  }
}

io::Task<void> PushPull::delete_manifest(Client& client) {
  if (client.images.empty()) co_return;
  const auto at = static_cast<std::ptrdiff_t>(client.random.below(client.images.size()));
  const Image image = std::next(client.images.begin(), at)->second;
  const bool gone = co_await delete_image(client, image.digest);
  const bool alone = image.type == oci::media_type::image_manifest;
  if (gone && alone && client.random.one_in(2)) co_await delete_unneeded(client, image);
}

// Whether it is gone now.
io::Task<bool> PushPull::delete_image(Client& client, oci::Digest digest) {
  const auto life = node_.life();
  for (auto& [tag, possible] : client.tags) {
    if (possible.contains(digest)) possible.insert(std::nullopt);
  }
  auto done = co_await node_.registry().delete_manifest(access(client), client.repository, digest);
  if (!counts(life)) co_return false;
  if (!done && done.error().code != ErrorCode::not_found) co_return false;
  for (auto& [tag, possible] : client.tags) possible.erase(digest);
  client.erased.insert(digest);
  co_return true;
}

io::Task<void> PushPull::check_image(Client& client, Image image) {
  const auto life = node_.life();
  for (const auto& [digest, content] : image.blobs) {
    auto blob = co_await node_.registry().get_blob(access(client), client.repository, digest);
    if (!counts(life)) co_return;
    if (!blob) {
      if (is_fault(blob.error())) continue;  // a failed read is no loss
      violation(client, "a blob of a visible manifest: " + describe(blob.error()));
      continue;
    }
    std::string got(blob->reader->size(), '\0');
    auto read = co_await blob->reader->read(0, Bytes(reinterpret_cast<std::byte*>(got.data()), got.size()));
    if (!counts(life)) co_return;
    if (read && got != content) violation(client, "wrong bytes of " + digest.text());
    if (!read && read.error().code == ErrorCode::corrupt) violation(client, "acknowledged bytes are damaged");
  }
}

io::Task<void> PushPull::pull(Client& client, std::string tag) {
  const auto life = node_.life();
  auto& possible = possible_of(client, tag);
  oci::Reference reference = *oci::Tag::parse(tag);
  auto got = co_await node_.registry().get_manifest(access(client), client.repository, reference);
  if (!counts(life)) co_return;
  if (!got) {
    if (is_fault(got.error())) co_return;
    if (got.error().code != ErrorCode::not_found) {
      violation(client, "pull of " + tag + ": " + describe(got.error()));
    } else if (!possible.contains(std::nullopt)) {
      violation(client, "the acknowledged tag " + tag + " is gone");
    }
    possible = {std::nullopt};
    co_return;
  }
  const oci::Digest digest = got->head.digest;
  if (sha256(*got->body) != digest) violation(client, "a manifest's bytes are not its digest's");
  if (!possible.contains(digest)) violation(client, "the tag " + tag + " shows what it cannot: " + digest.text());
  possible = {digest};
  const auto image = client.images.find(digest);
  if (image != client.images.end()) co_await check_image(client, image->second);
}

// A blob of another client's: once mounted it is readable here, whatever becomes of the source.
io::Task<void> PushPull::mount(Client& client) {
  const Client& other = clients_[client.random.below(clients_.size())];
  if (other.images.empty()) co_return;
  const auto life = node_.life();
  const auto& blobs = other.images.begin()->second.blobs;
  const auto [digest, content] = *blobs.begin();
  std::optional<oci::RepositoryName> from;
  if (client.random.below(2) == 0) from = other.repository;
  auto mounted = co_await node_.registry().mount_blob(access(client), client.repository, digest, std::move(from));
  if (!mounted || !counts(life)) co_return;
  world_.note(*mounted ? "mounted" : "not mounted");
  if (!*mounted) co_return;
  Image alone;
  alone.blobs.emplace(digest, content);
  co_await check_image(client, std::move(alone));
}

// A DELETE that was acknowledged shows at once, and never takes what a visible image needs (P8).
io::Task<void> PushPull::delete_blob(Client& client) {
  if (client.images.empty()) co_return;
  const auto life = node_.life();
  const auto at = static_cast<std::ptrdiff_t>(client.random.below(client.images.size()));
  const oci::Digest digest = std::next(client.images.begin(), at)->second.blobs.begin()->first;
  auto done = co_await node_.registry().delete_blob(access(client), client.repository, digest);
  if (!done || !counts(life)) co_return;
  for (const auto& [tag, possible] : client.tags) {
    if (possible.size() != 1 || !possible.begin()->has_value()) continue;
    if (client.images.at(**possible.begin()).blobs.contains(digest)) {
      violation(client, "DELETE took a blob that the tag " + tag + " needs");
    }
  }
  auto read = co_await node_.registry().get_blob(access(client), client.repository, digest);
  if (read && counts(life)) violation(client, "a deleted blob is still there: " + digest.text());
}

io::Task<void> PushPull::client_loop(Client& client) {
  while (client.done < options_.operations && node_.running()) {
    const auto life = node_.life();
    switch (client.random.below(16)) {
      case 0: co_await delete_tag(client); break;
      case 1: co_await delete_manifest(client); break;
      case 2:
      case 3:
      case 4: co_await pull(client, pick_tag(client)); break;
      case 5: co_await leave_upload(client); break;
      case 6: co_await resume_upload(client); break;
      case 7: co_await mount(client); break;
      case 8: co_await delete_blob(client); break;
      case 9: co_await race(client); break;
      case 10: co_await push_crowd(client); break;
      case 11:
      case 12: co_await push_index(client); break;
      default: co_await push_image(client); break;
    }
    ++client.done;
    if (!counts(life)) break;
    auto slept = co_await io::sleep_for(std::chrono::milliseconds(client.random.below(1500)));
    if (!slept || !counts(life)) break;
  }
}

}  // namespace hansa::sim
