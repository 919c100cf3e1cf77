#include "meta/etcd/grpc_channel.h"

#include <algorithm>

#include "meta/etcd/grpc_watch.h"

namespace hansa::meta::etcd {
namespace {

namespace pb = etcdserverpb;

void fill(pb::RangeRequest& out, const RangeRequest& in) {
  out.set_key(in.key);
  out.set_range_end(in.end);
  out.set_limit(static_cast<std::int64_t>(in.limit));
  out.set_revision(static_cast<std::int64_t>(in.revision));
  out.set_serializable(in.serializable);
  out.set_keys_only(in.keys_only);
  out.set_count_only(in.count_only);
}

RangeReply reply_of(const pb::RangeResponse& in) {
  RangeReply out{.header = header_of(in.header()), .values = {}, .count = static_cast<std::uint64_t>(in.count())};
  out.more = in.more();
  out.values.reserve(static_cast<std::size_t>(in.kvs_size()));
  for (const auto& record : in.kvs()) out.values.push_back(record_of(record));
  return out;
}

void fill(pb::Compare& out, const TxnCompare& in) {
  out.set_result(pb::Compare::EQUAL);
  out.set_key(in.key);
  const auto equals = static_cast<std::int64_t>(in.equals);
  switch (in.field) {
    case TxnCompare::Field::mod:
      out.set_target(pb::Compare::MOD);
      out.set_mod_revision(equals);
      break;
    case TxnCompare::Field::create:
      out.set_target(pb::Compare::CREATE);
      out.set_create_revision(equals);
      break;
    case TxnCompare::Field::version:
      out.set_target(pb::Compare::VERSION);
      out.set_version(equals);
      break;
  }
}

void fill(pb::RequestOp& out, const TxnOperation& in) {
  switch (in.kind) {
    case TxnOperation::Kind::put: {
      auto* put = out.mutable_request_put();
      put->set_key(in.key);
      put->set_value(in.value);
      put->set_lease(static_cast<std::int64_t>(in.lease));
      break;
    }
    case TxnOperation::Kind::remove: out.mutable_request_delete_range()->set_key(in.key); break;
    case TxnOperation::Kind::range: out.mutable_request_range()->set_key(in.key); break;
  }
}

// Calls that take a stub's method: the stub is kept by the wire's channel, which the call keeps.
#define HANSA_PREPARE(stub, method)                                                             \
  [s = stub](grpc::ClientContext* context, const auto& request, grpc::CompletionQueue* queue) { \
    return s->PrepareAsync##method(context, request, queue);                                    \
  }

class GrpcChannel final : public Channel {
 public:
  explicit GrpcChannel(std::shared_ptr<Wire> wire)
      : wire_(std::move(wire)),
        kv_(pb::KV::NewStub(wire_->channel())),
        lease_(pb::Lease::NewStub(wire_->channel())),
        maintenance_(pb::Maintenance::NewStub(wire_->channel())) {}

  io::Task<Result<RangeReply>> range(RangeRequest request, io::Duration deadline) override {
    pb::RangeRequest message;
    fill(message, request);
    HANSA_CO_TRY(const auto reply,
                 co_await unary<pb::RangeResponse>(wire_, HANSA_PREPARE(kv_, Range), std::move(message), deadline));
    co_return reply_of(reply);
  }

  io::Task<Result<TxnReply>> txn(TxnRequest request, io::Duration deadline) override {
    pb::TxnRequest message;
    for (const auto& compare : request.compares) fill(*message.add_compare(), compare);
    for (const auto& operation : request.success) fill(*message.add_success(), operation);
    for (const auto& operation : request.failure) fill(*message.add_failure(), operation);
    HANSA_CO_TRY(const auto reply,
                 co_await unary<pb::TxnResponse>(wire_, HANSA_PREPARE(kv_, Txn), std::move(message), deadline));
    TxnReply out{.header = header_of(reply.header()), .succeeded = reply.succeeded(), .ranges = {}};
    for (const auto& response : reply.responses()) {
      if (response.has_response_range()) out.ranges.push_back(reply_of(response.response_range()));
    }
    co_return out;
  }

  io::Task<Result<std::unique_ptr<Watch>>> watch(std::string key, std::string end, Revision from) override {
    co_return co_await open_watch(wire_, std::move(key), std::move(end), from);
  }

  io::Task<Result<LeaseId>> lease_grant(io::Duration ttl, io::Duration deadline) override {
    pb::LeaseGrantRequest message;
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(ttl).count();
    message.set_ttl(std::max<std::int64_t>(seconds, 1));
    HANSA_CO_TRY(const auto reply, co_await unary<pb::LeaseGrantResponse>(wire_, HANSA_PREPARE(lease_, LeaseGrant),
                                                                          std::move(message), deadline));
    if (!reply.error().empty()) co_return make_error(ErrorCode::unavailable, "etcd grants no lease: " + reply.error());
    co_return static_cast<LeaseId>(reply.id());
  }

  io::Task<Result<io::Duration>> lease_keep_alive(LeaseId lease, io::Duration deadline) override {
    auto call = keep_alive_logged_in(wire_, lease, deadline_in(deadline));
    co_return co_await in_time<io::Duration>(wire_, deadline, std::move(call));
  }

  io::Task<Result<void>> lease_revoke(LeaseId lease, io::Duration deadline) override {
    pb::LeaseRevokeRequest message;
    message.set_id(static_cast<std::int64_t>(lease));
    auto reply = co_await unary<pb::LeaseRevokeResponse>(wire_, HANSA_PREPARE(lease_, LeaseRevoke), std::move(message),
                                                         deadline);
    if (!reply && reply.error().code != ErrorCode::not_found) co_return std::move(reply).error();
    co_return Result<void>{};
  }

  io::Task<Result<StatusReply>> status(io::Duration deadline) override {
    HANSA_CO_TRY(const auto reply, co_await unary<pb::StatusResponse>(wire_, HANSA_PREPARE(maintenance_, Status),
                                                                      pb::StatusRequest{}, deadline));
    co_return status_of(reply);
  }

 private:
  std::shared_ptr<Wire> wire_;
  std::shared_ptr<pb::KV::Stub> kv_;
  std::shared_ptr<pb::Lease::Stub> lease_;
  std::shared_ptr<pb::Maintenance::Stub> maintenance_;
};

}  // namespace

Result<std::shared_ptr<Channel>> make_channel(std::shared_ptr<GrpcRuntime::Pump> pump,
                                              const ChannelSettings& settings) {
  HANSA_TRY(auto wire, Wire::open(std::move(pump), settings));
  return std::shared_ptr<Channel>(std::make_shared<GrpcChannel>(std::move(wire)));
}

}  // namespace hansa::meta::etcd
