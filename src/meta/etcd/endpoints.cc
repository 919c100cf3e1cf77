#include "meta/etcd/endpoints.h"

namespace hansa::meta::etcd {

Result<void> Endpoints::set(const std::vector<ChannelSettings>& settings) {
  if (settings.empty()) return make_error(ErrorCode::invalid, Subject::config, "etcd needs at least one endpoint");
  std::vector<std::shared_ptr<Channel>> open;
  for (const auto& one : settings) {
    HANSA_TRY(auto channel, channels_(one));
    open.push_back(std::move(channel));
  }
  const std::lock_guard guard(mutex_);
  settings_ = settings;
  open_ = std::move(open);
  current_ = 0;
  return {};
}

std::size_t Endpoints::size() const {
  const std::lock_guard guard(mutex_);
  return open_.size();
}

std::shared_ptr<Channel> Endpoints::current() const {
  const std::lock_guard guard(mutex_);
  return open_.at(current_);
}

Result<std::shared_ptr<Channel>> Endpoints::separate() const {
  ChannelSettings settings;
  {
    const std::lock_guard guard(mutex_);
    settings = settings_.at(current_);
  }
  return channels_(settings);
}

void Endpoints::move_on(const std::shared_ptr<Channel>& failed) {
  const std::lock_guard guard(mutex_);
  if (open_.at(current_) == failed) current_ = (current_ + 1) % open_.size();
}

}  // namespace hansa::meta::etcd
