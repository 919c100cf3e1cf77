// EtcdState: what an etcd holds, as a value: keys with their revisions, and everything that ever happened to them.
// Without time, faults or clients (those are EtcdModel's); copied for a backup, rewound for a loss.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "meta/etcd/channel.h"

namespace hansa::sim {

struct EtcdState {
  std::map<std::string, meta::KeyValue> keys;
  std::vector<meta::etcd::Event> events;  // of all revisions, in order, but for what compact() took
  meta::Revision revision = 1;
  meta::Revision compacted = 0;  // nothing before it can be read any more

  // Changes of revision `at`, which the caller then makes `revision`.
  void put(const std::string& key, const std::string& value, meta::Revision at);
  bool remove(const std::string& key, meta::Revision at);  // false: absent, no event

  bool holds(const meta::etcd::TxnCompare& compare) const;
  // As the request says, of the state at revision `at` (no later than `revision`); without a header.
  meta::etcd::RangeReply range(const meta::etcd::RangeRequest& request, meta::Revision at) const;
  // Events of [key, end) with mod >= from.
  std::vector<meta::etcd::Event> since(meta::Revision from, std::string_view key, std::string_view end) const;

  // The history before that revision goes, but for what the keys of that moment were; where it is gone already, nothing
  // happens.
  void compact(meta::Revision before);
  // What came after revision `to` never happened. REQUIRES: to >= compacted.
  void rewind(meta::Revision to);

 private:
  // Of [key, end), or of the one key where `end` is empty.
  std::map<std::string, meta::KeyValue> replay(meta::Revision at, std::string_view key, std::string_view end) const;
};

}  // namespace hansa::sim
