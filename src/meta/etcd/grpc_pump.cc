#include "meta/etcd/grpc_pump.h"

#include <fstream>
#include <sstream>

namespace hansa::meta::etcd {
namespace {

constexpr int stream_window = 4 * 1024 * 1024;  // bytes
constexpr int reconnect_least_ms = 100;
constexpr int reconnect_most_ms = 500;
constexpr int keep_alive_ms = 10'000;
constexpr int keep_alive_patience_ms = 5'000;
constexpr std::size_t max_pem = 1024 * 1024;  // bytes

Result<std::string> read_pem(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (stream.is_open()) text << stream.rdbuf();
  if (!stream.is_open() || stream.bad() || text.str().empty() || text.str().size() > max_pem) {
    return make_error(ErrorCode::invalid, Subject::config,
                      "the certificate file " + path + " for etcd cannot be read; check its name and permissions");
  }
  return text.str();
}

Result<std::shared_ptr<grpc::ChannelCredentials>> credentials(const ChannelSettings& settings) {
  if (!settings.tls && !settings.endpoint.starts_with("https://")) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  const ClientTls tls = settings.tls.value_or(ClientTls{});
  HANSA_TRY(options.pem_root_certs, read_pem(tls.ca));
  HANSA_TRY(options.pem_cert_chain, read_pem(tls.certificate));
  HANSA_TRY(options.pem_private_key, read_pem(tls.key));
  return grpc::SslCredentials(options);
}

std::string target_of(std::string endpoint) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (endpoint.starts_with(scheme)) endpoint.erase(0, scheme.size());
  }
  while (endpoint.ends_with('/')) endpoint.pop_back();
  return endpoint;
}

// What proves that nothing was proposed: gRPC's words before a request has left, etcd's before it hands one to Raft.
// Everything else that is UNAVAILABLE comes later: timeouts, a stopped server, a changed leader, a lost connection.
bool never_proposed(std::string_view message) {
  if (message.starts_with("etcdserver: ")) {
    for (const std::string_view text :
         {"no leader", "not capable", "rpc not supported for learner", "unhealthy cluster"}) {
      if (message.substr(std::string_view("etcdserver: ").size()) == text) return true;
    }
    return false;
  }
  for (const std::string_view text : {"failed to connect", "connections to all backends failing", "empty address list",
                                      "DNS resolution failed", "Failed to connect"}) {
    if (message.find(text) != std::string_view::npos) return true;
  }
  return false;
}

ErrorCode code_of(const grpc::Status& status) {
  const std::string message = status.error_message();
  const auto says = [&message](std::string_view part) { return message.find(part) != std::string_view::npos; };
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE: return never_proposed(message) ? ErrorCode::unavailable : ErrorCode::ambiguous;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      if (says("space exceeded")) return ErrorCode::out_of_space;
      return says("too many requests") ? ErrorCode::unavailable : ErrorCode::too_large;
    case grpc::StatusCode::OUT_OF_RANGE: return ErrorCode::range;
    case grpc::StatusCode::INVALID_ARGUMENT:
      if (says("request is too large")) return ErrorCode::too_large;
      return says("user name is empty") || says("revision of auth store is old") ? ErrorCode::unauthenticated
                                                                                 : ErrorCode::invalid;
    case grpc::StatusCode::UNAUTHENTICATED: return ErrorCode::unauthenticated;
    case grpc::StatusCode::PERMISSION_DENIED: return ErrorCode::denied;
    case grpc::StatusCode::NOT_FOUND: return ErrorCode::not_found;
    case grpc::StatusCode::ALREADY_EXISTS: return ErrorCode::exists;
    case grpc::StatusCode::FAILED_PRECONDITION:
      return says("not leader") ? ErrorCode::unavailable : ErrorCode::precondition;
    case grpc::StatusCode::UNKNOWN:  // Raft's own word when it has not taken it
      return says("raft proposal dropped") ? ErrorCode::unavailable : ErrorCode::ambiguous;
    case grpc::StatusCode::DATA_LOSS: return ErrorCode::unavailable;  // the alarm CORRUPT: applied without effect
    case grpc::StatusCode::UNIMPLEMENTED: return ErrorCode::unsupported;
    default: return ErrorCode::ambiguous;
  }
}

}  // namespace

// ---- the queue --------------------------------------------------------------------------------------------------

GrpcRuntime::Pump::Pump() {
  thread = std::thread([this] {
    void* tag = nullptr;
    bool ok = false;
    while (queue.Next(&tag, &ok)) Tag::comes_out(tag)->done(ok);
  });
}

GrpcRuntime::Pump::~Pump() {
  queue.Shutdown();
  thread.join();
}

GrpcRuntime::GrpcRuntime() : pump_(std::make_shared<Pump>()) {}
GrpcRuntime::~GrpcRuntime() = default;

