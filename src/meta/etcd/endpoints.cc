#include "meta/etcd/endpoints.h"

#include <algorithm>

namespace hansa::meta::etcd {

Result<void> Endpoints::set(const std::vector<ChannelSettings>& settings) {
  if (settings.empty()) return make_error(ErrorCode::invalid, Subject::config, "etcd needs at least one endpoint");
  const std::lock_guard guard(mutex_);
  if (settings == settings_) return {};
  std::vector<std::shared_ptr<Channel>> open;
  std::size_t current = 0;
  for (const auto& one : settings) {
    const auto known = std::ranges::find(settings_, one);
    if (known == settings_.end()) {
      HANSA_TRY(auto channel, channels_(one));
      open.push_back(std::move(channel));
      continue;
    }
    const auto at = static_cast<std::size_t>(known - settings_.begin());
    if (at == current_) current = open.size();
    open.push_back(open_.at(at));
  }
  std::erase_if(linearizable_, [&open](const auto& known) {
    return std::ranges::none_of(open, [&known](const auto& channel) { return channel.get() == known.first; });
  });
  settings_ = settings;
  open_ = std::move(open);
  current_ = current;
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

std::vector<std::shared_ptr<Channel>> Endpoints::all() const {
  const std::lock_guard guard(mutex_);
  return open_;
}

void Endpoints::use(const std::shared_ptr<Channel>& channel) {
  const std::lock_guard guard(mutex_);
  const auto known = std::ranges::find(open_, channel);
  if (known != open_.end()) current_ = static_cast<std::size_t>(known - open_.begin());
}

void Endpoints::note_reads(const std::shared_ptr<Channel>& channel, bool linearizable) {
  const std::lock_guard guard(mutex_);
  if (std::ranges::find(open_, channel) != open_.end()) linearizable_[channel.get()] = linearizable;
}

bool Endpoints::trusts(const Channel& channel) const {
  const std::lock_guard guard(mutex_);
  const bool all = std::ranges::all_of(linearizable_, [](const auto& known) { return known.second; });
  return all && linearizable_.contains(&channel);
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
