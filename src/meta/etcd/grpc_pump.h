// What the channels over gRPC share: the completion queue with its thread, one connection with its credentials, and the
// translation of statuses and records. Private to this room.
#pragma once

#include <grpcpp/grpcpp.h>

#include <etcd_proto/rpc.grpc.pb.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "io/wait.h"
#include "meta/etcd/grpc_channel.h"

namespace hansa::meta::etcd {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#define HANSA_TSAN 1
#endif
#endif

// What waits for an event of the queue; deletes itself or lives on as it likes.
class Tag {
 public:
  virtual ~Tag() = default;
  virtual void done(bool ok) = 0;

  // Before it goes into the queue, and when it comes out on the queue's thread: the library between is not built for
  // the thread sanitizer, which would not see that the one comes before the other.
  void goes_in() {
#ifdef HANSA_TSAN
    __tsan_release(this);
#endif
  }
  static Tag* comes_out(void* tag) {
#ifdef HANSA_TSAN
    __tsan_acquire(tag);
#endif
    return static_cast<Tag*>(tag);
  }
};

struct GrpcRuntime::Pump {
  Pump();
  ~Pump();
  grpc::CompletionQueue queue;
  std::thread thread;
};

// What an error means to whoever called (channel.h). `cancelled`: our own doing.
Error error_of(const grpc::Status& status, const std::string& endpoint, bool cancelled);

KeyValue record_of(const mvccpb::KeyValue& record);
Header header_of(const etcdserverpb::ResponseHeader& header);
StatusReply status_of(const etcdserverpb::StatusResponse& reply);

// A moment by gRPC's clock. One for a whole call, so that logging in and asking again do not add up.
using Deadline = gpr_timespec;
inline Deadline deadline_in(io::Duration span) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(span.count(), GPR_TIMESPAN));
}

// One connection and how to log in on it.
class Wire {
 public:
  static Result<std::shared_ptr<Wire>> open(std::shared_ptr<GrpcRuntime::Pump> pump, const ChannelSettings& settings);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  grpc::CompletionQueue* queue() const { return &pump_->queue; }
  const std::string& endpoint() const { return settings_.endpoint; }

  // A token for the next calls, if a user is configured. Empty otherwise.
  io::Task<Result<std::string>> token(Deadline deadline);
  // The server refused this token.
  void drop_token(const std::string& token);
  // A call found no connection: it is tried again at once, though not more often than gRPC would.
  void connect_again();

 private:
  Wire(std::shared_ptr<GrpcRuntime::Pump> pump, ChannelSettings settings)
      : pump_(std::move(pump)), settings_(std::move(settings)) {}

  std::shared_ptr<GrpcRuntime::Pump> pump_;
  ChannelSettings settings_;
  std::shared_ptr<grpc::Channel> channel_;
  std::mutex mutex_;
  std::string token_;
  Deadline connected_last_ = gpr_inf_past(GPR_CLOCK_MONOTONIC);  // connect_again() did
};

// Ends a call by a timer of ours too. gRPC's own may run by the wall clock (it waits with absl::CondVar, for a moment
// of absl::Time): once that is set back, its deadlines and its pauses between two connections are as late (P10).
inline constexpr io::Duration late_by = std::chrono::milliseconds(500);
template <class T>
io::Task<Result<T>> in_time(std::shared_ptr<Wire> wire, io::Duration span, io::Task<Result<T>> call) {
  auto reply = co_await io::with_deadline(span + late_by, std::move(call));
  if (reply) co_return reply;
  const ErrorCode code = reply.error().code;
  if (code == ErrorCode::timeout) {
    co_return make_error(ErrorCode::ambiguous, "etcd at " + wire->endpoint() + " did not answer in time");
  }
  if (code == ErrorCode::unavailable || code == ErrorCode::ambiguous) wire->connect_again();
  co_return reply;
}

// One unary call under way.
template <class Reply>
class UnaryCall final : public Tag {
 public:
  using Done = io::Completion<Result<Reply>>;
  UnaryCall(Done done, std::string endpoint) : done_(std::move(done)), endpoint_(std::move(endpoint)) {}

  struct Shared {  // also seen by whoever cancels
    grpc::ClientContext context;
    std::atomic<bool> cancelled = false;
  };
  std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  std::unique_ptr<grpc::ClientAsyncResponseReader<Reply>> reader;
  Reply reply;
  grpc::Status status;

  void done(bool) override {
    const std::unique_ptr<UnaryCall> self(this);
    if (status.ok()) {
      done_.complete(std::move(reply));
    } else {
      done_.complete(error_of(status, endpoint_, shared->cancelled));
    }
  }

 private:
  Done done_;
  std::string endpoint_;
};

// `prepare(context, request, queue)` is a stub's PrepareAsync...
template <class Reply, class Request, class Prepare>
io::Task<Result<Reply>> unary_once(Wire* wire, Prepare prepare, const Request* request, std::string token,
                                   Deadline deadline) {
  auto wait = io::wait_for<Result<Reply>>([&](io::Completion<Result<Reply>> done) -> io::Work {
    auto call = std::make_unique<UnaryCall<Reply>>(std::move(done), wire->endpoint());
    auto shared = call->shared;
    shared->context.set_deadline(deadline);
    if (!token.empty()) shared->context.AddMetadata("token", token);
    call->reader = prepare(&shared->context, *request, wire->queue());
    UnaryCall<Reply>* raw = call.release();  // done() frees it
    auto* const reader = raw->reader.get();
    reader->StartCall();
    raw->goes_in();
    reader->Finish(&raw->reply, &raw->status, static_cast<Tag*>(raw));
    return [shared] {
      shared->cancelled = true;
      shared->context.TryCancel();
    };
  });
  co_return co_await wait;
}

// With the user's token, fetched anew once when the server does not know it any more.
template <class Reply, class Request, class Prepare>
io::Task<Result<Reply>> unary_logged_in(std::shared_ptr<Wire> wire, Prepare prepare, Request request,
                                        Deadline deadline) {
  HANSA_CO_TRY(const std::string token, co_await wire->token(deadline));
  auto reply = co_await unary_once<Reply>(wire.get(), prepare, &request, token, deadline);
  if (reply || reply.error().code != ErrorCode::unauthenticated || token.empty()) co_return reply;
  wire->drop_token(token);
  HANSA_CO_TRY(const std::string fresh, co_await wire->token(deadline));
  co_return co_await unary_once<Reply>(wire.get(), prepare, &request, fresh, deadline);
}

template <class Reply, class Request, class Prepare>
io::Task<Result<Reply>> unary(std::shared_ptr<Wire> wire, Prepare prepare, Request request, io::Duration span) {
  auto call = unary_logged_in<Reply>(wire, std::move(prepare), std::move(request), deadline_in(span));
  co_return co_await in_time<Reply>(std::move(wire), span, std::move(call));
}

Result<std::shared_ptr<Channel>> make_channel(std::shared_ptr<GrpcRuntime::Pump> pump, const ChannelSettings& settings);
Result<std::shared_ptr<MaintenanceChannel>> make_maintenance(std::shared_ptr<GrpcRuntime::Pump> pump,
                                                             const ChannelSettings& settings);

}  // namespace hansa::meta::etcd