ChannelFactory GrpcRuntime::channels() {
  return [pump = pump_](const ChannelSettings& settings) { return make_channel(pump, settings); };
}
MaintenanceFactory GrpcRuntime::maintenance() {
  return [pump = pump_](const ChannelSettings& settings) { return make_maintenance(pump, settings); };
}

// ---- values -----------------------------------------------------------------------------------------------------

Error error_of(const grpc::Status& status, const std::string& endpoint, bool cancelled) {
  if (cancelled) return make_error(ErrorCode::cancelled, "the request to etcd at " + endpoint + " was cancelled");
  return make_error(code_of(status), "etcd at " + endpoint + ": " + status.error_message());
}

KeyValue record_of(const mvccpb::KeyValue& record) {
  return {.key = record.key(),
          .value = record.value(),
          .create = static_cast<Revision>(record.create_revision()),
          .mod = static_cast<Revision>(record.mod_revision()),
          .version = static_cast<std::uint64_t>(record.version())};
}

Header header_of(const etcdserverpb::ResponseHeader& header) {
  return {.cluster = header.cluster_id(),
          .member = header.member_id(),
          .revision = static_cast<Revision>(header.revision()),
          .raft_term = header.raft_term()};
}

StatusReply status_of(const etcdserverpb::StatusResponse& reply) {
  StatusReply out;
  out.header = header_of(reply.header());
  out.version = reply.version();
  out.leader = reply.leader();
  out.raft_index = reply.raftindex();
  out.raft_applied = reply.raftappliedindex();
  out.db_size = static_cast<std::uint64_t>(reply.dbsize());
  out.db_in_use = static_cast<std::uint64_t>(reply.dbsizeinuse());
  out.learner = reply.islearner();
  for (const auto& text : reply.errors()) out.errors.push_back(text);
  return out;
}

// ---- the connection ---------------------------------------------------------------------------------------------

Result<std::shared_ptr<Wire>> Wire::open(std::shared_ptr<GrpcRuntime::Pump> pump, const ChannelSettings& settings) {
  if (target_of(settings.endpoint).empty()) {
    return make_error(ErrorCode::invalid, Subject::config, "an endpoint of etcd is empty; it must be host:port");
  }
  HANSA_TRY(const auto secrets, credentials(settings));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Trying again is ours (H8). gRPC's filter for it (1.51) also stops the process when a server that is being stopped
  // ends a stream without a status, as etcd does over TLS.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, reconnect_least_ms);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, reconnect_least_ms);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, reconnect_most_ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, keep_alive_ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keep_alive_patience_ms);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // a quiet watch is asked after for ever, not twice
  // A window that is large from the start, instead of one that grows by measuring the line with a ping at each answer.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, stream_window);
  arguments.SetMaxReceiveMessageSize(-1);
  std::shared_ptr<Wire> wire(new Wire(std::move(pump), settings));
  wire->channel_ = grpc::CreateCustomChannel(target_of(settings.endpoint), secrets, arguments);
  return wire;
}

io::Task<Result<std::string>> Wire::token(Deadline deadline) {
  if (settings_.user.empty()) co_return std::string();
  {
    const std::lock_guard guard(mutex_);
    if (!token_.empty()) co_return token_;
  }
  etcdserverpb::AuthenticateRequest request;
  request.set_name(settings_.user);
  request.set_password(settings_.password);
  const auto stub = etcdserverpb::Auth::NewStub(channel_);
  auto prepare = [&stub](grpc::ClientContext* context, const etcdserverpb::AuthenticateRequest& asked,
                         grpc::CompletionQueue* to) { return stub->PrepareAsyncAuthenticate(context, asked, to); };
  auto reply = co_await unary_once<etcdserverpb::AuthenticateResponse>(this, prepare, &request, "", deadline);
  if (!reply && (reply.error().code == ErrorCode::invalid || reply.error().code == ErrorCode::precondition)) {
    Error error = std::move(reply).error();
    error.code = ErrorCode::unauthenticated;
    co_return std::move(error).with_context("logging in as \"" + settings_.user + "\"");
  }
  if (!reply) co_return std::move(reply).error();
  const std::lock_guard guard(mutex_);
  token_ = reply->token();
  co_return token_;
}

void Wire::connect_again() {
  const Deadline now = gpr_now(GPR_CLOCK_MONOTONIC);
  {
    const std::lock_guard guard(mutex_);
    if (gpr_time_cmp(now, gpr_time_add(connected_last_, gpr_time_from_millis(reconnect_most_ms, GPR_TIMESPAN))) < 0) {
      return;
    }
    connected_last_ = now;
  }
  grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
}

void Wire::drop_token(const std::string& token) {
  const std::lock_guard guard(mutex_);
  if (token_ == token) token_.clear();
}

}  // namespace hansa::meta::etcd
