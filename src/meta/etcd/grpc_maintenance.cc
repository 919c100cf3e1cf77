#include <functional>

#include "meta/etcd/grpc_pump.h"

namespace hansa::meta::etcd {
namespace {

namespace pb = etcdserverpb;

std::string kind_of(pb::AlarmType type) {
  switch (type) {
    case pb::NOSPACE: return "NOSPACE";
    case pb::CORRUPT: return "CORRUPT";
    default: return "";
  }
}

pb::AlarmType type_of(const std::string& kind) {
  if (kind == "NOSPACE") return pb::NOSPACE;
  return kind == "CORRUPT" ? pb::CORRUPT : pb::NONE;
}

template <class Reply>
MembersReply members_of(const Reply& reply) {
  MembersReply out;
  out.header = header_of(reply.header());
  for (const auto& member : reply.members()) {
    Member one{.id = member.id(), .name = member.name(), .peer_urls = {}, .client_urls = {}};
    one.learner = member.islearner();
    one.peer_urls.assign(member.peerurls().begin(), member.peerurls().end());
    one.client_urls.assign(member.clienturls().begin(), member.clienturls().end());
    out.members.push_back(std::move(one));
  }
  return out;
}

// The pieces of a snapshot, one read at a time.
struct SnapshotStream {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientAsyncReader<pb::SnapshotResponse>> reader;
  pb::SnapshotResponse piece;
  grpc::Status status;
  std::atomic<bool> cancelled = false;
};

class SnapshotStep final : public Tag {
 public:
  SnapshotStep(io::Completion<bool> done, std::shared_ptr<SnapshotStream> stream)
      : done_(std::move(done)), stream_(std::move(stream)) {}
  void done(bool ok) override {
    const std::unique_ptr<SnapshotStep> self(this);
    done_.complete(ok);
  }

 private:
  io::Completion<bool> done_;
  std::shared_ptr<SnapshotStream> stream_;
};

io::Task<bool> step(std::shared_ptr<SnapshotStream> stream, std::function<void(Tag*)> start) {
  auto wait = io::wait_for<bool>([&](io::Completion<bool> done) -> io::Work {
    Tag* const tag = new SnapshotStep(std::move(done), stream);
    tag->goes_in();
    start(tag);
    return [stream] {
      stream->cancelled = true;
      stream->context.TryCancel();
    };
  });
  co_return co_await wait;
}

class GrpcMaintenance final : public MaintenanceChannel {
 public:
  explicit GrpcMaintenance(std::shared_ptr<Wire> wire)
      : wire_(std::move(wire)),
        maintenance_(pb::Maintenance::NewStub(wire_->channel())),
        cluster_(pb::Cluster::NewStub(wire_->channel())) {}

  io::Task<Result<StatusReply>> status(io::Duration deadline) override {
    const auto prepare = [s = maintenance_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncStatus(context, request, queue);
    };
    HANSA_CO_TRY(const auto reply, co_await unary<pb::StatusResponse>(wire_, prepare, pb::StatusRequest{}, deadline));
    co_return status_of(reply);
  }

  io::Task<Result<MembersReply>> member_list(io::Duration deadline) override {
    const auto prepare = [s = cluster_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncMemberList(context, request, queue);
    };
    HANSA_CO_TRY(const auto reply,
                 co_await unary<pb::MemberListResponse>(wire_, prepare, pb::MemberListRequest{}, deadline));
    co_return members_of(reply);
  }

  io::Task<Result<MembersReply>> member_add(std::string peer_url, bool learner, io::Duration deadline) override {
    const auto prepare = [s = cluster_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncMemberAdd(context, request, queue);
    };
    pb::MemberAddRequest message;
    message.add_peerurls(peer_url);
    message.set_islearner(learner);
    HANSA_CO_TRY(const auto reply, co_await unary<pb::MemberAddResponse>(wire_, prepare, std::move(message), deadline));
    MembersReply out = members_of(reply);
    out.added = reply.member().id();
    co_return out;
  }

  io::Task<Result<void>> member_remove(std::uint64_t id, io::Duration deadline) override {
    const auto prepare = [s = cluster_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncMemberRemove(context, request, queue);
    };
    pb::MemberRemoveRequest message;
    message.set_id(id);
    HANSA_CO_CHECK(co_await unary<pb::MemberRemoveResponse>(wire_, prepare, std::move(message), deadline));
    co_return Result<void>{};
  }

  io::Task<Result<void>> member_update(std::uint64_t id, std::string peer_url, io::Duration deadline) override {
    const auto prepare = [s = cluster_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncMemberUpdate(context, request, queue);
    };
    pb::MemberUpdateRequest message;
    message.set_id(id);
    message.add_peerurls(peer_url);
    HANSA_CO_CHECK(co_await unary<pb::MemberUpdateResponse>(wire_, prepare, std::move(message), deadline));
    co_return Result<void>{};
  }

