#include "http/socket.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include "io/asio/native.h"

namespace hansa::http {

using Descriptor = boost::asio::posix::stream_descriptor;

struct Socket::Native {
  Native(io::asio::Loop& loop, int fd) : descriptor(io::asio::native(loop), fd) {}
  Descriptor descriptor;
};

Socket::Socket(io::asio::Loop& loop, int descriptor)
    : descriptor_(descriptor), native_(std::make_unique<Native>(loop, descriptor)) {}

Socket::~Socket() {
  HANSA_ASSERT(wait_ == nullptr, "a task still waits for this socket");
}

void Socket::interrupt(Wake why) {
  if (wait_ == nullptr) return;
  wait_->result_ = why;
  boost::system::error_code ignored;
  native_->descriptor.cancel(ignored);
}

void Socket::expire(Tick now) {
  if (wait_ != nullptr && wait_->deadline_ < now) interrupt(Wake::timeout);
}

void Socket::Wait::start() {
  HANSA_ASSERT(socket_.wait_ == nullptr, "a socket is waited for by one task at a time");
  socket_.wait_ = this;
  const auto type = direction_ == Ready::read ? Descriptor::wait_read : Descriptor::wait_write;
  // The frame that holds this wait lives until the handler has run, so a plain pointer will do.
  socket_.native_->descriptor.async_wait(type, [this](const boost::system::error_code& error) { finish(!error); });
}

void Socket::Wait::finish(bool ready) {
  socket_.wait_ = nullptr;
  if (ready) result_ = Wake::ready;
  context_->end_wait();
  handle_.resume();
}

}  // namespace hansa::http
