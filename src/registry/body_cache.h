// Manifest bodies by digest, the ones used last, within a number of bytes of memory. Content-addressed, so nothing ever
// goes stale: whether a manifest exists is asked of the catalogue each time. Thread-safe.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "oci/digest.h"

namespace hansa::registry {

class BodyCache {
 public:
  explicit BodyCache(std::size_t max_bytes) : max_bytes_(max_bytes) {}
  std::shared_ptr<const std::string> find(const oci::Digest& digest);
  void insert(const oci::Digest& digest, std::shared_ptr<const std::string> body);

 private:
  static std::size_t weight_of(const std::string& body);  // what it takes in memory
  struct Entry {
    oci::Digest digest;
    std::shared_ptr<const std::string> body;
  };
  std::size_t max_bytes_;
  std::mutex mutex_;
  std::list<Entry> newest_first_;
  std::unordered_map<oci::Digest, std::list<Entry>::iterator> index_;
  std::size_t bytes_ = 0;
};

}  // namespace hansa::registry
