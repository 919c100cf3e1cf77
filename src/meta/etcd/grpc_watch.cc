#include "meta/etcd/grpc_watch.h"

namespace hansa::meta::etcd {
namespace {

namespace pb = etcdserverpb;

// A tag that completes a wait with whether the step went well, and frees itself.
class Step final : public Tag {
 public:
  explicit Step(io::Completion<bool> done, std::shared_ptr<void> keep)
      : done_(std::move(done)), keep_(std::move(keep)) {}
  void done(bool ok) override {
    const std::unique_ptr<Step> self(this);
    done_.complete(ok);
  }

 private:
  io::Completion<bool> done_;
  std::shared_ptr<void> keep_;  // the stream outlives its step
};

// A bidirectional stream and one step of it at a time.
template <class Request, class Reply>
struct Stream : std::enable_shared_from_this<Stream<Request, Reply>> {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Request, Reply>> stream;
  Request request;
  Reply reply;
  grpc::Status status;
  std::atomic<bool> cancelled = false;
  bool alive = false;  // its last step went well

  void cancel() {
    cancelled = true;
    context.TryCancel();
  }

  // Runs `start(tag)` and waits for its event.
  template <class Start>
  io::Task<bool> step(Start start) {
    auto self = this->shared_from_this();
    auto wait = io::wait_for<bool>([&self, &start](io::Completion<bool> done) -> io::Work {
      Tag* const tag = new Step(std::move(done), self);
      tag->goes_in();
      start(tag);
      return [self] { self->cancel(); };
    });
    alive = co_await wait;
    co_return alive;
  }
  io::Task<bool> start() {
    return step([this](Tag* tag) { stream->StartCall(tag); });
  }
  io::Task<bool> write() {
    return step([this](Tag* tag) { stream->Write(request, tag); });
  }
  io::Task<bool> read() {
    return step([this](Tag* tag) { stream->Read(&reply, tag); });
  }
  // Ends it. Why it had ended, if a step failed: cancelling before the status is there would hide the reason.
  io::Task<Error> finish(std::string endpoint) {
    if (alive) context.TryCancel();
    co_await step([this](Tag* tag) { stream->Finish(&status, tag); });
    if (status.ok()) co_return make_error(ErrorCode::unavailable, "etcd at " + endpoint + " closed the stream");
    co_return error_of(status, endpoint, cancelled);
  }
};

// A watch writes nothing: whatever broke it, another may be opened.
Error broken_watch(Error error) {
  if (error.code == ErrorCode::ambiguous) error.code = ErrorCode::unavailable;
  return error;
}

using WatchStream = Stream<pb::WatchRequest, pb::WatchResponse>;
using KeepAliveStream = Stream<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse>;

WatchReply reply_of(const pb::WatchResponse& in) {
  WatchReply out;
  out.header = header_of(in.header());
  out.created = in.created();
  out.canceled = in.canceled();
  out.compacted = static_cast<Revision>(in.compact_revision());
  out.reason = in.cancel_reason();
  out.fragment = in.fragment();
  out.events.reserve(static_cast<std::size_t>(in.events_size()));
  for (const auto& event : in.events()) {
    const bool deleted = event.type() == mvccpb::Event::DELETE;
    out.events.push_back({.now = record_of(event.kv()), .deleted = deleted});
    if (deleted) out.events.back().now.version = 0;
  }
  return out;
}

class GrpcWatch final : public Watch {
 public:
  GrpcWatch(std::shared_ptr<Wire> wire, std::shared_ptr<WatchStream> stream, std::string token)
      : wire_(std::move(wire)), stream_(std::move(stream)), token_(std::move(token)) {}
  ~GrpcWatch() override { stream_->cancel(); }

  io::Task<Result<WatchReply>> next() override {
    if (ended_) co_return make_error(ErrorCode::unavailable, "this watch has ended; open another");
    const bool got = co_await stream_->read();
    if (got) {
      WatchReply reply = reply_of(stream_->reply);
      // Refused, and not for its revision: perhaps the token has run out, which etcd calls "permission denied" here.
      if (reply.canceled && reply.compacted == 0) wire_->drop_token(token_);
      co_return reply;
    }
    ended_ = true;
    Error error = co_await stream_->finish(wire_->endpoint());
    if (error.code == ErrorCode::unauthenticated) wire_->drop_token(token_);
    co_return broken_watch(std::move(error));
  }

 private:
  std::shared_ptr<Wire> wire_;
  std::shared_ptr<WatchStream> stream_;
  std::string token_;
  bool ended_ = false;
};

}  // namespace

io::Task<Result<std::unique_ptr<Watch>>> open_watch(std::shared_ptr<Wire> wire, std::string key, std::string end,
                                                    Revision from) {
  constexpr io::Duration login_deadline = std::chrono::seconds(3);
  HANSA_CO_TRY(const std::string token, co_await wire->token(deadline_in(login_deadline)));
  auto stub = pb::Watch::NewStub(wire->channel());
  auto stream = std::make_shared<WatchStream>();
  if (!token.empty()) stream->context.AddMetadata("token", token);
  stream->stream = stub->PrepareAsyncWatch(&stream->context, wire->queue());
  auto* create = stream->request.mutable_create_request();
  create->set_key(key);
  create->set_range_end(end);
  create->set_start_revision(static_cast<std::int64_t>(from));
  create->set_fragment(true);
  const bool started = co_await stream->start();
  const bool asked = started && co_await stream->write();
  if (!asked) {
    Error error = co_await stream->finish(wire->endpoint());
    if (error.code == ErrorCode::unauthenticated) wire->drop_token(token);
    co_return broken_watch(std::move(error));
  }
  co_return std::unique_ptr<Watch>(std::make_unique<GrpcWatch>(std::move(wire), std::move(stream), token));
}

namespace {

io::Task<Result<io::Duration>> keep_alive_once(std::shared_ptr<Wire> wire, LeaseId lease, std::string token,
                                               Deadline deadline) {
  auto stub = pb::Lease::NewStub(wire->channel());
  auto stream = std::make_shared<KeepAliveStream>();
  if (!token.empty()) stream->context.AddMetadata("token", token);
  stream->context.set_deadline(deadline);
  stream->stream = stub->PrepareAsyncLeaseKeepAlive(&stream->context, wire->queue());
  stream->request.set_id(static_cast<std::int64_t>(lease));
  const bool started = co_await stream->start();
  const bool asked = started && co_await stream->write();
  const bool answered = asked && co_await stream->read();
  const auto seconds = answered ? stream->reply.ttl() : 0;
  const Error ended = co_await stream->finish(wire->endpoint());
  if (!answered && ended.code == ErrorCode::unauthenticated) wire->drop_token(token);
  if (!answered) co_return ended;
  if (seconds <= 0) co_return make_error(ErrorCode::not_found, "the lease has ended");
  co_return io::Duration(std::chrono::seconds(seconds));
}

}  // namespace

io::Task<Result<io::Duration>> keep_alive_logged_in(std::shared_ptr<Wire> wire, LeaseId lease, Deadline deadline) {
  HANSA_CO_TRY(const std::string token, co_await wire->token(deadline));
  auto left = co_await keep_alive_once(wire, lease, token, deadline);
  if (left || left.error().code != ErrorCode::unauthenticated || token.empty()) co_return left;
  HANSA_CO_TRY(const std::string fresh, co_await wire->token(deadline));
  co_return co_await keep_alive_once(wire, lease, fresh, deadline);
}

}  // namespace hansa::meta::etcd
