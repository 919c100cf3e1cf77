#include "sim/oracle_run.h"

#include <algorithm>

#include "sim/disturbed.h"

namespace hansa::sim {
namespace {

constexpr int tag_count = 4;
constexpr int most_tries = 2000;  // of one request
constexpr io::Duration try_again = std::chrono::milliseconds(150);
constexpr std::uint64_t longest_pause_ms = 400;  // between two requests
constexpr std::string_view signature = "application/vnd.example.signature";
constexpr std::string_view other_type = "application/vnd.example.other";

std::string done_or(ReferenceRegistry::Refusal refusal) {
  return refusal ? std::string(to_string(*refusal)) : "done";
}

template <class T>
bool is_stale(const T& answer) {
  if constexpr (requires { answer.stale; }) return answer.stale;
  if constexpr (requires { answer.head.stale; }) return answer.head.stale;
  return false;
}

std::string words_of(const std::vector<std::string>& names, bool more) {
  std::string out;
  for (const auto& name : names) out += name + " ";
  return out + (more ? "and more" : "and no more");
}

// As a list gives them.
std::string page_of(std::vector<std::string> names, const registry::Page& page) {
  std::erase_if(names, [&page](const std::string& name) { return name <= page.after; });
  const bool more = page.limit && names.size() > *page.limit;
  if (more) names.resize(*page.limit);
  return words_of(names, more);
}

io::Task<Result<void>> push_bytes(registry::Registry& registry, auth::Access who, oci::RepositoryName repository,
                                  std::string content) {
  io::MemorySource bytes(as_bytes(content));
  co_return co_await registry.push_blob(std::move(who), std::move(repository), sha256(content), bytes);
}

}  // namespace

OracleRun::OracleRun(World& world, SimCluster& cluster, OracleOptions options)
    : world_(world),
      cluster_(cluster),
      options_(options),
      executor_(world, "client"),
      random_(world.random("requests")),
      faults_(world.random("faults")) {
  for (int i = 0; i < 4; ++i) images_.push_back(draw_image(random_));
  images_.push_back(make_index(images_[0], images_[1]));
  images_.push_back(make_index(images_[1], images_[2]));
  for (const std::size_t subject : {0UL, 0UL, 4UL, 6UL}) {
    images_.push_back(draw_attachment(random_, images_[subject]));
  }
  for (const char* name : {"other", "team/app", "team/lib"}) {
    repositories_.push_back(*oci::RepositoryName::parse(name));
  }
}

void OracleRun::violation(const std::string& what) {
  violations_.push_back(what);
  cluster_.log(0).error("VIOLATION " + what);
  world_.note("violation");
}

template <class T>
io::Task<void> OracleRun::compare(std::string request, Use<T> use, Words<T> words,
                                  std::function<std::string()> reference, MayAnswer may_answer) {
  bool doubtful = false;
  for (int i = 0; i < most_tries; ++i) {
    const std::size_t member = draw_member();
    const Answer<T> answer = co_await cluster_.ask<Result<T>>(member, use);
    std::string told;
    if (refused(answer)) told = to_string(answer->error().code);
    if constexpr (std::is_void_v<T>) {
      if (happened(answer)) told = "done";
    } else {
      if (happened(answer) && !is_stale(**answer)) told = words(**answer);
    }
    if (told.empty()) {
      doubtful = true;
      auto slept = co_await io::sleep_for(try_again);
      if (!slept) co_return;
      continue;
    }
    cluster_.log(member).info("answer", {{"request", request}, {"told", told}, {"doubtful", doubtful}});
    if (may_answer && may_answer(member, told)) {
      ++acknowledged_;
      co_return;
    }
    std::string right = reference();
    if (told != right && doubtful) right = reference();
    if (told == right) {
      ++acknowledged_;
      co_return;
    }
    violation(request + " at node-" + std::to_string(member + 1) + " came to \"" + told + "\" instead of \"" + right +
              "\"" + (refused(answer) ? ": " + describe(answer->error()) : std::string()));
    co_return;
  }
  violation(request + ": nobody says what it came to");
}

// ---- blobs ------------------------------------------------------------------------------------------------------

io::Task<void> OracleRun::push_blob(oci::RepositoryName repository, std::string content) {
  const auto digest = sha256(content);
  Use<void> use = [repository, content](registry::Registry& registry) {
    return push_bytes(registry, client(), repository, content);
  };
  co_await compare<void>("push " + digest.text() + " to " + repository.text(), std::move(use), {}, [=, this] {
    reference_.push_blob(repository, digest);
    return std::string("done");
  });
}

io::Task<void> OracleRun::head_blob(oci::RepositoryName repository, oci::Digest digest) {
  Use<registry::BlobHead> use = [=](registry::Registry& registry) {
    return registry.head_blob(client(), repository, digest);
  };
  Words<registry::BlobHead> words = [](const auto& head) { return head.digest.text(); };
  co_await compare<registry::BlobHead>(
      "HEAD of the blob " + digest.text() + " of " + repository.text(), std::move(use), std::move(words), [=, this] {
        return reference_.has_blob(repository, digest) ? digest.text() : std::string(to_string(ErrorCode::not_found));
      });
}

io::Task<void> OracleRun::delete_blob() {
  const auto repository = draw_repository();
  const auto digest = draw_blob().first;
  Use<void> use = [=](registry::Registry& registry) { return registry.delete_blob(client(), repository, digest); };
  co_await compare<void>("DELETE of the blob " + digest.text() + " of " + repository.text(), std::move(use), {},
                         [=, this] { return done_or(reference_.delete_blob(repository, digest)); });
}

io::Task<void> OracleRun::mount() {
  const auto repository = draw_repository();
  const auto digest = draw_blob().first;
  std::optional<oci::RepositoryName> from;
  if (random_.one_in(2)) from = draw_repository();
  Use<bool> use = [=](registry::Registry& registry) { return registry.mount_blob(client(), repository, digest, from); };
  const auto words = [](bool mounted) { return std::string(mounted ? "mounted" : "no source"); };
  co_await compare<bool>(
      "mount of " + digest.text() + " into " + repository.text(), std::move(use),
      [words](const bool& mounted) { return words(mounted); },
      [=, this] { return words(reference_.mount(repository, from, digest)); },
      // A member that cannot have the bytes lets the client push them (ADR 0006); so may any registry.
      [=, this](std::size_t member, const std::string& told) {
        return told == words(false) && (options_.cuts || options_.crashes) && !cluster_.has_file(member, digest);
      });
}

// ---- manifests --------------------------------------------------------------------------------------------------

// Of an index, its parts first.
io::Task<void> OracleRun::push_image() {
  const auto repository = draw_repository();
  const Image image = draw_known();
  for (const auto& [digest, content] : image.blobs) {
    const auto part = std::ranges::find(images_, digest, &Image::digest);
    if (part == images_.end()) co_await push_blob(repository, content);
  }
  for (const auto& child : image.children) {
    co_await put_manifest(repository, {.image = *std::ranges::find(images_, child, &Image::digest), .tags = {}}, true);
  }
  co_await put_manifest(repository, {.image = image, .tags = {"t" + std::to_string(random_.below(tag_count))}}, false);
}

ReferenceRegistry::Put OracleRun::draw_put(const oci::RepositoryName& repository) {
  ReferenceRegistry::Put push{.image = draw_known(), .tags = {}};
  for (int i = 0; i < tag_count; ++i) {
    if (random_.one_in(3)) push.tags.push_back("t" + std::to_string(i));
  }
  if (push.tags.empty()) return push;
  if (random_.one_in(4)) push.if_none_match = true;
  if (push.if_none_match || !random_.one_in(3)) return push;
  const auto shown = reference_.find(repository, *oci::Tag::parse(push.tags.front()));
  push.if_match = shown && !random_.one_in(3) ? *shown : draw_known().digest;
  return push;
}

// Whatever of it is there, and at once what lists show of it.
io::Task<void> OracleRun::put() {
  const auto repository = draw_repository();
  const auto push = draw_put(repository);
  co_await put_manifest(repository, push, push.tags.size() != 1 || random_.one_in(2));
  if (push.image.subject) co_await list_referrers(repository, *push.image.subject, {}, {});
  if (!push.tags.empty()) co_await list_tags(repository, {});
}

io::Task<void> OracleRun::put_manifest(oci::RepositoryName repository, ReferenceRegistry::Put push, bool by_digest) {
  registry::ManifestPush body{.reference = push.image.digest,
                              .tags = {},
                              .media_type = std::string(push.image.type),
                              .body = push.image.body,
                              .if_match = push.if_match,
                              .if_none_match = push.if_none_match};
  std::string request = "PUT of " + push.image.digest.text() + " to " + repository.text();
  for (const auto& tag : push.tags) {
    request += " as " + tag;
    body.tags.push_back(*oci::Tag::parse(tag));
  }
  if (!by_digest) {
    body.reference = body.tags.front();
    body.tags.clear();
  }
  if (push.if_match) request += " over " + push.if_match->text();
  if (push.if_none_match) request += " over nothing";
  Use<registry::ManifestPushed> use = [=](registry::Registry& registry) {
    return registry.put_manifest(client(), repository, body);
  };
  Words<registry::ManifestPushed> words = [subject = push.image.subject](const auto& put) {
    return std::string(put.subject == subject ? "done" : "done with another subject");
  };
  co_await compare<registry::ManifestPushed>(std::move(request), std::move(use), std::move(words),
                                             [=, this] { return done_or(reference_.put(repository, push)); });
}

io::Task<void> OracleRun::get(oci::RepositoryName repository, oci::Reference reference) {
  Use<registry::ManifestContent> use = [=](registry::Registry& registry) {
    return registry.get_manifest(client(), repository, reference);
  };
  Words<registry::ManifestContent> words = [](const auto& content) { return sha256(*content.body).text(); };
  co_await compare<registry::ManifestContent>(
      "GET of " + oci::to_string(reference) + " of " + repository.text(), std::move(use), std::move(words), [=, this] {
        const auto found = reference_.find(repository, reference);
        return found ? found->text() : std::string(to_string(ErrorCode::not_found));
      });
}

io::Task<void> OracleRun::remove() {
  const auto repository = draw_repository();
  const auto reference = draw_reference();
  Use<void> use = [=](registry::Registry& registry) {
    return registry.delete_manifest(client(), repository, reference);
  };
  co_await compare<void>("DELETE of " + oci::to_string(reference) + " of " + repository.text(), std::move(use), {},
                         [=, this] { return done_or(reference_.remove(repository, reference)); });
}

// ---- lists ------------------------------------------------------------------------------------------------------

io::Task<void> OracleRun::list_tags(oci::RepositoryName repository, registry::Page page) {
  Use<registry::NameList> use = [=](registry::Registry& registry) {
    return registry.list_tags(client(), repository, page);
  };
  Words<registry::NameList> words = [](const auto& list) { return words_of(list.names, list.more); };
  co_await compare<registry::NameList>("the tags of " + repository.text() + " after \"" + page.after + "\"",
                                       std::move(use), std::move(words), [=, this] {
                                         const auto tags = reference_.tags(repository);
                                         return tags ? page_of(*tags, page)
                                                     : std::string(to_string(ErrorCode::not_found));
                                       });
}

io::Task<void> OracleRun::list_repositories(registry::Page page) {
  Use<registry::NameList> use = [=](registry::Registry& registry) {
    return registry.list_repositories(client(), page);
  };
  Words<registry::NameList> words = [](const auto& list) { return words_of(list.names, list.more); };
  co_await compare<registry::NameList>("the repositories after \"" + page.after + "\"", std::move(use),
                                       std::move(words),
                                       [=, this] { return page_of(reference_.repositories(), page); });
}

io::Task<void> OracleRun::list_referrers(oci::RepositoryName repository, oci::Digest subject,
                                         std::vector<std::string> types, registry::Page page) {
  Use<registry::ReferrerList> use = [=](registry::Registry& registry) {
    return registry.list_referrers(client(), repository, subject, types, page);
  };
  Words<registry::ReferrerList> words = [](const auto& list) {
    std::vector<std::string> digests;
    for (const auto& one : list.referrers) digests.push_back(one.descriptor.digest.text());
    return words_of(digests, list.more);
  };
  const bool any = types.empty() || std::ranges::find(types, signature) != types.end();
  co_await compare<registry::ReferrerList>(
      "the referrers of " + subject.text() + " in " + repository.text() + " after \"" + page.after + "\"",
      std::move(use), std::move(words), [=, this] {
        return page_of(any ? reference_.referrers(repository, subject) : std::vector<std::string>(), page);
      });
}

// ---- the course of a run ----------------------------------------------------------------------------------------

oci::Reference OracleRun::draw_reference() {
  if (random_.one_in(2)) return *oci::Tag::parse("t" + std::to_string(random_.below(tag_count)));
  return draw_known().digest;
}

const std::pair<const oci::Digest, std::string>& OracleRun::draw_blob() {
  const auto& blobs = images_[random_.below(4)].blobs;
  return drawn_from(blobs, random_);
}

registry::Page OracleRun::draw_page(std::string after) {
  registry::Page page;
  if (random_.one_in(2)) page.limit = 1 + random_.below(3);
  if (random_.one_in(2)) page.after = std::move(after);
  return page;
}

io::Task<void> OracleRun::any_request() {
  switch (random_.below(16)) {
    case 0: return push_blob(draw_repository(), draw_blob().second);
    case 1:
    case 2: return push_image();
    case 3: return head_blob(draw_repository(), draw_blob().first);
    case 4: return delete_blob();
    case 5: return mount();
    case 6:
    case 7:
    case 8: return put();
    case 9:
    case 10: return get(draw_repository(), draw_reference());
    case 11:
    case 12: return remove();
    case 13: return list_tags(draw_repository(), draw_page("t" + std::to_string(random_.below(tag_count))));
    case 14: return list_repositories(draw_page(draw_repository().text()));
    default: {
      std::vector<std::string> types;
      if (random_.one_in(2)) types.emplace_back(random_.one_in(2) ? signature : other_type);
      return list_referrers(draw_repository(), draw_known().digest, std::move(types),
                            draw_page(draw_known().digest.text()));
    }
  }
}

io::Task<void> OracleRun::work() {
  for (std::size_t i = 0; i < options_.operations; ++i) {
    co_await any_request();
    if (random_.one_in(2)) continue;  // at once, through a member that may not have heard of it
    auto slept = co_await io::sleep_for(std::chrono::milliseconds(random_.below(longest_pause_ms)));
    if (!slept) co_return;
  }
}

// Through every member, all there is.
io::Task<void> OracleRun::compare_all() {
  for (std::size_t member = 0; member < cluster_.size(); ++member) {
    asked_ = member;
    co_await list_repositories({});
    for (const auto& repository : repositories_) {
      co_await list_tags(repository, {});
      for (int i = 0; i < tag_count; ++i) co_await get(repository, *oci::Tag::parse("t" + std::to_string(i)));
      for (const Image& image : images_) {
        co_await get(repository, image.digest);
        co_await list_referrers(repository, image.digest, {}, {});
        for (const auto& [digest, content] : image.blobs) co_await head_blob(repository, digest);
      }
    }
  }
}

void OracleRun::disturb() {
  if (faults_.one_in(2)) cluster_.heal();
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    if (!cluster_.running(i) && faults_.one_in(2)) cluster_.start(i);
  }
  const std::size_t one = faults_.below(cluster_.size());
  const std::size_t other = faults_.below(cluster_.size());
  if (options_.crashes && faults_.one_in(5) && cluster_.running(one)) {
    ++crashes_;
    cluster_.kill(one, faults_.one_in(2) ? Loss::unsynced : Loss::nothing);
  }
  if (options_.cuts && faults_.one_in(5) && one != other) cluster_.cut(one, other);
  if (options_.cuts && faults_.one_in(8)) cluster_.cut_from_etcd(other);
  if (!options_.warts) return;
  if (faults_.one_in(3)) cluster_.etcd().set_warts(draw_warts(faults_));
  if (faults_.one_in(12)) cluster_.etcd().compact(cluster_.etcd().state().revision);
  if (faults_.one_in(12)) cluster_.etcd().break_watches();
  if (faults_.one_in(20)) cluster_.etcd().set_available(false);
}

void OracleRun::mend() {
  cluster_.etcd().set_warts({});
  cluster_.heal();
  cluster_.start_all();
}

void OracleRun::run_all() {
  constexpr io::Duration patience = std::chrono::minutes(3);
  cluster_.start_all();
  if (!cluster_.wait_until_joined(patience)) {
    violation("the cluster does not come together");
    return;
  }
  {
    io::TaskScope scope(executor_);
    scope.spawn("client", work());
    run_disturbed(world_, scope, faults_, [this] { disturb(); });
  }
  mend();
  if (!cluster_.wait_until_joined(patience)) {
    violation("the cluster does not come together, long after all was mended");
    return;
  }
  run(world_, executor_, compare_all());
}

}  // namespace hansa::sim
