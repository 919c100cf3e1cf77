#include "registry/body_cache.h"

namespace hansa::registry {

std::size_t BodyCache::weight_of(const std::string& body) {
  constexpr std::size_t of_an_entry = 256;  // list, index and digest
  return body.capacity() + of_an_entry;
}

std::shared_ptr<const std::string> BodyCache::find(const oci::Digest& digest) {
  const std::lock_guard guard(mutex_);
  const auto known = index_.find(digest);
  if (known == index_.end()) return nullptr;
  newest_first_.splice(newest_first_.begin(), newest_first_, known->second);
  return known->second->body;
}

void BodyCache::insert(const oci::Digest& digest, std::shared_ptr<const std::string> body) {
  const std::lock_guard guard(mutex_);
  if (index_.contains(digest) || weight_of(*body) > max_bytes_) return;
  bytes_ += weight_of(*body);
  newest_first_.push_front({.digest = digest, .body = std::move(body)});
  index_.emplace(digest, newest_first_.begin());
  while (bytes_ > max_bytes_) {
    const Entry& oldest = newest_first_.back();
    bytes_ -= weight_of(*oldest.body);
    index_.erase(oldest.digest);
    newest_first_.pop_back();
  }
}

}  // namespace hansa::registry
