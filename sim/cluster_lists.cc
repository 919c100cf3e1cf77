// Things that clients attach to images, and lists, of referrers and of tags. A list passes a barrier as a read of one
// thing does: what it shows, and what it does not, is an answer about each thing that it could show (P3).
#include <algorithm>

#include "sim/cluster_push_pull.h"

namespace hansa::sim {
// As one signs what was just pulled: the subject is there, or was a moment ago.
io::Task<void> ClusterPushPull::attach(Client& client) {
  const auto repository = draw_repository(client);
  const auto subject = co_await read_tag(client, draw_member(client), repository, draw_tag(client));
  if (!subject || !images_.contains(*subject)) co_return;
  const Image attachment = draw_attachment(client.random, images_.at(*subject));
  images_.emplace(attachment.digest, attachment);
  attached_[repository][*subject].insert(attachment.digest);
  const auto began = world_.now();
  const bool pushed = co_await push_part(client, repository, attachment);
  if (!pushed) co_return;
  const std::size_t member = draw_member(client);
  const auto listed = co_await list_referrers(client, member, repository, *subject);
  const bool may_be_gone = erased_.contains(repository.text() + "@" + attachment.digest.text());
  if (!listed || listed->contains(attachment.digest) || may_be_gone || world_.now() - began >= grace_) co_return;
  violation(client.who(member) + ": what was just attached to " + subject->text() +
            " is not listed: " + attachment.digest.text());
}

io::Task<void> ClusterPushPull::look_at_lists(Client& client) {
  const auto repository = draw_repository(client);
  const auto& known = attached_[repository];
  if (known.empty() || client.random.one_in(3)) {
    co_await list_tags(client, draw_member(client), repository);
    co_return;
  }
  const auto [subject, attachments] = drawn_from(known, client.random);
  if (client.random.one_in(4)) co_await erase(client, repository, drawn_from(attachments, client.random));
  co_await list_referrers(client, draw_member(client), repository, subject);
}

io::Task<bool> ClusterPushPull::list_tags(Client& client, std::size_t member, oci::RepositoryName repository) {
  const auto began = world_.now();
  Use<registry::NameList> list = [who = access(client), repository](registry::Registry& registry) {
    return registry.list_tags(who, repository, {});
  };
  const auto answer = co_await cluster_.ask<Result<registry::NameList>>(member, std::move(list));
  const bool unknown = is(answer, ErrorCode::not_found);  // the repository: nothing is in it
  if (!unknown && (!happened(answer) || (*answer)->stale)) co_return false;
  const auto names = unknown ? std::vector<std::string>() : (*answer)->names;
  if (!std::ranges::is_sorted(names, std::less_equal())) violation(client.who(member) + ": tags out of order");
  for (std::uint64_t i = 0; i < tag_count_; ++i) {
    const bool listed = std::ranges::binary_search(names, tag_name(i));
    const auto kind = listed ? Operation::Kind::differs : Operation::Kind::read;  // from nothing; of nothing
    write_down(tag_history(repository, tag_name(i)), client, member, kind, "", began, true);
  }
  co_return true;
}

io::Task<std::optional<std::set<oci::Digest>>> ClusterPushPull::list_referrers(Client& client, std::size_t member,
                                                                               oci::RepositoryName repository,
                                                                               oci::Digest subject) {
  const auto began = world_.now();
  Use<registry::ReferrerList> list = [who = access(client), repository, subject](registry::Registry& registry) {
    return registry.list_referrers(who, repository, subject, {}, {});
  };
  const auto answer = co_await cluster_.ask<Result<registry::ReferrerList>>(member, std::move(list));
  if (!happened(answer) || (*answer)->stale) co_return std::nullopt;
  const auto& attachments = attached_[repository][subject];
  std::set<oci::Digest> listed;
  for (const auto& referrer : (*answer)->referrers) {
    listed.insert(referrer.descriptor.digest);
    if (attachments.contains(referrer.descriptor.digest)) continue;
    violation(client.who(member) + ": " + referrer.descriptor.digest.text() + " is listed and was never attached to " +
              subject.text());
  }
  for (const oci::Digest& one : attachments) {
    write_down(manifest_history(repository, one), client, member, Operation::Kind::read,
               listed.contains(one) ? std::string(there) : std::string(), began, true);
  }
  co_return listed;
}

// Through one member, in the end: every list, and what is listed whole.
io::Task<void> ClusterPushPull::check_lists(Client& client, std::size_t member, oci::RepositoryName repository) {
  const bool tags = co_await list_tags(client, member, repository);
  if (!tags) violation(client.who(member) + ": the tags of " + repository.text() + " cannot be listed");
  const auto known = attached_[repository];
  for (const auto& [subject, attachments] : known) {
    const auto listed = co_await list_referrers(client, member, repository, subject);
    if (!listed) {
      violation(client.who(member) + ": the referrers of " + subject.text() + " cannot be listed");
      continue;
    }
    // One whose subject is gone may be collected meanwhile.
    for (const oci::Digest& one : *listed) co_await read_blobs(client, member, repository, one, false);
  }
}

}  // namespace hansa::sim