  io::Task<Result<void>> member_promote(std::uint64_t id, io::Duration deadline) override {
    const auto prepare = [s = cluster_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncMemberPromote(context, request, queue);
    };
    pb::MemberPromoteRequest message;
    message.set_id(id);
    HANSA_CO_CHECK(co_await unary<pb::MemberPromoteResponse>(wire_, prepare, std::move(message), deadline));
    co_return Result<void>{};
  }

  io::Task<Result<void>> move_leader(std::uint64_t to, io::Duration deadline) override {
    const auto prepare = [s = maintenance_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncMoveLeader(context, request, queue);
    };
    pb::MoveLeaderRequest message;
    message.set_targetid(to);
    HANSA_CO_CHECK(co_await unary<pb::MoveLeaderResponse>(wire_, prepare, std::move(message), deadline));
    co_return Result<void>{};
  }

  io::Task<Result<std::vector<Alarm>>> alarms(io::Duration deadline) override {
    HANSA_CO_TRY(const auto reply, co_await alarm(pb::AlarmRequest::GET, {}, deadline));
    std::vector<Alarm> out;
    for (const auto& one : reply.alarms()) out.push_back({.member = one.memberid(), .kind = kind_of(one.alarm())});
    co_return out;
  }

  io::Task<Result<void>> disarm(Alarm one, io::Duration deadline) override {
    HANSA_CO_CHECK(co_await alarm(pb::AlarmRequest::DEACTIVATE, std::move(one), deadline));
    co_return Result<void>{};
  }

  io::Task<Result<void>> defragment(io::Duration deadline) override {
    const auto prepare = [s = maintenance_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncDefragment(context, request, queue);
    };
    HANSA_CO_CHECK(co_await unary<pb::DefragmentResponse>(wire_, prepare, pb::DefragmentRequest{}, deadline));
    co_return Result<void>{};
  }

  io::Task<Result<void>> snapshot(std::function<Result<void>(std::string_view)> take, io::Duration deadline) override {
    const Deadline end = deadline_in(deadline);
    HANSA_CO_TRY(const std::string token, co_await wire_->token(end));
    auto stream = std::make_shared<SnapshotStream>();
    if (!token.empty()) stream->context.AddMetadata("token", token);
    stream->context.set_deadline(end);
    stream->reader = maintenance_->PrepareAsyncSnapshot(&stream->context, pb::SnapshotRequest{}, wire_->queue());
    Result<void> taken;
    const bool started = co_await step(stream, [&stream](Tag* tag) { stream->reader->StartCall(tag); });
    bool more = started;
    while (more) {
      more = co_await step(stream, [&stream](Tag* tag) { stream->reader->Read(&stream->piece, tag); });
      if (more) taken = take(stream->piece.blob());
      if (!taken) break;
    }
    if (!taken) stream->context.TryCancel();
    co_await step(stream, [&stream](Tag* tag) { stream->reader->Finish(&stream->status, tag); });
    if (!taken) co_return taken;
    if (stream->status.error_code() == grpc::StatusCode::UNAUTHENTICATED) wire_->drop_token(token);
    if (!stream->status.ok()) co_return error_of(stream->status, wire_->endpoint(), stream->cancelled);
    co_return Result<void>{};
  }

 private:
  io::Task<Result<pb::AlarmResponse>> alarm(pb::AlarmRequest::AlarmAction action, Alarm one, io::Duration deadline) {
    const auto prepare = [s = maintenance_](auto* context, const auto& request, auto* queue) {
      return s->PrepareAsyncAlarm(context, request, queue);
    };
    pb::AlarmRequest message;
    message.set_action(action);
    message.set_memberid(one.member);
    message.set_alarm(type_of(one.kind));
    co_return co_await unary<pb::AlarmResponse>(wire_, prepare, std::move(message), deadline);
  }

  std::shared_ptr<Wire> wire_;
  std::shared_ptr<pb::Maintenance::Stub> maintenance_;
  std::shared_ptr<pb::Cluster::Stub> cluster_;
};

}  // namespace

Result<std::shared_ptr<MaintenanceChannel>> make_maintenance(std::shared_ptr<GrpcRuntime::Pump> pump,
                                                             const ChannelSettings& settings) {
  HANSA_TRY(auto wire, Wire::open(std::move(pump), settings));
  return std::shared_ptr<MaintenanceChannel>(std::make_shared<GrpcMaintenance>(std::move(wire)));
}

}  // namespace hansa::meta::etcd
