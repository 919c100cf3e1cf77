// MixedVersions: members of a newer version of Hansa beside those of this one, as while an upgrade rolls through a
// cluster. The newer version is this one but that it writes a field into every record that this one does not know
// (catalog/records.h: unknown fields are kept). Of what members of this version do to records that are changed, not
// replaced, it looks whether the field is still there.
//
//   MixedVersions versions(etcd.state());
//   node ports: .channels = versions.channels(etcd.channels("node-1/1"), newer);
//   versions.forgotten();  // in the end
//
// Outlives its channels; the state outlives it. Use from the world's thread.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "meta/etcd/channel.h"
#include "sim/ports/etcd_state.h"

namespace hansa::sim {

inline constexpr std::string_view etcd_prefix = "hansa/";  // of Hansa's keys

class MixedVersions {
 public:
  explicit MixedVersions(const EtcdState& state) : state_(state) {}

  // Of one life of a member.
  meta::etcd::ChannelFactory channels(meta::etcd::ChannelFactory base, bool newer);

  // Keys from whose records the newer version's field vanished as a member of this version changed them.
  const std::set<std::string>& forgotten() const { return forgotten_; }
  std::uint64_t kept() const { return kept_; }  // changes looked at that kept it

 private:
  class VersionedChannel;

  static void add_field(meta::etcd::TxnRequest& request);
  void look(const meta::etcd::TxnRequest& request);

  const EtcdState& state_;
  std::set<std::string> forgotten_;
  std::uint64_t kept_ = 0;
};

}  // namespace hansa::sim
