#include "http/stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace hansa::http {
namespace {

constexpr std::size_t discard_at_once = 1 << 20;

// The result of a system call that moves bytes; `blocked` is what to wait for on EAGAIN.
Step system_step(ssize_t result, Step::Kind blocked) {
  if (result > 0) return {.kind = Step::Kind::moved, .bytes = static_cast<std::size_t>(result)};
  if (result == 0) return {.kind = Step::Kind::end};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {.kind = blocked};
  return {.kind = Step::Kind::failed, .error = errno};
}

template <class Call>
ssize_t retried(Call call) {
  for (;;) {
    const ssize_t result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

Stream::~Stream() {
  SSL_free(session_);
}

Result<void> Stream::start_tls(std::shared_ptr<TlsContext> context, const std::string& identity) {
  context_ = std::move(context);
  HANSA_TRY(session_, context_->open(socket_.descriptor(), identity));
  return {};
}

Step Stream::tls_step(int result) {
  switch (SSL_get_error(session_, result)) {
    case SSL_ERROR_WANT_READ: return {.kind = Step::Kind::want_read};
    case SSL_ERROR_WANT_WRITE: return {.kind = Step::Kind::want_write};
    case SSL_ERROR_ZERO_RETURN: return {.kind = Step::Kind::end};
    case SSL_ERROR_SYSCALL: broken_ = true; return {.kind = Step::Kind::failed, .error = errno};
    default: broken_ = true; return {.kind = Step::Kind::failed};
  }
}

Step Stream::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(session_);
  if (result == 1) return {.kind = Step::Kind::moved, .bytes = 1};
  return tls_step(result);
}

std::string Stream::certificate_name() const {
  return client_certificate_name(session_);
}

std::string Stream::verify_failure() const {
  const long result = session_ == nullptr ? X509_V_OK : SSL_get_verify_result(session_);
  return result == X509_V_OK ? std::string() : X509_verify_cert_error_string(result);
}

Step Stream::peek(std::byte& first) {
  return system_step(retried([&] { return ::recv(socket_.descriptor(), &first, 1, MSG_PEEK); }), Step::Kind::want_read);
}

Step Stream::read(Bytes out) {
  if (session_ == nullptr) {
    return system_step(retried([&] { return ::recv(socket_.descriptor(), out.data(), out.size(), 0); }),
                       Step::Kind::want_read);
  }
  ERR_clear_error();
  const int result = SSL_read(session_, out.data(), static_cast<int>(std::min<std::size_t>(out.size(), 1U << 30)));
  if (result > 0) return {.kind = Step::Kind::moved, .bytes = static_cast<std::size_t>(result)};
  return tls_step(result);
}

Step Stream::write(std::span<const iovec> parts, bool more) {
  while (!parts.empty() && parts.front().iov_len == 0) parts = parts.subspan(1);
  if (session_ == nullptr) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = parts.size();
    const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    return system_step(retried([&] { return ::sendmsg(socket_.descriptor(), &message, flags); }),
                       Step::Kind::want_write);
  }
  ERR_clear_error();
  const std::size_t length = std::min<std::size_t>(parts.front().iov_len, 1U << 30);
  const int result = SSL_write(session_, parts.front().iov_base, static_cast<int>(length));
  if (result > 0) return {.kind = Step::Kind::moved, .bytes = static_cast<std::size_t>(result)};
  return tls_step(result);
}

bool Stream::can_send_file() const {
  return session_ == nullptr || BIO_get_ktls_send(SSL_get_wbio(session_)) != 0;
}

Step Stream::send_file(int file, std::uint64_t offset, std::size_t length) {
  auto at = static_cast<off_t>(offset);
  if (session_ == nullptr) {
    return system_step(retried([&] { return ::sendfile(socket_.descriptor(), file, &at, length); }),
                       Step::Kind::want_write);
  }
  ERR_clear_error();
  const ossl_ssize_t result = SSL_sendfile(session_, file, at, length, 0);
  if (result > 0) return {.kind = Step::Kind::moved, .bytes = static_cast<std::size_t>(result)};
  if (result == 0) return {.kind = Step::Kind::end};
  return tls_step(static_cast<int>(result));
}

void Stream::shutdown() {
  if (session_ != nullptr && !broken_ && SSL_is_init_finished(session_) != 0) {
    ERR_clear_error();
    SSL_shutdown(session_);  // one try to say close_notify; nobody waits for the answer
    ERR_clear_error();
  }
  ::shutdown(socket_.descriptor(), SHUT_WR);
}

void Stream::abort() {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_.descriptor(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

Step Stream::discard() {
  // MSG_TRUNC on TCP drops the bytes in the kernel; the buffer is never written.
  return system_step(retried([&] { return ::recv(socket_.descriptor(), nullptr, discard_at_once, MSG_TRUNC); }),
                     Step::Kind::want_read);
}

}  // namespace hansa::http
