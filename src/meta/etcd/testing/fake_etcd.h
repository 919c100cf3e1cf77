// FakeEtcd: one etcd in a simulated world, behind any number of endpoints, for the tests of etcd::Store. It keeps all
// history; events can be lost, the store can be set back, compacted, cut off. For tests only.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "io/wait.h"
#include "meta/etcd/channel.h"
#include "sim/ports/world.h"

namespace hansa::meta::etcd::testing {

enum class TxnFate : std::uint8_t { normal, unknown_applied, unknown_lost };

class FakeEtcd {
 public:
  struct State {
    std::map<std::string, KeyValue> keys;
    std::vector<Event> events;  // of all revisions, in order
    Revision revision = 1;
  };

  explicit FakeEtcd(sim::World& world) : world_(world) {}

  ChannelFactory channels();
  State save() const { return state_; }
  // As a restored snapshot: the same cluster, its streams broken.
  void restore(State state) {
    state_ = std::move(state);
    ++streams_;
  }
  void compact(Revision revision) { compacted_ = revision; }
  void break_watches() { ++streams_; }
  // Somebody's write, without head.
  void put_foreign(std::string key, std::string value) {
    const Revision at = ++state_.revision;
    put({.kind = TxnOperation::Kind::put, .key = std::move(key), .value = std::move(value), .lease = 0}, at);
  }

  std::string version = "3.6.9";
  std::uint64_t db_size = 0;
  bool no_space = false;
  bool available = true;
  std::set<std::string> cut_off;  // endpoints
  TxnFate next_txn = TxnFate::normal;
  std::set<Revision> lost;  // no watch hears of these, once
  bool repeat_all = false;  // the next reply of a watch begins with all that was, as it was
  std::uint64_t head_reads = 0;
  const State& state() const { return state_; }

 private:
  class FakeChannel;
  class FakeWatch;
  struct Granted {
    io::Duration ttl{};
    io::Duration until{};
    std::set<std::string> keys;
  };

  Header header() const { return {.cluster = 7, .member = 1, .revision = state_.revision, .raft_term = 1}; }
  bool reachable(const std::string& endpoint) const { return available && !cut_off.contains(endpoint); }
  void put(const TxnOperation& operation, Revision at) {
    auto& record = state_.keys[operation.key];
    if (record.version == 0) record = {.key = operation.key, .value = {}, .create = at, .mod = 0, .version = 0};
    record.value = operation.value;
    record.mod = at;
    ++record.version;
    for (auto& [id, lease] : leases_) lease.keys.erase(operation.key);
    if (operation.lease != 0) leases_[operation.lease].keys.insert(operation.key);
    state_.events.push_back({.now = record, .deleted = false});
  }
  bool remove(const std::string& key, Revision at) {
    if (state_.keys.erase(key) == 0) return false;
    state_.events.push_back({.now = {.key = key, .value = {}, .create = 0, .mod = at, .version = 0}, .deleted = true});
    return true;
  }
  void end_lease(LeaseId id) {
    const auto keys = std::move(leases_[id].keys);
    leases_.erase(id);
    if (!keys.empty()) ++state_.revision;
    for (const auto& key : keys) remove(key, state_.revision);
  }
  void expire() {
    std::vector<LeaseId> over;
    for (const auto& [id, lease] : leases_) {
      if (lease.until <= world_.now()) over.push_back(id);
    }
    for (const auto id : over) end_lease(id);
  }
  // The keys as they were at a revision.
  std::map<std::string, KeyValue> keys_at(Revision revision) const {
    std::map<std::string, KeyValue> keys;
    for (const auto& event : state_.events) {
      if (event.now.mod > revision) break;
      if (event.deleted) {
        keys.erase(event.now.key);
      } else {
        keys[event.now.key] = event.now;
      }
    }
    return keys;
  }
  bool holds(const TxnCompare& compare) const {
    const auto known = state_.keys.find(compare.key);
    if (known == state_.keys.end()) return compare.equals == 0;
    const auto& record = known->second;
    if (compare.field == TxnCompare::Field::mod) return record.mod == compare.equals;
    return (compare.field == TxnCompare::Field::create ? record.create : record.version) == compare.equals;
  }
  Result<TxnReply> carry_out(const TxnRequest& request) {
    TxnReply reply;
    reply.succeeded = std::ranges::all_of(request.compares, [this](const auto& one) { return holds(one); });
    const auto& operations = reply.succeeded ? request.success : request.failure;
    for (const auto& one : operations) {
      if (one.kind != TxnOperation::Kind::put) continue;
      if (no_space) return make_error(ErrorCode::out_of_space, "mvcc: database space exceeded");
      if (one.lease != 0 && !leases_.contains(one.lease)) return make_error(ErrorCode::not_found, "no such lease");
    }
    bool wrote = false;
    const Revision at = state_.revision + 1;
    for (const auto& one : operations) {
      if (one.kind == TxnOperation::Kind::put) put(one, at);
      if (one.kind == TxnOperation::Kind::put) wrote = true;
      if (one.kind == TxnOperation::Kind::remove) wrote = remove(one.key, at) || wrote;
      if (one.kind != TxnOperation::Kind::range) continue;
      auto& range = reply.ranges.emplace_back();
      if (state_.keys.contains(one.key)) range.values.push_back(state_.keys.at(one.key));
    }
    if (wrote) state_.revision = at;
    reply.header = header();
    return reply;
  }

