#include "sim/memory_run.h"

#include <malloc.h>

#include <algorithm>

#include "sim/disturbed.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HANSA_HEAP_OF_ITS_OWN
#endif
#endif

namespace hansa::sim {
namespace {

constexpr std::uint64_t longest_pause_ms = 300;  // between two rounds
constexpr int tag_count = 3;
// After which nothing is left to collect, and a peer has given up on what it was sent a part of.
constexpr io::Duration rest = std::chrono::minutes(12);
// Of the first epochs nothing is concluded: caches fill, tables get their first sizes.
constexpr std::size_t warm_up = 3;
// Bytes that a round may leave behind: what the allocator keeps, and tables that grow by doubling.
constexpr std::size_t slack_of_a_round = 1024;

}  // namespace

bool MemoryRun::measures() {
#if defined(HANSA_HEAP_OF_ITS_OWN)
  return false;
#else
  return true;
#endif
}

MemoryRun::MemoryRun(World& world, SimCluster& cluster, io::Duration grace, MemoryOptions options)
    : world_(world),
      cluster_(cluster),
      grace_(grace),
      options_(options),
      executor_(world, "client"),
      random_(world.random("requests")),
      faults_(world.random("faults")) {
  for (const char* name : {"team/app", "team/lib"}) repositories_.push_back(*oci::RepositoryName::parse(name));
}

void MemoryRun::violation(const std::string& what) {
  violations_.push_back(what);
  cluster_.log(0).error("VIOLATION " + what);
  world_.note("violation");
}

template <class T>
io::Task<Answer<T>> MemoryRun::ask(Use<T> use) {
  return cluster_.ask<Result<T>>(random_.below(cluster_.size()), std::move(use));
}

// ---- what a round asks for --------------------------------------------------------------------------------------

io::Task<void> MemoryRun::push(Image image, oci::RepositoryName repository) {
  for (const auto& [digest, content] : image.blobs) {
    const auto bytes = std::make_shared<io::MemorySource>(as_bytes(content));
    Use<void> use = [repository, digest, bytes](registry::Registry& registry) {
      return registry.push_blob(client(), repository, digest, *bytes);
    };
    const auto pushed = co_await ask<void>(std::move(use));
    if (!happened(pushed)) co_return;
  }
  const auto body = std::make_shared<registry::ManifestPush>();
  body->reference = image.digest;
  if (!random_.one_in(3)) body->reference = *oci::Tag::parse("t" + std::to_string(random_.below(tag_count)));
  body->media_type = std::string(image.type);
  body->body = image.body;
  Use<registry::ManifestPushed> put = [repository, body](registry::Registry& registry) {
    return registry.put_manifest(client(), repository, *body);
  };
  const auto answer = co_await ask<registry::ManifestPushed>(std::move(put));
  if (!happened(answer)) co_return;
  ++acknowledged_;
  Use<registry::ManifestContent> get = [repository, digest = image.digest](registry::Registry& registry) {
    return registry.get_manifest(client(), repository, digest);
  };
  co_await ask<registry::ManifestContent>(std::move(get));
  for (const auto& [blob, content] : image.blobs) {
    Use<registry::BlobContent> pull = [repository, digest = blob](registry::Registry& registry) {
      return registry.get_blob(client(), repository, digest);
    };
    co_await ask<registry::BlobContent>(std::move(pull));
  }
}

// One that nobody ends, one that its client breaks off, one that ends twice, one that ends as something else.
io::Task<void> MemoryRun::leave_uploads(oci::RepositoryName repository) {
  enum Fate : std::uint8_t { left, cancelled, repeated, wrong, fates };
  for (int fate = left; fate != fates; ++fate) {
    Use<registry::UploadStatus> begin = [repository](registry::Registry& registry) {
      return registry.begin_upload(client(), repository, oci::Algorithm::sha256);
    };
    const auto begun = co_await ask<registry::UploadStatus>(std::move(begin));
    if (!happened(begun)) continue;
    const std::string session = (*begun)->session;
    const std::string content = "upload " + std::to_string(++fresh_);
    const auto bytes = std::make_shared<io::MemorySource>(as_bytes(content));
    Use<registry::UploadStatus> append = [=](registry::Registry& registry) {
      return registry.append_upload(client(), repository, session, {}, *bytes);
    };
    co_await ask<registry::UploadStatus>(std::move(append));
    if (fate == left) continue;
    if (fate == cancelled) {
      Use<void> cancel = [=](registry::Registry& registry) {
        return registry.cancel_upload(client(), repository, session);
      };
      co_await ask<void>(std::move(cancel));
      continue;
    }
    const auto digest = sha256(fate == wrong ? content + "?" : content);
    const auto nothing = std::make_shared<io::MemorySource>(as_bytes(std::string_view()));
    Use<void> finish = [=](registry::Registry& registry) {
      return registry.finish_upload(client(), repository, session, {}, *nothing, digest);
    };
    co_await ask<void>(finish);
    co_await ask<void>(finish);
  }
}

// Of names and digests that nobody has, each new: what is remembered of a question must be forgotten too.
io::Task<void> MemoryRun::ask_for_nothing() {
  const auto stranger = *oci::RepositoryName::parse("nobody/has" + std::to_string(++fresh_));
  const auto repository = drawn_from(repositories_, random_);
  const auto digest = sha256("nothing " + std::to_string(fresh_));
  const auto tag = *oci::Tag::parse("never" + std::to_string(fresh_));
  for (const auto& name : {stranger, repository}) {
    Use<registry::ManifestContent> get = [=](registry::Registry& registry) {
      return registry.get_manifest(client(), name, tag);
    };
    co_await ask<registry::ManifestContent>(std::move(get));
    Use<registry::BlobHead> head = [=](registry::Registry& registry) {
      return registry.head_blob(client(), name, digest);
    };
    co_await ask<registry::BlobHead>(std::move(head));
    Use<registry::ReferrerList> list = [=](registry::Registry& registry) {
      return registry.list_referrers(client(), name, digest, {}, {});
    };
    co_await ask<registry::ReferrerList>(std::move(list));
    Use<void> remove = [=](registry::Registry& registry) { return registry.delete_manifest(client(), name, tag); };
    co_await ask<void>(std::move(remove));
    Use<registry::UploadStatus> status = [=](registry::Registry& registry) {
      return registry.upload_status(client(), name, digest.text());
    };
    co_await ask<registry::UploadStatus>(std::move(status));
  }
  Use<registry::NameList> tags = [=](registry::Registry& registry) {
    return registry.list_tags(client(), stranger, {});
  };
  co_await ask<registry::NameList>(std::move(tags));
  Use<bool> mount = [=](registry::Registry& registry) {
    return registry.mount_blob(client(), repository, digest, stranger);
  };
  co_await ask<bool>(std::move(mount));
  // Refused: it refers to what is not there.
  const Image image = draw_image(random_);
  const auto body = std::make_shared<registry::ManifestPush>();
  body->reference = tag;
  body->media_type = std::string(image.type);
  body->body = image.body;
  Use<registry::ManifestPushed> put = [=](registry::Registry& registry) {
    return registry.put_manifest(client(), stranger, *body);
  };
  co_await ask<registry::ManifestPushed>(std::move(put));
}

io::Task<void> MemoryRun::rounds() {
  for (std::size_t i = 0; i < options_.rounds; ++i) {
    const auto repository = drawn_from(repositories_, random_);
    const Image one = draw_image(random_);
    const Image other = draw_image(random_);
    co_await push(one, repository);
    co_await push(other, repository);
    co_await push(draw_attachment(random_, one), repository);
    Image index = make_index(one, other);
    for (const auto& child : index.children) index.blobs.erase(child);  // they are manifests already
    co_await push(std::move(index), repository);
    co_await leave_uploads(repository);
    co_await ask_for_nothing();
    auto slept = co_await io::sleep_for(std::chrono::milliseconds(random_.below(longest_pause_ms)));
    if (!slept) co_return;
  }
}

// All tags go; what nothing holds then, collection takes.
io::Task<void> MemoryRun::take_back() {
  for (const auto& repository : repositories_) {
    for (int i = 0; i < tag_count; ++i) {
      Use<void> remove = [repository, i](registry::Registry& registry) {
        return registry.delete_manifest(client(), repository, *oci::Tag::parse("t" + std::to_string(i)));
      };
      co_await ask<void>(std::move(remove));
    }
  }
}

// ---- the course of a run ----------------------------------------------------------------------------------------

void MemoryRun::disturb() {
  if (faults_.one_in(2)) cluster_.heal();
  const std::size_t one = faults_.below(cluster_.size());
  const std::size_t other = faults_.below(cluster_.size());
  if (options_.cuts && faults_.one_in(6) && one != other) cluster_.cut(one, other);
  if (options_.cuts && faults_.one_in(10)) cluster_.cut_from_etcd(other);
  if (options_.cuts && faults_.one_in(10)) cluster_.etcd().break_watches();
}

void MemoryRun::run_all() {
  constexpr io::Duration patience = std::chrono::minutes(3);
  cluster_.start_all();
  if (!cluster_.wait_until_joined(patience)) {
    violation("the cluster does not come together");
    return;
  }
  for (std::size_t epoch = 0; epoch < options_.epochs; ++epoch) {
    {
      io::TaskScope scope(executor_);
      scope.spawn("client", rounds());
      run_disturbed(world_, scope, faults_, [this] { disturb(); });
    }
    cluster_.heal();
    if (!cluster_.wait_until_joined(patience)) {
      violation("the cluster does not come together, long after all was mended");
      return;
    }
    run(world_, executor_, take_back());
    world_.run_for(rest);
    cluster_.etcd().compact(cluster_.etcd().state().revision);
    world_.run_for(grace_);
    in_use_.push_back(heap_in_use());
    keys_.push_back(cluster_.etcd().state().keys.size());
    cluster_.log(0).info("at rest", {{"in_use", in_use_.back()}, {"keys", keys_.back()}});
  }
  check();
}

std::size_t MemoryRun::heap_in_use() {
  const auto info = mallinfo2();
  std::size_t bytes = info.uordblks + info.hblkhd;
  for (std::size_t i = 0; i < cluster_.size(); ++i) bytes -= cluster_.disk(i).memory();
  return bytes;
}

void MemoryRun::check() {
  if (keys_.back() > keys_.front()) {
    violation("etcd is left with " + std::to_string(keys_.back()) + " keys, after the first epoch with " +
              std::to_string(keys_.front()));
  }
  if (!measures() || in_use_.size() <= warm_up) return;
  const std::size_t before = in_use_[warm_up - 1];
  const std::size_t rounds = (in_use_.size() - warm_up) * options_.rounds;
  if (in_use_.back() <= before + rounds * slack_of_a_round) return;
  std::string course;
  for (const std::size_t bytes : in_use_) course += " " + std::to_string(bytes / 1024);
  violation("what is in use at rest grew by " + std::to_string((in_use_.back() - before) / rounds) +
            " bytes a round; KiB after each epoch:" + course);
}

}  // namespace hansa::sim
