#include "sim/mixed_versions.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "catalog/records.h"

namespace hansa::sim {
namespace {

using Json = nlohmann::json;
using meta::etcd::TxnCompare;
using meta::etcd::TxnOperation;
using meta::etcd::TxnRequest;

constexpr const char* field = "later";

// A record of the catalogue; what others keep in etcd has no format number.
bool is_record(const Json& json) {
  return json.is_object() && json.contains("f");
}

// Records that are changed, not replaced by what a client brings.
bool is_changed_in_place(std::string_view key) {
  if (!key.starts_with(etcd_prefix)) return false;
  switch (catalog::split_key(key.substr(etcd_prefix.size())).kind) {
    case catalog::KeyKind::repo:
    case catalog::KeyKind::node:
    case catalog::KeyKind::holds:
    case catalog::KeyKind::tick:
    case catalog::KeyKind::layout: return true;
    default: return false;
  }
}

bool has_field(const std::string& value) {
  const Json json = Json::parse(value, nullptr, false);
  return is_record(json) && json.contains(field);
}

}  // namespace

class MixedVersions::VersionedChannel final : public meta::etcd::Channel {
 public:
  VersionedChannel(MixedVersions& versions, std::shared_ptr<meta::etcd::Channel> base, bool newer)
      : versions_(versions), base_(std::move(base)), newer_(newer) {}

  io::Task<Result<meta::etcd::TxnReply>> txn(TxnRequest request, io::Duration deadline) override {
    if (newer_) {
      add_field(request);
    } else {
      versions_.look(request);
    }
    return base_->txn(std::move(request), deadline);
  }
  io::Task<Result<meta::etcd::RangeReply>> range(meta::etcd::RangeRequest request, io::Duration deadline) override {
    return base_->range(std::move(request), deadline);
  }
  io::Task<Result<std::unique_ptr<meta::etcd::Watch>>> watch(std::string key, std::string end,
                                                             meta::Revision from) override {
    return base_->watch(std::move(key), std::move(end), from);
  }
  io::Task<Result<meta::LeaseId>> lease_grant(io::Duration ttl, io::Duration deadline) override {
    return base_->lease_grant(ttl, deadline);
  }
  io::Task<Result<io::Duration>> lease_keep_alive(meta::LeaseId lease, io::Duration deadline) override {
    return base_->lease_keep_alive(lease, deadline);
  }
  io::Task<Result<void>> lease_revoke(meta::LeaseId lease, io::Duration deadline) override {
    return base_->lease_revoke(lease, deadline);
  }
  io::Task<Result<meta::etcd::StatusReply>> status(io::Duration deadline) override { return base_->status(deadline); }

 private:
  MixedVersions& versions_;
  const std::shared_ptr<meta::etcd::Channel> base_;
  const bool newer_;
};

meta::etcd::ChannelFactory MixedVersions::channels(meta::etcd::ChannelFactory base, bool newer) {
  return [this, base = std::move(base),
          newer](const meta::etcd::ChannelSettings& settings) -> Result<std::shared_ptr<meta::etcd::Channel>> {
    HANSA_TRY(auto channel, base(settings));
    return std::make_shared<VersionedChannel>(*this, std::move(channel), newer);
  };
}

// The same request gets the same fields, however often it is submitted.
void MixedVersions::add_field(TxnRequest& request) {
  for (auto& one : request.success) {
    if (one.kind != TxnOperation::Kind::put) continue;
    Json json = Json::parse(one.value, nullptr, false);
    if (!is_record(json)) continue;
    json[field] = {{"since", 2}};
    one.value = json.dump();
  }
}

// A plan was made of what stood at the revision that it compares; where that stands still, it can be looked at.
void MixedVersions::look(const TxnRequest& request) {
  for (const auto& one : request.success) {
    if (one.kind != TxnOperation::Kind::put || !is_changed_in_place(one.key)) continue;
    const auto now = state_.keys.find(one.key);
    if (now == state_.keys.end() || !has_field(now->second.value)) continue;
    const auto planned_from_now = [&](const TxnCompare& compare) {
      return compare.key == one.key && compare.field == TxnCompare::Field::mod && compare.equals == now->second.mod;
    };
    if (std::ranges::none_of(request.compares, planned_from_now)) continue;
    if (has_field(one.value)) {
      ++kept_;
    } else {
      forgotten_.insert(one.key);
    }
  }
}

}  // namespace hansa::sim