  sim::World& world_;
  State state_;
  Revision compacted_ = 0;
  int streams_ = 0;
  std::map<LeaseId, Granted> leases_;
  LeaseId last_lease_ = 0;
};

class FakeEtcd::FakeWatch final : public Watch {
 public:
  FakeWatch(FakeEtcd& etcd, std::string endpoint, std::string key, std::string end, Revision from)
      : etcd_(etcd), endpoint_(std::move(endpoint)), key_(std::move(key)), end_(std::move(end)), from_(from) {}
  io::Task<Result<WatchReply>> next() override {
    WatchReply reply;
    reply.created = !std::exchange(created_, true);
    while (true) {
      HANSA_CO_CHECK(co_await io::sleep_for(std::chrono::milliseconds(1)));
      etcd_.expire();
      if (streams_ != etcd_.streams_ || !etcd_.reachable(endpoint_)) {
        co_return make_error(ErrorCode::unavailable, "the stream broke");
      }
      reply.header = etcd_.header();
      if (from_ <= etcd_.compacted_) {
        reply.canceled = true;
        reply.compacted = etcd_.compacted_;
        co_return reply;
      }
      const Revision from = etcd_.repeat_all ? 0 : from_;
      if (!reply.created) etcd_.repeat_all = false;
      for (const auto& event : etcd_.state_.events) {
        if (event.now.mod < from || event.now.key < key_ || event.now.key >= end_) continue;
        if (!etcd_.lost.contains(event.now.mod)) reply.events.push_back(event);
      }
      std::erase_if(etcd_.lost, [this](Revision at) { return at <= etcd_.state_.revision; });
      from_ = std::max(from_, etcd_.state_.revision + 1);
      if (reply.created || !reply.events.empty()) co_return reply;
    }
  }

 private:
  FakeEtcd& etcd_;
  std::string endpoint_;
  std::string key_;
  std::string end_;
  Revision from_;
  int streams_ = etcd_.streams_;
  bool created_ = false;
};

class FakeEtcd::FakeChannel final : public Channel {
 public:
  FakeChannel(FakeEtcd& etcd, std::string endpoint) : etcd_(etcd), endpoint_(std::move(endpoint)) {}

  io::Task<Result<RangeReply>> range(RangeRequest request, io::Duration) override {
    HANSA_CO_CHECK(co_await reach());
    if (request.key.ends_with("head")) ++etcd_.head_reads;
    if (request.revision > etcd_.state_.revision || (request.revision != 0 && request.revision < etcd_.compacted_)) {
      co_return make_error(ErrorCode::range, "that revision is compacted, or yet to come");
    }
    RangeReply reply{.header = etcd_.header(), .values = {}, .count = 0, .more = false};
    const auto keys = etcd_.keys_at(request.revision == 0 ? etcd_.state_.revision : request.revision);
    for (auto at = keys.lower_bound(request.key); at != keys.end(); ++at) {
      if (request.end.empty() ? at->first != request.key : at->first >= request.end) break;
      reply.more = request.limit != 0 && reply.values.size() == request.limit;
      if (reply.more) break;
      reply.values.push_back(at->second);
    }
    co_return reply;
  }
  io::Task<Result<TxnReply>> txn(TxnRequest request, io::Duration) override {
    HANSA_CO_CHECK(co_await reach());
    const TxnFate fate = std::exchange(etcd_.next_txn, TxnFate::normal);
    if (fate == TxnFate::unknown_lost) co_return make_error(ErrorCode::ambiguous, "no answer");
    auto reply = etcd_.carry_out(request);
    if (fate == TxnFate::unknown_applied) co_return make_error(ErrorCode::ambiguous, "no answer");
    co_return reply;
  }
  io::Task<Result<std::unique_ptr<Watch>>> watch(std::string key, std::string end, Revision from) override {
    HANSA_CO_CHECK(co_await reach());
    co_return std::make_unique<FakeWatch>(etcd_, endpoint_, std::move(key), std::move(end), from);
  }
  io::Task<Result<LeaseId>> lease_grant(io::Duration ttl, io::Duration) override {
    HANSA_CO_CHECK(co_await reach());
    etcd_.leases_[++etcd_.last_lease_] = {.ttl = ttl, .until = etcd_.world_.now() + ttl, .keys = {}};
    co_return etcd_.last_lease_;
  }
  io::Task<Result<io::Duration>> lease_keep_alive(LeaseId lease, io::Duration) override {
    HANSA_CO_CHECK(co_await reach());
    const auto known = etcd_.leases_.find(lease);
    if (known == etcd_.leases_.end()) co_return make_error(ErrorCode::not_found, "no such lease");
    known->second.until = etcd_.world_.now() + known->second.ttl;
    co_return known->second.ttl;
  }
  io::Task<Result<void>> lease_revoke(LeaseId lease, io::Duration) override {
    HANSA_CO_CHECK(co_await reach());
    etcd_.end_lease(lease);
    co_return Result<void>{};
  }
  io::Task<Result<StatusReply>> status(io::Duration) override {
    HANSA_CO_CHECK(co_await reach());
    StatusReply reply;
    reply.header = etcd_.header();
    reply.version = etcd_.version;
    reply.leader = 1;
    reply.db_size = etcd_.db_size;
    co_return reply;
  }

 private:
  io::Task<Result<void>> reach() {
    HANSA_CO_CHECK(co_await io::sleep_for(std::chrono::microseconds(300)));
    if (!etcd_.reachable(endpoint_)) co_return make_error(ErrorCode::unavailable, endpoint_ + " refuses connections");
    etcd_.expire();
    co_return Result<void>{};
  }
  FakeEtcd& etcd_;
  std::string endpoint_;
};

inline ChannelFactory FakeEtcd::channels() {
  return [this](const ChannelSettings& settings) -> Result<std::shared_ptr<Channel>> {
    return std::make_shared<FakeChannel>(*this, settings.endpoint);
  };
}

}  // namespace hansa::meta::etcd::testing
