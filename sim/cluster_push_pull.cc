// What clients do; what disturbs them is in cluster_disturb.cc, what is checked in the end in cluster_checks.cc.
#include "sim/cluster_push_pull.h"

#include <algorithm>

#include "sim/disturbed.h"

namespace hansa::sim {
namespace {

constexpr std::uint64_t pause_ms = 600;  // of a client between two operations, at most
constexpr io::Duration slowest_client = std::chrono::milliseconds(3500);

// The whole blob. On the member's executor, for its reader ends with it.
io::Task<Result<std::string>> read_blob(registry::Registry& registry, auth::Access who, oci::RepositoryName repository,
                                        oci::Digest digest) {
  HANSA_CO_TRY(const auto blob, co_await registry.get_blob(std::move(who), std::move(repository), std::move(digest)));
  std::string bytes(blob.reader->size(), '\0');
  std::size_t at = 0;
  while (at < bytes.size()) {
    const Bytes rest = Bytes(reinterpret_cast<std::byte*>(bytes.data()), bytes.size()).subspan(at);
    HANSA_CO_TRY(const std::size_t got, co_await blob.reader->read(at, rest));
    if (got == 0) break;
    at += got;
  }
  bytes.resize(at);
  co_return bytes;
}

}  // namespace

ClusterPushPull::ClusterPushPull(World& world, SimCluster& cluster, io::Duration grace, ClusterPushPullOptions options)
    : world_(world),
      cluster_(cluster),
      grace_(grace),
      options_(options),
      executor_(world, "clients"),
      random_(world.random("workload")),
      of_members_(world.random("members")),
      of_machines_(world.random("machines")),
      of_disks_(world.random("disks")),
      of_wires_(world.random("wires")),
      of_etcd_(world.random("etcd warts")),
      tag_count_(random_.between(1, 3)),
      churn_(options_.churn && of_machines_.one_in(2) ? static_cast<Churn>(of_machines_.between(1, 4)) : Churn::none) {
  for (std::size_t i = 0; i <= options_.clients; ++i) {  // the last one checks
    clients_.emplace_back(i, world.seed());
  }
  repositories_.push_back(*oci::RepositoryName::parse("team/app"));
  if (random_.one_in(2)) repositories_.push_back(*oci::RepositoryName::parse("team/lib"));
}

auth::Access ClusterPushPull::access(const Client& client) const {
  return {auth::Identity{.user = "client" + std::to_string(client.number), .groups = {}}, auth::allow_everything()};
}

void ClusterPushPull::violation(const std::string& what) {
  violations_.push_back(what);
  cluster_.log(0).error("VIOLATION " + what);
  world_.note("violation");
}

oci::RepositoryName ClusterPushPull::draw_repository(Client& client) {
  return repositories_[client.random.below(repositories_.size())];
}

History& ClusterPushPull::tag_history(const oci::RepositoryName& repository, const std::string& tag) {
  return tags_.try_emplace(repository.text() + ":" + tag).first->second;
}

History& ClusterPushPull::manifest_history(const oci::RepositoryName& repository, const oci::Digest& digest) {
  return manifests_.try_emplace(repository.text() + "@" + digest.text(), true).first->second;
}

void ClusterPushPull::write_down(History& history, Client& client, std::size_t member, Operation::Kind kind,
                                 std::string value, io::Duration began, bool known, std::string expected) {
  history.add({.kind = kind,
               .value = std::move(value),
               .began = began,
               .ended = world_.now(),
               .known = known,
               .who = client.who(member),
               .expected = std::move(expected)});
}

// ---- push -------------------------------------------------------------------------------------------------------

void ClusterPushPull::check_copies(Client& client, const oci::Digest& digest, io::Duration began) {
  // What a machine took along was acknowledged before, or just now; without a new one there may be one member only.
  const bool lost_some = losses_ > 0 && churn_ != Churn::drained;
  if (world_.now() - began >= grace_ || (lost_some && (loss_at_ >= began || cluster_.size() == 2))) return;
  const std::size_t copies = cluster_.copies_of(digest);
  if (copies >= std::min(cluster_.size(), catalog::durable_copies)) return;
  violation("client " + std::to_string(client.number) + ": what was just acknowledged has " + std::to_string(copies) +
            " copies: " + digest.text());
}

// Each request through another member (P9). Only a 201 is durable: bytes of an open session go with its owner's power.
io::Task<bool> ClusterPushPull::upload(Client& client, oci::RepositoryName repository, const std::string& content) {
  const auto who = access(client);
  const auto crashes = crashes_;
  Use<registry::UploadStatus> begin = [who, repository](registry::Registry& registry) {
    return registry.begin_upload(who, repository, oci::Algorithm::sha256);
  };
  const auto begun = co_await cluster_.ask<Result<registry::UploadStatus>>(draw_member(client), std::move(begin));
  if (!happened(begun)) co_return false;
  const std::string session = (*begun)->session;
  const std::size_t cut = client.random.below(content.size() + 1);
  const auto first = std::make_shared<io::MemorySource>(as_bytes(content).first(cut));
  Use<registry::UploadStatus> append = [who, repository, session, first](registry::Registry& registry) {
    return registry.append_upload(who, repository, session, std::nullopt, *first);
  };
  const auto appended = co_await cluster_.ask<Result<registry::UploadStatus>>(draw_member(client), std::move(append));
  std::size_t sent = cut;
  std::optional<registry::ChunkRange> range;
  if (!happened(appended)) {
    // The client asks another member where the upload stands, and goes on from there.
    Use<registry::UploadStatus> ask = [who, repository, session](registry::Registry& registry) {
      return registry.upload_status(who, repository, session);
    };
    const auto stands = co_await cluster_.ask<Result<registry::UploadStatus>>(draw_member(client), std::move(ask));
    if (!happened(stands)) co_return false;
    sent = (*stands)->received;
    if (sent < content.size()) range = {.first = sent, .last = content.size() - 1};
  }
  const auto rest = std::make_shared<io::MemorySource>(as_bytes(content).subspan(sent));
  const auto digest = sha256(content);
  Use<void> finish = [who, repository, session, range, rest, digest](registry::Registry& registry) {
    return registry.finish_upload(who, repository, session, range, *rest, digest);
  };
  const std::size_t last = draw_member(client);
  const auto began = world_.now();
  const auto finished = co_await cluster_.ask<Result<void>>(last, std::move(finish));
  if (refused(finished) && finished->error().code == ErrorCode::invalid && crashes == crashes_) {
    violation(client.who(last) + ": the bytes of an upload were not taken: " + describe(finished->error()));
  }
  if (!happened(finished)) co_return false;
  check_copies(client, digest, began);
  if (client.random.one_in(4)) co_await finish_again(client, repository, session, digest, last);
  co_return true;
}

io::Task<bool> ClusterPushPull::push_blob(Client& client, oci::RepositoryName repository, const std::string& content) {
  const auto who = access(client);
  const auto digest = sha256(content);
  offered_.insert(repository.text() + "@" + digest.text());
  if (client.random.one_in(4)) co_return co_await upload(client, std::move(repository), content);  // without a look
  Use<registry::BlobHead> look = [who, repository, digest](registry::Registry& registry) {
    return registry.head_blob(who, repository, digest);
  };
  const auto head = co_await cluster_.ask<Result<registry::BlobHead>>(draw_member(client), std::move(look));
  if (happened(head) && !(*head)->stale) co_return true;  // confirmed: protected for a grace time (P7)
  co_return co_await upload(client, std::move(repository), content);
}

io::Task<Answer<registry::ManifestPushed>> ClusterPushPull::put_manifest(Client& client, std::size_t member,
                                                                         oci::RepositoryName repository, Image image,
                                                                         oci::Reference reference,
                                                                         std::optional<std::string> expected) {
  offered_.insert(repository.text() + "@" + image.digest.text());
  const auto began = world_.now();
  const auto body =
      std::make_shared<registry::ManifestPush>(registry::ManifestPush{.reference = reference,
                                                                      .tags = {},
                                                                      .media_type = std::string(image.type),
                                                                      .body = image.body,
                                                                      .if_match = std::nullopt,
                                                                      .if_none_match = expected && expected->empty()});
  if (expected && !expected->empty()) body->if_match = *oci::Digest::parse(*expected);
  Use<registry::ManifestPushed> put = [who = access(client), repository, body](registry::Registry& registry) {
    return registry.put_manifest(who, repository, *body);
  };
  auto answer = co_await cluster_.ask<Result<registry::ManifestPushed>>(member, std::move(put));
  cluster_.log(member).info("push", {{"repository", repository.text()},
                                     {"reference", oci::to_string(reference)},
                                     {"digest", image.digest.text()},
                                     {"who", client.who(member)},
                                     {"answer", !answer               ? "cut off"
                                                : answer->has_value() ? "done"
                                                                      : describe(answer->error())}});
  if (refused(answer)) co_return answer;
  const bool known = happened(answer);
  write_down(manifest_history(repository, image.digest), client, member, Operation::Kind::write, std::string(there),
             began, known);
  if (!known) co_return answer;
  ++acknowledged_;
  check_copies(client, image.digest, began);
  if ((*answer)->subject != image.subject) violation(client.who(member) + ": a push was told another subject");
  co_return answer;
}

io::Task<Answer<registry::ManifestPushed>> ClusterPushPull::put_tag(Client& client, oci::RepositoryName repository,
                                                                    std::string tag, Image image,
                                                                    std::optional<std::string> expected) {
  images_.insert_or_assign(image.digest, image);
  const std::size_t member = draw_member(client);
  const auto began = world_.now();
  auto answer = co_await put_manifest(client, member, repository, image, *oci::Tag::parse(tag), expected);
  auto& history = tag_history(repository, tag);
  if (refused(answer)) {
    if (expected && answer->error().code == ErrorCode::precondition) {
      write_down(history, client, member, Operation::Kind::differs, "", began, true, *expected);
    }
    co_return answer;
  }
  const auto kind = expected ? Operation::Kind::swap : Operation::Kind::write;
  write_down(history, client, member, kind, image.digest.text(), began, happened(answer), expected.value_or(""));
  co_return answer;
}

io::Task<void> ClusterPushPull::push_image(Client& client) {
  const Image image = draw_image(client.random);
  const auto repository = draw_repository(client);
  const auto began = world_.now();
  for (const auto& [digest, content] : image.blobs) {
    const bool pushed = co_await push_blob(client, repository, content);
    if (!pushed) co_return;
    ++acknowledged_;
  }
  if (client.random.one_in(3)) {
    // A slow client: what was pushed or confirmed by HEAD stays for the grace time (P7).
    const io::Duration most = std::min(grace_, slowest_client);
    auto slept = co_await io::sleep_for(io::Duration(client.random.below(static_cast<std::uint64_t>(most.count()))));
    if (!slept) co_return;
  }
  const auto answer = co_await put_tag(client, repository, draw_tag(client), image);
  if (!refused(answer) || world_.now() - began >= grace_) co_return;
  violation("client " + std::to_string(client.number) +
            ": what was just acknowledged is refused: " + describe(answer->error()));
}

// A manifest that a tag shows, under another tag too. It may be deleted meanwhile.
io::Task<void> ClusterPushPull::retag(Client& client) {
  const auto repository = draw_repository(client);
  const auto shown = co_await read_tag(client, draw_member(client), repository, draw_tag(client));
  if (!shown || !images_.contains(*shown)) co_return;
  co_await put_tag(client, repository, draw_tag(client), images_.at(*shown));
}

// ---- pull -------------------------------------------------------------------------------------------------------

io::Task<std::optional<oci::Digest>> ClusterPushPull::read_tag(Client& client, std::size_t member,
                                                               oci::RepositoryName repository, std::string tag) {
  const auto began = world_.now();
  Use<registry::ManifestContent> get = [who = access(client), repository, tag](registry::Registry& registry) {
    return registry.get_manifest(who, repository, oci::Reference(*oci::Tag::parse(tag)));
  };
  const auto answer = co_await cluster_.ask<Result<registry::ManifestContent>>(member, std::move(get));
  if (!answer) co_return std::nullopt;
  auto& history = tag_history(repository, tag);
  if (!*answer) {
    if (answer->error().code == ErrorCode::not_found) {
      write_down(history, client, member, Operation::Kind::read, "", began, true);
    }
    co_return std::nullopt;
  }
  const auto& content = **answer;
  if (content.head.stale) co_return std::nullopt;
  const oci::Digest digest = content.head.digest;
  if (sha256(*content.body) != digest) violation(client.who(member) + ": a manifest's bytes are not its digest's");
  write_down(history, client, member, Operation::Kind::read, digest.text(), began, true);
  write_down(manifest_history(repository, digest), client, member, Operation::Kind::read, std::string(there), began,
             true);
  co_return digest;
}

io::Task<bool> ClusterPushPull::read_manifest(Client& client, std::size_t member, oci::RepositoryName repository,
                                              oci::Digest digest) {
  const auto began = world_.now();
  Use<registry::ManifestHead> head = [who = access(client), repository, digest](registry::Registry& registry) {
    return registry.head_manifest(who, repository, oci::Reference(digest));
  };
  const auto answer = co_await cluster_.ask<Result<registry::ManifestHead>>(member, std::move(head));
  const bool found = happened(answer) && !(*answer)->stale;
  const bool missing = refused(answer) && answer->error().code == ErrorCode::not_found;
  if (found || missing) {
    write_down(manifest_history(repository, digest), client, member, Operation::Kind::read,
               found ? std::string(there) : std::string(), began, true);
  }
  co_return found;
}

io::Task<void> ClusterPushPull::read_blobs(Client& client, std::size_t member, oci::RepositoryName repository,
                                           oci::Digest digest, bool must) {
  if (!images_.contains(digest)) co_return;
  const auto blobs = images_.at(digest).blobs;
  for (const auto& [wanted, content] : blobs) {
    Use<std::string> get = [who = access(client), repository, blob = wanted](registry::Registry& registry) {
      return read_blob(registry, who, repository, blob);
    };
    const auto answer = co_await cluster_.ask<Result<std::string>>(member, std::move(get));
    const std::string what = client.who(member) + ": blob " + wanted.text() + " of " + digest.text();
    if (happened(answer)) {
      if (**answer != content) violation(what + " has other bytes");
      continue;
    }
    const std::string why = answer ? describe(answer->error()) : std::string("cut off");
    if (must) violation(what + ": " + why);
    if (must || !refused(answer)) continue;
    // Not there, though its manifest is, before and after, and nobody asked for its deletion: it was lost.
    const bool still = co_await read_manifest(client, member, repository, digest);
    if (still && !erased_.contains(repository.text() + "@" + digest.text())) violation(what + ": " + why);
  }
}

io::Task<void> ClusterPushPull::pull(Client& client) {
  const auto repository = draw_repository(client);
  const std::size_t member = draw_member(client);
  const auto shown = co_await read_tag(client, member, repository, draw_tag(client));
  if (shown) co_await read_blobs(client, draw_member(client), repository, *shown, false);
}

// ---- delete -----------------------------------------------------------------------------------------------------

io::Task<void> ClusterPushPull::delete_tag(Client& client) {
  const auto repository = draw_repository(client);
  const std::string tag = draw_tag(client);
  const std::size_t member = draw_member(client);
  const auto began = world_.now();
  Use<void> remove = [who = access(client), repository, tag](registry::Registry& registry) {
    return registry.delete_manifest(who, repository, oci::Reference(*oci::Tag::parse(tag)));
  };
  const auto answer = co_await cluster_.ask<Result<void>>(member, std::move(remove));
  auto& history = tag_history(repository, tag);
  if (refused(answer)) {
    if (answer->error().code == ErrorCode::not_found) {
      write_down(history, client, member, Operation::Kind::read, "", began, true);
    }
    co_return;
  }
  write_down(history, client, member, Operation::Kind::remove, "", began, happened(answer));
}

io::Task<void> ClusterPushPull::delete_manifest(Client& client) {
  const auto repository = draw_repository(client);
  const auto shown = co_await read_tag(client, draw_member(client), repository, draw_tag(client));
  if (shown) co_await erase(client, repository, *shown);
}

// All its tags in this repository go with it.
io::Task<void> ClusterPushPull::erase(Client& client, oci::RepositoryName repository, oci::Digest digest) {
  const std::size_t member = draw_member(client);
  const auto began = world_.now();
  erased_.insert(repository.text() + "@" + digest.text());
  Use<void> remove = [who = access(client), repository, digest](registry::Registry& registry) {
    return registry.delete_manifest(who, repository, oci::Reference(digest));
  };
  const auto answer = co_await cluster_.ask<Result<void>>(member, std::move(remove));
  auto& manifest = manifest_history(repository, digest);
  if (refused(answer)) {
    if (answer->error().code == ErrorCode::not_found) {
      write_down(manifest, client, member, Operation::Kind::read, "", began, true);
    }
    co_return;
  }
  const bool known = happened(answer);
  write_down(manifest, client, member, Operation::Kind::erase, std::string(there), began, known);
  for (std::uint64_t i = 0; i < tag_count_; ++i) {
    write_down(tag_history(repository, tag_name(i)), client, member, Operation::Kind::erase, digest.text(), began,
               known);
  }
}

// ---- the course of a run ----------------------------------------------------------------------------------------

io::Task<void> ClusterPushPull::client_loop(Client& client) {
  while (client.done < options_.operations) {
    switch (client.random.below(18)) {
      case 0: co_await delete_tag(client); break;
      case 1: co_await delete_manifest(client); break;
      case 2:
      case 3: co_await retag(client); break;
      case 4:
      case 5:
      case 6: co_await pull(client); break;
      case 7:
      case 8: co_await put_over(client); break;
      case 9: co_await mount(client); break;
      case 10: co_await look_elsewhere(client); break;
      case 11: co_await push_index(client); break;
      case 12: co_await attach(client); break;
      case 13: co_await look_at_lists(client); break;
      default: co_await push_image(client); break;
    }
    ++client.done;
    auto slept = co_await io::sleep_for(std::chrono::milliseconds(client.random.below(pause_ms)));
    if (!slept) co_return;
  }
}

void ClusterPushPull::run_all() {
  constexpr io::Duration patience = std::chrono::minutes(1);
  cluster_.start_all();
  if (!cluster_.wait_until_joined(patience)) {
    violation("the cluster does not come together");
    return;
  }
  {
    io::TaskScope scope(executor_);
    io::TaskScope operating(executor_);
    operating.spawn("operator", operate(clients_.back()));
    for (std::size_t i = 0; i < options_.clients; ++i) scope.spawn("client", client_loop(clients_[i]));
    run_disturbed(world_, scope, random_, [this] { disturb(); });
    mend();
    wait_until_drained();
    working_ = false;
    run(world_, executor_, operating.join());
  }
  if (come_together()) check_all();
}

}  // namespace hansa::sim
