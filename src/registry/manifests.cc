// Use cases around manifests and tags.
#include <algorithm>

#include "io/wait.h"
#include "registry/service_impl.h"

namespace hansa::registry {
namespace {

ManifestHead head_of(const catalog::ManifestState& state, bool stale) {
  return {.digest = state.digest, .media_type = state.media_type, .size = state.size, .stale = stale};
}

std::shared_ptr<const catalog::ManifestState> shared(catalog::ManifestState state) {
  return std::make_shared<const catalog::ManifestState>(std::move(state));
}

// All tags that a push names, each once, in the order given.
std::vector<oci::Tag> tags_of(const ManifestPush& push) {
  std::vector<oci::Tag> tags;
  if (const auto* tag = std::get_if<oci::Tag>(&push.reference)) tags.push_back(*tag);
  for (const auto& tag : push.tags) {
    if (std::ranges::find(tags, tag) == tags.end()) tags.push_back(tag);
  }
  return tags;
}

// On the loop itself up to here: a tenth of a millisecond. Larger ones hold up nobody but their own request.
constexpr std::size_t read_at_once = 64 * KiB;
constexpr std::size_t few_references = 200;  // that a plan looks up on the loop itself

template <class F>
io::Task<std::invoke_result_t<F&>> beside_loop(std::size_t size, F function) {
  if (size <= read_at_once) co_return function();
  co_return co_await io::blocking(io::Pool::disk, std::move(function));
}

Result<oci::Digest> digest_of(const ManifestPush& push, const std::string& body) {
  const auto* named = std::get_if<oci::Digest>(&push.reference);
  const auto algorithm = named != nullptr ? named->algorithm() : oci::Algorithm::sha256;
  const auto actual = oci::Digest::compute(algorithm, as_bytes(body));
  if (named != nullptr && *named != actual) {
    return make_error(ErrorCode::invalid, Subject::digest,
                      "the manifest's bytes have the digest " + actual.text() + ", not " + named->text());
  }
  return actual;
}

// The rights that a push needs, decided in the snapshot of its commit: create for what is new, update for what moves.
void set_rights(catalog::ManifestPut& put, const auth::Access& who) {
  put.may_put_tag = [who, name = put.repository](const oci::Tag&, const oci::Digest* current) {
    return require(who, current == nullptr ? auth::Action::create : auth::Action::update, name);
  };
  if (!put.tags.empty()) return;
  put.may_put_manifest = [who, name = put.repository](bool exists) {
    return exists ? require_push(who, name) : require(who, auth::Action::create, name);
  };
}

}  // namespace

catalog::Weight weight_of(const oci::Manifest& manifest) {
  const std::size_t references = manifest.blobs.size() + manifest.foreign.size() + manifest.children.size();
  return references > few_references ? catalog::Weight::heavy : catalog::Weight::light;
}

io::Task<Result<oci::Manifest>> read_manifest(std::string media_type, std::shared_ptr<const std::string> body) {
  auto read = [&media_type, &body] { return oci::parse_manifest(media_type, as_bytes(*body)); };
  co_return co_await beside_loop(body->size(), std::move(read));
}

Result<std::optional<catalog::ManifestState>> look_up(catalog::Snapshot& view, const oci::RepositoryName& repository,
                                                      const oci::Reference& reference) {
  if (const auto* tag = std::get_if<oci::Tag>(&reference)) {
    HANSA_TRY(const auto state, view.tag(repository, *tag));
    return state ? std::optional(state->manifest) : std::nullopt;
  }
  return view.manifest(repository, std::get<oci::Digest>(reference));
}

Error no_manifest(const oci::RepositoryName& repository, const oci::Reference& reference) {
  return make_error(ErrorCode::not_found, Subject::manifest,
                    "the repository " + repository.text() + " has no manifest " + oci::to_string(reference));
}

io::Task<Result<Service::FoundManifest>> Service::find_manifest(auth::Access who, oci::RepositoryName repository,
                                                                oci::Reference reference) {
  HANSA_CO_CHECK(require(who, auth::Action::read, repository));
  const auto fence = co_await catalog_.barrier();
  if (fence) {
    if (auto seen = looks_.find(*fence, repository, reference)) co_return FoundManifest{.state = std::move(seen)};
  }
  auto fresh = fence ? catalog_.snapshot() : Result<catalog::Snapshot>(fence.error());
  if (!fresh && is_outage(fresh.error())) {
    HANSA_CO_TRY(auto told, co_await ask_members(repository, reference));
    if (told) co_return FoundManifest{.state = shared(*std::move(told)), .renewable = false};
    HANSA_CO_TRY(auto seen, stale_view(std::move(fresh).error()));
    HANSA_CO_TRY(auto state, look_up(seen.view, repository, reference));
    if (!state) co_return missing_from(seen, repository, no_manifest(repository, reference));
    co_return FoundManifest{.state = shared(*std::move(state)), .renewable = false, .stale = true};
  }
  if (!fresh) co_return std::move(fresh).error();
  HANSA_CO_TRY(auto state, look_up(*fresh, repository, reference));
  if (!state) co_return missing(*fresh, repository, no_manifest(repository, reference));
  FoundManifest found{.state = shared(*std::move(state))};
  looks_.put(*fence, fresh->revision(), repository, reference, found.state);
  co_return found;
}

io::Task<Result<ManifestHead>> Service::head_manifest(auth::Access who, oci::RepositoryName repository,
                                                      oci::Reference reference) {
  HANSA_CO_TRY(const auto found, co_await find_manifest(who, repository, reference));
  // What a tag shows is held by it, and gets a new grace time when the tag goes.
  const bool held = std::holds_alternative<oci::Tag>(reference);
  if (found.renewable && !held && who.may_push(repository)) {
    // The caller may go on to refer to it, so nothing may collect it meanwhile (H6).
    catalog::Planner plan = [repository, digest = found.state->digest](const catalog::Planning& planning) {
      return plan_renew_manifest(planning, repository, digest);
    };
    auto renewed = co_await catalog_.submit(std::move(plan));
    if (!renewed && renewed.error().code == ErrorCode::not_found) co_return no_manifest(repository, reference);
    if (!renewed) co_return renewed.error();
  }
  co_return head_of(*found.state, found.stale);
}

io::Task<Result<ManifestContent>> Service::get_manifest(auth::Access who, oci::RepositoryName repository,
                                                        oci::Reference reference) {
  HANSA_CO_TRY(const auto found, co_await find_manifest(std::move(who), repository, reference));
  HANSA_CO_TRY(auto body, co_await manifest_body(found.state->digest, found.state->size));
  if (pulls_ != nullptr) pulls_->count_pull(repository, found.state->digest, std::get_if<oci::Tag>(&reference));
  co_return ManifestContent{.head = head_of(*found.state, found.stale), .body = std::move(body)};
}

io::Task<Result<std::shared_ptr<const std::string>>> Service::manifest_body(oci::Digest digest, std::uint64_t size) {
  if (auto known = bodies_.find(digest)) co_return known;
  auto opened = co_await open_checked(digest, size, 0, size);
  if (!opened && opened.error().code == ErrorCode::not_found) {
    co_return make_error(ErrorCode::unavailable, Subject::manifest,
                         "the bytes of the manifest " + digest.text() + " cannot be had now");
  }
  if (!opened) co_return opened.error();
  auto body = std::make_shared<std::string>(size, '\0');
  const Bytes out(reinterpret_cast<std::byte*>(body->data()), body->size());
  std::size_t at = 0;
  while (at < out.size()) {
    HANSA_CO_TRY(const auto got, co_await (*opened)->read(at, out.subspan(at)));
    if (got == 0) {
      co_return make_error(ErrorCode::corrupt, Subject::manifest, "the stored manifest " + digest.text() + " is short");
    }
    at += got;
  }
  bodies_.insert(digest, body);
  co_return std::shared_ptr<const std::string>(std::move(body));
}

io::Task<Result<ManifestPushed>> Service::put_manifest(auth::Access who, oci::RepositoryName repository,
                                                       ManifestPush push) {
  HANSA_CO_CHECK(require_push(who, repository));
  auto tags = tags_of(push);
  if (tags.size() > max_tags_per_push) {
    co_return make_error(ErrorCode::too_many, Subject::tag,
                         "a push may name at most " + std::to_string(max_tags_per_push) + " tags");
  }
  auto body = std::make_shared<const std::string>(std::move(push.body));
  const std::uint64_t size = body->size();
  oci::Digest digest;
  auto read = [&push, &body, &digest]() -> Result<oci::Manifest> {
    HANSA_TRY(auto parsed, oci::parse_manifest(push.media_type, as_bytes(*body)));
    HANSA_TRY(digest, digest_of(push, *body));
    return parsed;
  };
  HANSA_CO_TRY(auto parsed, co_await beside_loop(size, std::move(read)));
  auto manifest = std::make_shared<const oci::Manifest>(std::move(parsed));
  HANSA_CO_TRY(auto receipt, co_await blobs_.put(digest, *body));

  catalog::ManifestPut put{.repository = repository,
                           .digest = digest,
                           .manifest = manifest,
                           .tags = tags,
                           .receipts = {},
                           .user = who.identity().user,
                           .if_match = push.if_match,
                           .if_none_match = push.if_none_match,
                           .may_put_tag = nullptr,
                           .may_put_manifest = nullptr};
  set_rights(put, who);
  ReceiptPlanner plan = [put = std::move(put)](const std::vector<catalog::Receipt>& fresh) -> catalog::Planner {
    auto with_receipts = put;
    with_receipts.receipts = fresh;
    return [with_receipts = std::move(with_receipts)](const catalog::Planning& planning) {
      return plan_put_manifest(planning, with_receipts);
    };
  };
  HANSA_CO_CHECK(co_await submit_with_receipts(digest, size, std::move(receipt), std::nullopt, std::move(plan),
                                               weight_of(*manifest)));
  bodies_.insert(digest, std::move(body));
  ManifestPushed pushed{.digest = digest, .subject = std::nullopt, .tags = std::move(tags)};
  if (manifest->subject) pushed.subject = manifest->subject->digest;
  co_return pushed;
}

io::Task<Result<void>> Service::delete_manifest(auth::Access who, oci::RepositoryName repository,
                                                oci::Reference reference) {
  HANSA_CO_CHECK(require(who, auth::Action::remove, repository));
  catalog::Planner plan = [repository, reference](const catalog::Planning& planning) {
    if (const auto* tag = std::get_if<oci::Tag>(&reference)) return plan_delete_tag(planning, repository, *tag);
    return plan_delete_manifest(planning, repository, std::get<oci::Digest>(reference));
  };
  auto done = co_await submit_removal(std::move(plan));
  if (done) co_return Result<void>{};
  if (done.error().code != ErrorCode::not_found) co_return done.error();
  co_return co_await missing_now(repository, no_manifest(repository, reference));
}

}  // namespace hansa::registry
