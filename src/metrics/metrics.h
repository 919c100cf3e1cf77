// Metrics: counters, gauges and histograms, and their Prometheus text form. Owned by the server; nothing global.
//
// Names and labels are zot's where zot has them (zot_...), else hansa_.... On the hot path keep the small handles that
// the constructors return: adding to one is an atomic operation, looking one up takes a lock. Thread-safe throughout.
// Labels that come from clients (repository names) are capped: see PerRepository.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace hansa::metrics {

inline constexpr std::size_t max_repository_labels = 1000;  // further repositories share the label "_other"

using Labels = std::map<std::string, std::string>;

// Handles; copyable, valid as long as the Registry that made them.
class Counter {
 public:
  explicit Counter(prometheus::Counter& impl) : impl_(&impl) {}
  void add(double value = 1) const;

 private:
  prometheus::Counter* impl_;
};
class Gauge {
 public:
  explicit Gauge(prometheus::Gauge& impl) : impl_(&impl) {}
  void set(double value) const;

 private:
  prometheus::Gauge* impl_;
};
class Histogram {
 public:
  explicit Histogram(prometheus::Histogram& impl) : impl_(&impl) {}
  void observe(double value) const;

 private:
  prometheus::Histogram* impl_;
};
// Count and sum, no quantiles. Not the library's: that one keeps samples for quantiles also where none are wanted,
// which was a seventh of the CPU of a manifest GET.
class Summary {
 public:
  struct Cell {
    std::atomic<std::uint64_t> count = 0;
    std::atomic<double> sum = 0;
  };
  explicit Summary(Cell& cell) : cell_(&cell) {}
  void observe(double value) const;

 private:
  Cell* cell_;
};

class Registry {
 public:
  Registry();
  ~Registry();
  // The same name and labels give the same metric. `name` must be valid for Prometheus, and of one type.
  Counter counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram histogram(const std::string& name, const std::string& help, const Labels& labels,
                      const std::vector<double>& buckets);
  Summary summary(const std::string& name, const std::string& help, const Labels& labels = {});
  // Called before each rendering, on the scraping thread: sets gauges from what is cheap to ask.
  void before_scrape(std::function<void()> refresh);
  // Text exposition format 0.0.4.
  std::string render();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline constexpr std::string_view text_format = "text/plain; version=0.0.4; charset=utf-8";

// One metric per repository, at most max_repository_labels of them; the others count together.
template <class Metric>
class PerRepository {
 public:
  using Make = std::function<Metric(const Labels&)>;
  explicit PerRepository(Make make) : make_(std::move(make)) {}
  Metric of(const std::string& repository) {
    {
      const std::shared_lock lock(mutex_);
      if (const auto found = known_.find(repository); found != known_.end()) return found->second;
    }
    const std::unique_lock lock(mutex_);
    const bool full = known_.size() >= max_repository_labels;
    const std::string& label = full ? other_ : repository;
    return known_.try_emplace(label, make_({{"repo", label}})).first->second;
  }

 private:
  const Make make_;
  const std::string other_ = "_other";
  std::shared_mutex mutex_;
  std::unordered_map<std::string, Metric> known_;  // looked up only
};

}  // namespace hansa::metrics
