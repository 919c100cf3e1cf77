// What clients do at times: an index of parts that nothing held so far, pushes with preconditions, mounts, looks into
// repositories where something never was, and a PUT again after its answer.
#include "io/wait.h"
#include "sim/cluster_push_pull.h"

namespace hansa::sim {
namespace {

constexpr std::uint64_t pauses_in_grace = 5;       // of a build job, between its parts
constexpr std::uint64_t longest_lead_us = 12'000;  // of one of two racing requests; about what a push takes

}  // namespace

io::Task<bool> ClusterPushPull::push_part(Client& client, oci::RepositoryName repository, const Image& image) {
  const auto began = world_.now();
  for (const auto& [digest, content] : image.blobs) {
    const bool pushed = co_await push_blob(client, repository, content);
    if (!pushed) co_return false;
  }
  const std::size_t member = draw_member(client);
  const auto answer = co_await put_manifest(client, member, repository, image, image.digest);
  if (is(answer, ErrorCode::missing_reference) && world_.now() - began < grace_) {
    violation(client.who(member) +
              ": blobs that were just pushed are said to be missing: " + describe(answer->error()));
  }
  co_return happened(answer);
}

// As build jobs do: parts by digest, without a tag, and some time later the index that names them (H5).
io::Task<void> ClusterPushPull::push_index(Client& client) {
  const auto repository = draw_repository(client);
  const auto longest = static_cast<std::uint64_t>(grace_.count()) / pauses_in_grace;
  const io::Duration first = world_.now();
  std::vector<Image> parts;
  for (int i = 0; i < 2; ++i) {
    parts.push_back(draw_image(client.random));
    const bool pushed = co_await push_part(client, repository, parts.back());
    if (!pushed) co_return;
    auto slept = co_await io::sleep_for(io::Duration(client.random.below(longest)));
    if (!slept) co_return;
  }
  const auto answer = co_await put_tag(client, repository, draw_tag(client), make_index(parts[0], parts[1]));
  if (is(answer, ErrorCode::missing_reference) && world_.now() - first < grace_) {
    violation("client " + std::to_string(client.number) +
              ": parts that were just pushed are said to be missing: " + describe(answer->error()));
  }
}

// A tag is put only if it shows what was read before, or nothing: no update of another is lost (P3).
io::Task<void> ClusterPushPull::put_over(Client& client) {
  const auto repository = draw_repository(client);
  const std::string tag = draw_tag(client);
  const auto source = co_await read_tag(client, draw_member(client), repository, draw_tag(client));
  if (!source || !images_.contains(*source)) co_return;
  const auto shown = co_await read_tag(client, draw_member(client), repository, tag);
  const std::string expected = shown ? shown->text() : std::string();
  // Two at the same moment, through any two members: one of them at most. The other one's image may be gone by now.
  const oci::Digest any = drawn_from(images_, client.random).first;
  io::TaskContext& context = co_await io::current_context();
  io::TaskScope scope(context.executor());
  for (const oci::Digest& digest : {*source, any}) {
    if (!offered_.contains(repository.text() + "@" + digest.text())) continue;
    scope.spawn("racing push", put_expecting(client, repository, tag, digest, expected));
  }
  co_await scope.join();
}

io::Task<void> ClusterPushPull::put_expecting(Client& client, oci::RepositoryName repository, std::string tag,
                                              oci::Digest digest, std::string expected) {
  auto slept = co_await io::sleep_for(std::chrono::microseconds(client.random.below(longest_lead_us)));
  if (slept) co_await put_tag(client, repository, tag, images_.at(digest), expected);
}

// Once mounted, a blob can be read, whatever becomes of its source (P7).
io::Task<void> ClusterPushPull::mount(Client& client) {
  if (images_.empty()) co_return;
  const auto digest = drawn_from(images_, client.random).second.blobs.begin()->first;
  const auto target = mounts();
  std::optional<oci::RepositoryName> from;
  if (client.random.one_in(2)) from = draw_repository(client);
  offered_.insert(target.text() + "@" + digest.text());
  const auto began = world_.now();
  Use<bool> ask = [who = access(client), target, digest, from](registry::Registry& registry) {
    return registry.mount_blob(who, target, digest, from);
  };
  const auto mounted = co_await cluster_.ask<Result<bool>>(draw_member(client), std::move(ask));
  if (!mounted || !*mounted || !**mounted) co_return;
  const std::size_t member = draw_member(client);
  Use<registry::BlobContent> get = [who = access(client), target, digest](registry::Registry& registry) {
    return registry.get_blob(who, target, digest);
  };
  const auto read = co_await cluster_.ask<Result<registry::BlobContent>>(member, std::move(get));
  if (!is(read, ErrorCode::not_found) || world_.now() - began >= grace_) co_return;
  violation(client.who(member) + ": what was just mounted is not there: " + digest.text());
}

// Nobody can read in a repository what was never brought there.
io::Task<void> ClusterPushPull::look_elsewhere(Client& client) {
  if (images_.empty()) co_return;
  const Image image = drawn_from(images_, client.random).second;
  const oci::Digest& digest = image.digest;
  const auto repository = draw_repository(client);
  const auto who = access(client);
  for (const auto& [blob, content] : image.blobs) {
    if (offered_.contains(repository.text() + "@" + blob.text())) co_return;
    Use<registry::BlobHead> head = [who, repository, blob](registry::Registry& registry) {
      return registry.head_blob(who, repository, blob);
    };
    const std::size_t member = draw_member(client);
    const auto answer = co_await cluster_.ask<Result<registry::BlobHead>>(member, std::move(head));
    // It may have been brought there meanwhile.
    if (!answer || !*answer || offered_.contains(repository.text() + "@" + blob.text())) continue;
    violation(client.who(member) + ": " + repository.text() +
              " shows a blob that was never brought there: " + blob.text());
  }
  if (offered_.contains(repository.text() + "@" + digest.text())) co_return;
  const std::size_t member = draw_member(client);
  Use<registry::ManifestHead> head = [who, repository, digest](registry::Registry& registry) {
    return registry.head_manifest(who, repository, oci::Reference(digest));
  };
  const auto answer = co_await cluster_.ask<Result<registry::ManifestHead>>(member, std::move(head));
  if (!answer || !*answer || offered_.contains(repository.text() + "@" + digest.text())) co_return;
  violation(client.who(member) + ": " + repository.text() +
            " shows a manifest that was never pushed there: " + digest.text());
}

// As a client does whose answer was lost on its way: a finished session is remembered for a tick (H12).
io::Task<void> ClusterPushPull::finish_again(Client& client, oci::RepositoryName repository, std::string session,
                                             oci::Digest digest, std::size_t member) {
  const auto crashes = crashes_;
  const auto began = world_.now();
  const auto nothing = std::make_shared<io::MemorySource>(ConstBytes{});
  Use<void> finish = [who = access(client), repository, session, nothing, digest](registry::Registry& registry) {
    return registry.finish_upload(who, repository, session, std::nullopt, *nothing, digest);
  };
  const auto again = co_await cluster_.ask<Result<void>>(member, std::move(finish));
  const bool soon = world_.now() - began < grace_ / catalog::ticks_per_grace;
  if (!is(again, ErrorCode::not_found) || !soon || crashes != crashes_) co_return;
  violation(client.who(member) + ": the same PUT again is refused: " + describe(again->error()));
}

}  // namespace hansa::sim
